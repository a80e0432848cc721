//! Questions about claims: they change nothing.

use std::collections::BTreeSet;

use super::{Bench, Scene, granted};
use crate::allocator::Shortage;
use crate::claim::{Attachment, RangeId, Want};
use crate::limits;
use crate::registry::{Registry, Scope};

/// The attachments with a claim of `scope`, and the number of pages that list them.
async fn listed<B: Bench>(scene: &Scene<'_, B>, scope: Scope<'_>) -> (BTreeSet<Attachment>, usize) {
    let (mut found, mut pages, mut after) = (BTreeSet::new(), 0, None);
    let registry = scene.bench.registry();
    loop {
        let page = registry.page(scope, after.as_ref()).await;
        let page = page.expect("the datastore works");
        pages += 1;
        for claim in page.claims {
            let (attachment, _) = claim.expect("it can be read");
            assert!(found.insert(attachment), "a claim is listed twice");
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return (found, pages),
        }
    }
}

pub(super) async fn claims_are_listed_page_by_page<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/16");
    let count = limits::CLAIMS_PER_PAGE as usize + 3;
    let containers: Vec<String> = (0..count).map(|number| format!("c{number:05}")).collect();
    for container in &containers {
        granted(scene.lowest(container, &[&range]).await);
    }
    let network = super::name(scene.name);
    let (found, pages) = listed(scene, Scope::Network(&network)).await;
    let expected = containers.iter().map(|one| scene.attachment(one));
    assert_eq!(found, expected.collect());
    assert!(pages > 1, "{pages} pages");
}

pub(super) async fn a_page_has_the_claims_of_one_network<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/24");
    granted(scene.lowest("a", &[&range]).await);
    let mut ask = scene.ask("b", vec![Want::lowest(&range)]);
    ask.attachment.network = super::name(&format!("{}-2", scene.name));
    granted(scene.take(&ask).await);
    let (own, other) = (scene.attachment("a"), ask.attachment);
    let (found, _) = listed(scene, Scope::Network(&own.network)).await;
    assert_eq!(found, BTreeSet::from([own.clone()]));
    let (all, _) = listed(scene, Scope::All).await;
    assert!(all.contains(&own) && all.contains(&other));
}

/// The claims of each pod go to one of two nodes. A third pod's node is not known.
pub(super) async fn a_page_has_the_claims_of_one_node<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/16");
    let network = super::name(scene.name);
    let node = |container: &str| match container.as_bytes()[0] {
        b'e' => Some(format!("{}-east", scene.name)),
        b'w' => Some(format!("{}-west/1", scene.name)),
        _ => None,
    };
    let count = limits::CLAIMS_PER_PAGE_OF_NODE as usize + 2;
    let eastern: Vec<String> = (0..count).map(|number| format!("e{number}")).collect();
    let others = ["w1", "w2", "x1"].map(str::to_owned);
    for container in eastern.iter().chain(&others) {
        let mut ask = scene.ask(container, vec![Want::lowest(&range)]);
        ask.owner.node = node(container);
        ask.owner.pod_uid = Some(format!("uid of {container}"));
        granted(scene.take(&ask).await);
    }
    let of = |node: &'static str, network, pod_uid| {
        let node = format!("{}-{node}", scene.name);
        async move {
            let scope = Scope::Node {
                node: &node,
                network,
                pod_uid,
            };
            listed(scene, scope).await
        }
    };
    let attachments = |containers: &[&str]| -> BTreeSet<Attachment> {
        containers.iter().map(|one| scene.attachment(one)).collect()
    };
    let (found, pages) = of("east", None, None).await;
    assert_eq!((found.len(), pages), (count, 2));
    let (found, _) = of("west/1", Some(&network), None).await;
    assert_eq!(found, attachments(&["w1", "w2"]));
    let (found, _) = of("west/1", Some(&network), Some("uid of w2")).await;
    assert_eq!(found, attachments(&["w2"]));
    let (found, _) = of("west", None, None).await;
    assert_eq!(found, attachments(&[]));
    scene.leaves("w1").await;
    let (found, _) = of("west/1", None, None).await;
    assert_eq!(found, attachments(&["w2"]));
}

pub(super) async fn a_claim_is_inspected_with_its_marks<B: Bench>(scene: &Scene<'_, B>) {
    let (v4, v6) = (scene.range("10.0.0.0/30"), scene.range("fd00::/64"));
    let attachment = scene.attachment("a");
    let inspect = async || {
        let inspected = scene.bench.registry().inspect(&attachment).await;
        inspected.expect("the datastore works")
    };
    assert_eq!(inspect().await, None);
    let held = granted(scene.lowest("a", &[&v4, &v6]).await);
    // Also where the block is full.
    for container in ["b", "c"] {
        let inspected = inspect().await.expect("it holds something");
        assert_eq!(
            (inspected.claim.held, inspected.unmarked),
            (held.clone(), None)
        );
        scene.lowest(container, &[&v4]).await;
    }
}

pub(super) async fn a_shortage_is_told_without_a_claim<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/30");
    let shortage = async || {
        let registry = scene.bench.registry();
        let told = registry.shortage(&[Want::lowest(&range)]).await;
        told.expect("the datastore works")
    };
    for container in ["a", "b"] {
        assert_eq!(shortage().await, None);
        granted(scene.lowest(container, &[&range]).await);
    }
    let full = RangeId::of(&range);
    assert_eq!(shortage().await, Some(Shortage::Exhausted(full)));
    scene.leaves("a").await;
    assert_eq!(shortage().await, None);
    scene.gets("c", &[&range], &["10.0.0.1"]).await;
}

pub(super) async fn a_record_of_no_cluster_is_confirmed<B: Bench>(scene: &Scene<'_, B>) {
    let confirmed = scene.bench.registry().confirm().await;
    assert_eq!(confirmed, Ok(()));
}
