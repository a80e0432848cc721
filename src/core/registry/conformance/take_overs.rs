//! A new container of a pod takes over the addresses of an old one.

use super::{Bench, Scene, granted, texts};
use crate::address::Range;
use crate::allocator::Shortage;
use crate::claim::{Ask, Owner, Want};
use crate::registry::{Registry, Taken, TakenOver};

/// A range of one address.
fn one<B: Bench>(scene: &Scene<'_, B>) -> Range {
    scene.part("10.0.0.0/24", "10.0.0.7", "10.0.0.7")
}

fn of_pod<B: Bench>(scene: &Scene<'_, B>, container: &str, uid: &str, node: &str) -> Ask {
    let owner = Owner {
        node: Some(node.to_owned()),
        pod_uid: Some(uid.to_owned()),
        ..Owner::default()
    };
    let ask = scene.ask(container, vec![Want::lowest(&one(scene))]);
    Ask { owner, ..ask }
}

/// The outcome for `ask`, which found its range full first, as an ADD does.
async fn taken_over<B: Bench>(scene: &Scene<'_, B>, ask: &Ask) -> TakenOver {
    let registry = scene.bench.registry();
    let refused = registry.take(ask).await.expect("the datastore works");
    assert!(matches!(refused, Taken::Short(Shortage::Exhausted(_))));
    registry.take_over(ask).await.expect("the datastore works")
}

pub(super) async fn the_address_of_an_old_container_is_taken_over<B: Bench>(scene: &Scene<'_, B>) {
    let (old, new) = (
        of_pod(scene, "old", "pod", "node"),
        of_pod(scene, "new", "pod", "node"),
    );
    granted(scene.take(&old).await);
    let before = scene.claim("old").await.expect("it holds something");
    match taken_over(scene, &new).await {
        TakenOver::Done(held) => assert_eq!(texts(&held), ["10.0.0.7"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.claim("old").await, None);
    let now = scene.claim("new").await.expect("it holds something");
    assert_eq!(
        (now.value.held, now.value.owner),
        (before.value.held, new.owner)
    );
    scene.leaves("new").await;
    scene.gets("third", &[&one(scene)], &["10.0.0.7"]).await;
}

pub(super) async fn an_old_container_elsewhere_keeps_its_address<B: Bench>(scene: &Scene<'_, B>) {
    let (old, new) = (
        of_pod(scene, "old", "pod", "node"),
        of_pod(scene, "new", "pod", "another"),
    );
    granted(scene.take(&old).await);
    match taken_over(scene, &new).await {
        TakenOver::Elsewhere(held) => assert_eq!(held.0, old.attachment),
        other => panic!("{other:?}"),
    }
    assert!(scene.claim("old").await.is_some());
}

pub(super) async fn nothing_is_taken_over_of_another_pod_or_interface<B: Bench>(
    scene: &Scene<'_, B>,
) {
    granted(scene.take(&of_pod(scene, "old", "pod", "node")).await);
    let stranger = of_pod(scene, "new", "another", "node");
    let mut interface = of_pod(scene, "new", "pod", "node");
    "eth1".clone_into(&mut interface.attachment.interface);
    let mut podless = of_pod(scene, "new", "pod", "node");
    podless.owner.pod_uid = None;
    for ask in [stranger, interface, podless] {
        assert_eq!(taken_over(scene, &ask).await, TakenOver::Nothing);
    }
    assert!(scene.claim("old").await.is_some());
}

pub(super) async fn nothing_is_taken_over_that_is_younger_than_the_request<B: Bench>(
    scene: &Scene<'_, B>,
) {
    let (old, new) = (
        of_pod(scene, "old", "pod", "node"),
        of_pod(scene, "new", "pod", "node"),
    );
    granted(scene.take(&of_pod(scene, "another", "other", "node")).await);
    let registry = scene.bench.registry();
    let refused = registry.take(&old).await.expect("the datastore works");
    assert!(matches!(refused, Taken::Short(_)));
    scene.leaves("another").await;
    granted(scene.take(&new).await);
    let nothing = registry.take_over(&old).await;
    assert_eq!(nothing, Ok(TakenOver::Nothing), "the old container is late");
}

pub(super) async fn nothing_is_taken_over_by_who_holds_something<B: Bench>(scene: &Scene<'_, B>) {
    granted(scene.take(&of_pod(scene, "old", "pod", "node")).await);
    let new = of_pod(scene, "new", "pod", "node");
    let registry = scene.bench.registry();
    let refused = registry.take(&new).await.expect("the datastore works");
    assert!(matches!(refused, Taken::Short(_)));
    // Another process of the same attachment was faster.
    granted(scene.lowest("new", &[&scene.range("10.1.0.0/24")]).await);
    let changed = registry.take_over(&new).await;
    assert_eq!(changed, Ok(TakenOver::Changed));
    assert!(scene.claim("old").await.is_some());
}
