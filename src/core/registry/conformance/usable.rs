//! A claim states what its ranges can give, as its ADD knew it.

use super::{Bench, Scene, address, granted};
use crate::address::{Interval, Range};
use crate::claim::{Ask, Owner, Want};
use crate::registry::{Registry, Renewed, Scope, Taken};

fn interval(first: &str, last: &str) -> Interval {
    Interval::new(address(first), address(last)).expect("in order")
}

/// A range of two intervals, which keeps `gateway` back.
fn parted<B: Bench>(scene: &Scene<'_, B>, gateway: &str) -> Range {
    scene.range_with("10.0.0.0/24", |spec| {
        spec.exclusions = vec![interval("10.0.0.10", "10.0.0.19")];
        spec.gateways = vec![address(gateway)];
    })
}

async fn stated<B: Bench>(scene: &Scene<'_, B>, container: &str) -> Vec<Vec<Interval>> {
    let claim = scene.claim(container).await.expect("it holds something");
    claim.value.usable
}

pub(super) async fn a_claim_states_what_its_ranges_can_give<B: Bench>(scene: &Scene<'_, B>) {
    let v4 = parted(scene, "10.0.0.254");
    let v6 = scene.range("fd00::/64");
    let expected = vec![
        vec![
            interval("10.0.0.1", "10.0.0.9"),
            interval("10.0.0.20", "10.0.0.253"),
        ],
        vec![interval("fd00::1", "fd00::ffff:ffff:ffff:ffff")],
    ];
    granted(scene.lowest("a", &[&v4, &v6]).await);
    assert_eq!(stated(scene, "a").await, expected);
    // An excluded address can be stated. That makes it no address that the range gives.
    granted(scene.exactly("b", &v4, "10.0.0.15").await);
    assert_eq!(stated(scene, "b").await, expected[..1]);
    let attachment = scene.attachment("a");
    let registry = scene.bench.registry();
    let inspected = registry.inspect(&attachment).await;
    let inspected = inspected.expect("the datastore works");
    assert_eq!(inspected.expect("it is whole").claim.usable, expected);
    let page = registry.page(Scope::Network(&attachment.network), None);
    let page = page.await.expect("the datastore works");
    let listed = page.claims.into_iter().map(|listed| {
        let (_, stored) = listed.expect("it can be read");
        stored.value.usable.len()
    });
    assert_eq!(listed.sum::<usize>(), 3);
}

pub(super) async fn a_claim_of_a_range_with_very_many_exclusions_is_made<B: Bench>(
    scene: &Scene<'_, B>,
) {
    let range = scene.range_with("10.0.0.0/16", |spec| {
        let first = address("10.0.0.2").number();
        let single = |step: u128| {
            let address =
                crate::address::Address::new(crate::address::Family::V4, first + 2 * step);
            let address = address.expect("an address");
            Interval::new(address, address).expect("one address")
        };
        spec.exclusions = (0..1024).map(single).collect();
    });
    assert!(range.intervals().len() > 1024);
    granted(scene.lowest("a", &[&range]).await);
    assert_eq!(stated(scene, "a").await, [range.intervals()]);
    scene.leaves("a").await;
}

fn of_pod<B: Bench>(scene: &Scene<'_, B>, container: &str, range: &Range) -> Ask {
    let owner = Owner {
        node: Some("node".to_owned()),
        pod_uid: Some(scene.name.to_owned()),
        ..Owner::default()
    };
    let ask = scene.ask(container, vec![Want::lowest(range)]);
    Ask { owner, ..ask }
}

pub(super) async fn a_new_container_and_a_renewal_state_what_they_know<B: Bench>(
    scene: &Scene<'_, B>,
) {
    let (early, late) = (parted(scene, "10.0.0.254"), parted(scene, "10.0.0.253"));
    granted(scene.take(&of_pod(scene, "old", &early)).await);
    scene.bench.caught_up().await;
    let taken = scene.take(&of_pod(scene, "new", &late)).await;
    assert!(matches!(taken, Taken::TakenOver(..)), "{taken:?}");
    assert_eq!(stated(scene, "new").await, [late.intervals()]);
    let renewed = scene.bench.registry();
    let renewed = renewed.renew(&of_pod(scene, "new", &early)).await;
    assert_eq!(renewed, Ok(Renewed::Done));
    assert_eq!(stated(scene, "new").await, [early.intervals()]);
}
