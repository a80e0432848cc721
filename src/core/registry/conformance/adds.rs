//! Requests for addresses, and their answers.

use super::{Bench, Scene, address, granted, texts};
use crate::allocator::{Shortage, Stored};
use crate::claim::{Claim, RangeId, Want};
use crate::registry::Taken;

pub(super) async fn the_lowest_free_address_is_given<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/24");
    for (container, expected) in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")] {
        scene.gets(container, &[&range], &[expected]).await;
    }
}

pub(super) async fn a_freed_address_is_given_again<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/24");
    for container in ["a", "b", "c"] {
        scene.lowest(container, &[&range]).await;
    }
    scene.leaves("b").await;
    scene.gets("d", &[&range], &["10.0.0.2"]).await;
    scene.gets("e", &[&range], &["10.0.0.4"]).await;
}

pub(super) async fn an_add_is_all_or_nothing<B: Bench>(scene: &Scene<'_, B>) {
    let (first, second) = (scene.range("10.0.0.0/24"), scene.range("10.1.0.0/30"));
    for container in ["a", "b"] {
        scene.lowest(container, &[&second]).await;
    }
    let refused = scene.lowest("c", &[&first, &second]).await;
    let full = RangeId::of(&second);
    assert_eq!(refused, Taken::Short(Shortage::Exhausted(full)));
    assert_eq!(scene.claim("c").await, None);
    scene.gets("d", &[&first], &["10.0.0.1"]).await;
}

pub(super) async fn the_same_request_again_has_the_same_answer<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/24");
    let held = granted(scene.lowest("a", &[&range]).await);
    let before = scene.claim("a").await;
    match scene.lowest("a", &[&range]).await {
        Taken::Held(claim) => assert_eq!(claim.held, held),
        other => panic!("{other:?}"),
    }
    let after = scene.claim("a").await;
    if B::REPEATS_WRITE {
        let value = |claim: Option<Stored<Claim>>| claim.map(|claim| claim.value);
        assert_eq!(value(after), value(before), "the claim says the same");
    } else {
        assert_eq!(after, before, "nothing is written");
    }
}

pub(super) async fn an_attachment_that_holds_something_else_says_so<B: Bench>(
    scene: &Scene<'_, B>,
) {
    let (range, other) = (scene.range("10.0.0.0/24"), scene.range("10.1.0.0/24"));
    let held = granted(scene.lowest("a", &[&range]).await);
    for ranges in [&[&other][..], &[&range, &other]] {
        match scene.lowest("a", ranges).await {
            Taken::HoldsOther(claim) => assert_eq!(claim.held, held),
            other => panic!("{other:?}"),
        }
    }
    scene.gets("b", &[&other], &["10.1.0.1"]).await;
}

pub(super) async fn a_stated_address_is_given_once<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/24");
    let held = granted(scene.exactly("a", &range, "10.0.0.9").await);
    assert_eq!(texts(&held), ["10.0.0.9"]);
    let refused = scene.exactly("b", &range, "10.0.0.9").await;
    assert_eq!(refused, Taken::Short(Shortage::Taken(held[0].clone())));
    scene.gets("c", &[&range], &["10.0.0.1"]).await;
}

pub(super) async fn a_full_range_is_exhausted_until_something_is_freed<B: Bench>(
    scene: &Scene<'_, B>,
) {
    let range = scene.range("10.0.0.0/30");
    for container in ["a", "b"] {
        granted(scene.lowest(container, &[&range]).await);
    }
    let exhausted = Taken::Short(Shortage::Exhausted(RangeId::of(&range)));
    assert_eq!(scene.lowest("c", &[&range]).await, exhausted);
    scene.leaves("a").await;
    scene.gets("c", &[&range], &["10.0.0.1"]).await;
    assert_eq!(scene.lowest("d", &[&range]).await, exhausted);
}

pub(super) async fn the_wants_of_one_request_are_short_one_by_one<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/24");
    let held = granted(scene.exactly("a", &range, "10.0.0.9").await);
    let stated = Want::exactly(&range, address("10.0.0.9")).expect("anybody may have it");
    let both = scene.ask("b", vec![Want::lowest(&range), stated]);
    let refused = scene.take(&both).await;
    assert_eq!(refused, Taken::Short(Shortage::Taken(held[0].clone())));
    assert_eq!(scene.claim("b").await, None);
    // Ranges of different addresses that lie near each other.
    let (first, second) = (scene.range("10.0.1.0/30"), scene.range("10.0.1.8/30"));
    for container in ["c", "d"] {
        granted(scene.lowest(container, &[&second]).await);
    }
    let refused = scene.lowest("e", &[&first, &second]).await;
    let exhausted = Shortage::Exhausted(RangeId::of(&second));
    assert_eq!(refused, Taken::Short(exhausted));
    // One range twice, with one address left.
    scene.gets("f", &[&first], &["10.0.1.1"]).await;
    let refused = scene.lowest("g", &[&first, &first]).await;
    let exhausted = Shortage::Exhausted(RangeId::of(&first));
    assert_eq!(refused, Taken::Short(exhausted));
    scene.gets("h", &[&first], &["10.0.1.2"]).await;
}

