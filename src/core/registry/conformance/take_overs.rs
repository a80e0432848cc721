//! A new container of a pod takes over the addresses of an old one.

use super::{Bench, Scene, granted, texts};
use crate::address::Range;
use crate::claim::{Ask, Owner, Want};
use crate::registry::Taken;

/// A range of three addresses.
fn three<B: Bench>(scene: &Scene<'_, B>) -> Range {
    scene.part("10.0.0.0/24", "10.0.0.7", "10.0.0.9")
}

fn of_pod<B: Bench>(scene: &Scene<'_, B>, container: &str, uid: &str, node: &str) -> Ask {
    let owner = Owner {
        node: Some(node.to_owned()),
        pod_uid: Some(uid.to_owned()),
        ..Owner::default()
    };
    let ask = scene.ask(container, vec![Want::lowest(&three(scene))]);
    Ask { owner, ..ask }
}

pub(super) async fn the_address_of_an_old_container_is_taken_over<B: Bench>(scene: &Scene<'_, B>) {
    let (old, new) = (
        of_pod(scene, "old", "pod", "node"),
        of_pod(scene, "new", "pod", "node"),
    );
    granted(scene.take(&old).await);
    let before = scene.claim("old").await.expect("it holds something");
    scene.bench.caught_up().await;
    match scene.take(&new).await {
        Taken::TakenOver(from, held) => {
            assert_eq!(from, old.attachment);
            assert_eq!(texts(&held), ["10.0.0.7"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.claim("old").await, None);
    let now = scene.claim("new").await.expect("it holds something");
    assert_eq!(
        (now.value.held, now.value.owner),
        (before.value.held, new.owner.clone())
    );
    assert!(matches!(scene.take(&new).await, Taken::Held(_)));
    scene.gets("third", &[&three(scene)], &["10.0.0.8"]).await;
    scene.leaves("new").await;
    scene.gets("fourth", &[&three(scene)], &["10.0.0.7"]).await;
}

pub(super) async fn the_address_of_an_old_container_is_taken_over_in_a_full_range<B: Bench>(
    scene: &Scene<'_, B>,
) {
    for (container, address) in [("first", "10.0.0.7"), ("second", "10.0.0.8")] {
        scene.gets(container, &[&three(scene)], &[address]).await;
    }
    granted(scene.take(&of_pod(scene, "old", "pod", "node")).await);
    scene.bench.caught_up().await;
    match scene.take(&of_pod(scene, "new", "pod", "node")).await {
        Taken::TakenOver(_, held) => assert_eq!(texts(&held), ["10.0.0.9"]),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn an_address_that_is_not_wanted_any_more_is_not_taken_over<B: Bench>(
    scene: &Scene<'_, B>,
) {
    granted(scene.take(&of_pod(scene, "old", "pod", "node")).await);
    let ask = of_pod(scene, "new", "pod", "node");
    let later = scene.part("10.0.0.0/24", "10.0.0.8", "10.0.0.8");
    let wants = vec![Want::lowest(&later)];
    let held = granted(scene.take(&Ask { wants, ..ask }).await);
    assert_eq!(texts(&held), ["10.0.0.8"]);
    assert!(scene.claim("old").await.is_some());
}

pub(super) async fn an_old_container_elsewhere_keeps_its_address<B: Bench>(scene: &Scene<'_, B>) {
    let (old, new) = (
        of_pod(scene, "old", "pod", "node"),
        of_pod(scene, "new", "pod", "another"),
    );
    granted(scene.take(&old).await);
    let held = granted(scene.take(&new).await);
    assert_eq!(texts(&held), ["10.0.0.8"]);
    assert!(scene.claim("old").await.is_some());
}

pub(super) async fn nothing_is_taken_over_of_another_pod_or_interface<B: Bench>(
    scene: &Scene<'_, B>,
) {
    granted(scene.take(&of_pod(scene, "old", "pod", "node")).await);
    let stranger = of_pod(scene, "stranger", "another", "node");
    let mut interface = of_pod(scene, "new", "pod", "node");
    "eth1".clone_into(&mut interface.attachment.interface);
    let mut podless = of_pod(scene, "podless", "pod", "node");
    podless.owner.pod_uid = None;
    for (ask, expected) in [(stranger, "10.0.0.8"), (interface, "10.0.0.9")] {
        assert_eq!(texts(&granted(scene.take(&ask).await)), [expected]);
    }
    assert!(matches!(scene.take(&podless).await, Taken::Short(_)));
    assert!(scene.claim("old").await.is_some());
}