pub(super) async fn pools_do_not_share_addresses<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/24");
    let other = scene.range_with("10.0.0.0/24", |spec| {
        spec.pool.name = Some(format!("{}-2", scene.name));
    });
    scene.gets("a", &[&range], &["10.0.0.1"]).await;
    scene.gets("b", &[&other], &["10.0.0.1"]).await;
}

pub(super) async fn ranges_that_overlap_share_addresses<B: Bench>(scene: &Scene<'_, B>) {
    let (small, large) = (scene.range("10.0.0.0/25"), scene.range("10.0.0.0/22"));
    scene.gets("a", &[&small], &["10.0.0.1"]).await;
    scene.gets("b", &[&large], &["10.0.0.2"]).await;
    let refused = scene.exactly("c", &small, "10.0.0.2").await;
    assert!(matches!(refused, Taken::Short(Shortage::Taken(_))));
}

pub(super) async fn intervals_are_searched_in_their_order<B: Bench>(scene: &Scene<'_, B>) {
    let hole = |first, last| {
        let hole = crate::address::Interval::new(address(first), address(last));
        hole.expect("in order")
    };
    let range = scene.range_with("10.0.0.0/28", |spec| {
        spec.exclusions = vec![hole("10.0.0.2", "10.0.0.5"), hole("10.0.0.7", "10.0.0.13")];
    });
    for (container, expected) in [("a", "10.0.0.1"), ("b", "10.0.0.6"), ("c", "10.0.0.14")] {
        scene.gets(container, &[&range], &[expected]).await;
    }
    let refused = scene.lowest("d", &[&range]).await;
    assert!(matches!(refused, Taken::Short(Shortage::Exhausted(_))));
}

pub(super) async fn a_range_of_several_blocks_is_given_without_a_gap<B: Bench>(
    scene: &Scene<'_, B>,
) {
    let range = scene.part("10.0.0.0/20", "10.0.0.250", "10.0.3.255");
    // No address that ends in 0 is given.
    let after = |number: u32| match number {
        0..6 => format!("10.0.0.{}", 250 + number),
        _ => format!("10.0.1.{}", number - 5),
    };
    for number in 0..20 {
        let container = format!("c{number}");
        scene.gets(&container, &[&range], &[&after(number)]).await;
    }
    scene.leaves("c3").await;
    scene.leaves("c12").await;
    scene.gets("d", &[&range], &[&after(3)]).await;
    scene.gets("e", &[&range], &[&after(12)]).await;
}

pub(super) async fn a_far_address_is_found_behind_full_blocks<B: Bench>(scene: &Scene<'_, B>) {
    // Each interval ends a block, so that a few addresses fill many blocks.
    let range = scene.range_with("10.0.0.0/16", |spec| {
        let hole = |block: u32| {
            let [first, last] =
                [0, 254].map(|low| std::net::Ipv4Addr::from(0x0a00_0000 + block * 256 + low));
            let [first, last] = [first, last].map(|one| std::net::IpAddr::from(one).into());
            crate::address::Interval::new(first, last).expect("in order")
        };
        spec.exclusions = (0..40).map(hole).collect();
        spec.last = Some(address("10.0.39.255"));
    });
    for block in 0..40 {
        let expected = format!("10.0.{block}.255");
        scene
            .gets(&format!("c{block}"), &[&range], &[&expected])
            .await;
    }
    let refused = scene.lowest("d", &[&range]).await;
    assert!(matches!(refused, Taken::Short(Shortage::Exhausted(_))));
    scene.leaves("c39").await;
    scene.gets("e", &[&range], &["10.0.39.255"]).await;
}

pub(super) async fn an_address_of_ipv6_is_given<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("fd00::/64");
    scene.gets("a", &[&range], &["fd00::1"]).await;
    let far = granted(
        scene
            .exactly("b", &range, "fd00::ffff:ffff:ffff:fff0")
            .await,
    );
    assert_eq!(texts(&far), ["fd00::ffff:ffff:ffff:fff0"]);
    scene.gets("c", &[&range], &["fd00::2"]).await;
}

pub(super) async fn a_dual_stack_has_one_of_each<B: Bench>(scene: &Scene<'_, B>) {
    let ranges = [scene.range("10.0.0.0/24"), scene.range("fd00::/64")];
    let [v4, v6] = ranges.each_ref();
    scene.gets("a", &[v4, v6], &["10.0.0.1", "fd00::1"]).await;
    scene.gets("b", &[v6], &["fd00::2"]).await;
    scene.gets("c", &[v6, v4], &["fd00::3", "10.0.0.2"]).await;
    let stated = Want::exactly(v6, address("fd00::3")).expect("anybody may have it");
    let refused = scene
        .take(&scene.ask("d", vec![Want::lowest(v4), stated]))
        .await;
    assert!(matches!(refused, Taken::Short(Shortage::Taken(_))));
    scene.gets("e", &[v4], &["10.0.0.3"]).await;
}
