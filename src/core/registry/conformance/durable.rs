//! Addresses that stay: a pod's name keeps them over the end of its attachments.

use super::{Bench, Scene, granted, texts};
use crate::address::{Interval, Range};
use crate::allocator::{Kept, Stored};
use crate::claim::{Ask, Owner, Want};
use crate::durable::{DurableOwner, OwnerState};
use crate::registry::{Ended, OwnerPage, Registry, Released, Renewed, Taken};

/// A range of three addresses.
fn three<B: Bench>(scene: &Scene<'_, B>) -> Range {
    scene.part("10.0.0.0/24", "10.0.0.7", "10.0.0.9")
}

/// The request of a container of the pod `web-0`, which keeps its address.
fn web<B: Bench>(scene: &Scene<'_, B>, container: &str, uid: &str, node: &str) -> Ask {
    let owner = Owner {
        node: Some(node.to_owned()),
        pod_namespace: Some("ns".to_owned()),
        pod_name: Some("web-0".to_owned()),
        pod_uid: Some(uid.to_owned()),
        is_durable: true,
        ..Owner::default()
    };
    let ask = scene.ask(container, vec![Want::lowest(&three(scene))]);
    Ask { owner, ..ask }
}

fn of_range(ask: Ask, range: &Range) -> Ask {
    let wants = vec![Want::lowest(range)];
    Ask { wants, ..ask }
}

async fn page<B: Bench>(scene: &Scene<'_, B>) -> Vec<(DurableOwner, Stored<OwnerState>)> {
    let network = super::name(scene.name);
    let registry = scene.bench.registry();
    let OwnerPage { owners, next } = registry
        .owners(Some(&network), None)
        .await
        .expect("the datastore works");
    assert!(next.is_none());
    let owners = owners.into_iter().collect::<Result<_, _>>();
    owners.expect("all can be read")
}

/// The only durable owner of the case.
async fn only<B: Bench>(scene: &Scene<'_, B>) -> (DurableOwner, Stored<OwnerState>) {
    let mut owners = page(scene).await;
    assert_eq!(owners.len(), 1, "{owners:?}");
    owners.remove(0)
}

async fn end<B: Bench>(
    scene: &Scene<'_, B>,
    (owner, state): &(DurableOwner, Stored<OwnerState>),
) -> Ended {
    let registry = scene.bench.registry();
    let ended = registry.end(owner, state).await;
    ended.expect("the datastore works")
}

#[track_caller]
fn revived(taken: Taken) -> Vec<String> {
    match taken {
        Taken::Revived(held) => texts(&held),
        other => panic!("not revived: {other:?}"),
    }
}

#[track_caller]
fn kept(taken: Taken) -> Kept {
    match taken {
        Taken::Kept(_, kept) => kept,
        other => panic!("not kept: {other:?}"),
    }
}

pub(super) async fn a_durable_address_stays_and_comes_back<B: Bench>(scene: &Scene<'_, B>) {
    let held = granted(scene.take(&web(scene, "a", "uid-1", "node-1")).await);
    assert_eq!(texts(&held), ["10.0.0.7"]);
    let (owner, state) = only(scene).await;
    assert_eq!(
        owner.to_string(),
        format!("eth0 of pod ns/web-0 in network {}", scene.name)
    );
    assert_eq!(state.value, OwnerState::Attached(super::name("a")));
    scene.leaves("a").await;
    assert_eq!(scene.claim("a").await, None);
    match only(scene).await.1.value {
        OwnerState::Resting { held: kept, .. } => assert_eq!(kept, held),
        other @ OwnerState::Attached(_) => panic!("{other:?}"),
    }
    scene.gets("b", &[&three(scene)], &["10.0.0.8"]).await;
    scene.gets("c", &[&three(scene)], &["10.0.0.9"]).await;
    assert!(matches!(
        scene.lowest("d", &[&three(scene)]).await,
        Taken::Short(_)
    ));
    let exactly = scene.exactly("e", &three(scene), "10.0.0.7").await;
    assert!(matches!(exactly, Taken::Short(_)), "{exactly:?}");
    // Another pod of the name, on another node, in a full range.
    let again = web(scene, "f", "uid-2", "node-2");
    assert_eq!(revived(scene.take(&again).await), ["10.0.0.7"]);
    assert!(matches!(scene.take(&again).await, Taken::Held(_)));
    let claim = scene.claim("f").await.expect("it holds something");
    assert_eq!(claim.value.owner, again.owner);
}

pub(super) async fn a_durable_address_in_use_is_not_given<B: Bench>(scene: &Scene<'_, B>) {
    granted(scene.take(&web(scene, "a", "uid-1", "node-1")).await);
    let claim = scene.claim("a").await.expect("it holds something");
    let mut nowhere = web(scene, "b", "uid-1", "node-1");
    nowhere.owner.node = None;
    for other in [
        web(scene, "b", "uid-2", "node-1"),
        web(scene, "b", "uid-1", "node-2"),
        nowhere,
    ] {
        let taken = scene.take(&other).await;
        let expected = Kept::InUse(scene.attachment("a"), Some(Box::new(claim.value.clone())));
        assert_eq!(kept(taken), expected);
        assert_eq!(scene.claim("b").await, None);
    }
    assert_eq!(scene.claim("a").await, Some(claim));
}

pub(super) async fn nothing_is_taken_over_between_unknown_nodes<B: Bench>(scene: &Scene<'_, B>) {
    let nowhere = |container| {
        let mut ask = web(scene, container, "uid-1", "");
        ask.owner.node = None;
        ask
    };
    granted(scene.take(&nowhere("a")).await);
    let claim = scene.claim("a").await.expect("it holds something");
    let expected = Kept::InUse(scene.attachment("a"), Some(Box::new(claim.value)));
    assert_eq!(kept(scene.take(&nowhere("b")).await), expected);
}

pub(super) async fn a_durable_pod_made_anew_takes_over<B: Bench>(scene: &Scene<'_, B>) {
    granted(scene.take(&web(scene, "a", "uid-1", "node-1")).await);
    let old = scene.claim("a").await.expect("it holds something");
    match scene.take(&web(scene, "b", "uid-1", "node-1")).await {
        Taken::TakenOver(from, held) => {
            assert_eq!(
                (from, texts(&held)),
                (scene.attachment("a"), vec!["10.0.0.7".to_owned()])
            );
        }
        other => panic!("{other:?}"),
    }
    // The late DEL of the old container frees nothing.
    assert_eq!(scene.release("a", &old).await, Released::Done);
    let (_, state) = only(scene).await;
    assert_eq!(state.value, OwnerState::Attached(super::name("b")));
    scene.gets("c", &[&three(scene)], &["10.0.0.8"]).await;
    scene.leaves("b").await;
    assert_eq!(
        revived(scene.take(&web(scene, "d", "uid-2", "node-1")).await),
        ["10.0.0.7"]
    );
}

pub(super) async fn an_address_outside_of_the_range_is_kept_until_its_owner_ends<B: Bench>(
    scene: &Scene<'_, B>,
) {
    granted(scene.take(&web(scene, "a", "uid-1", "node-1")).await);
    let shrunk = scene.part("10.0.0.0/24", "10.0.0.8", "10.0.0.9");
    let excluded = scene.range_with("10.0.0.0/24", |spec| {
        spec.exclusions = vec![Interval::of("10.0.0.7/32".parse().expect("a CIDR"))];
    });
    let smaller = scene.range("10.0.0.0/28");
    let elsewhere = scene.range_with("10.0.0.0/24", |spec| {
        spec.pool.name = Some(format!("{}-other", scene.name));
    });
    let ranges = [&shrunk, &excluded, &smaller, &elsewhere];
    let old = scene
        .claim("a")
        .await
        .expect("it holds something")
        .value
        .held;
    for range in ranges {
        let ask = of_range(web(scene, "b", "uid-1", "node-1"), range);
        assert_eq!(kept(scene.take(&ask).await), Kept::Unwanted(old.clone()));
    }
    scene.leaves("a").await;
    for range in ranges {
        let ask = of_range(web(scene, "b", "uid-2", "node-1"), range);
        assert_eq!(kept(scene.take(&ask).await), Kept::Unwanted(old.clone()));
    }
    assert_eq!(end(scene, &only(scene).await).await, Ended::Done);
    assert_eq!(page(scene).await, []);
    let ask = of_range(web(scene, "b", "uid-2", "node-1"), &shrunk);
    assert_eq!(texts(&granted(scene.take(&ask).await)), ["10.0.0.8"]);
    scene.gets("c", &[&three(scene)], &["10.0.0.7"]).await;
}

pub(super) async fn only_an_owner_at_rest_ends<B: Bench>(scene: &Scene<'_, B>) {
    let ask = web(scene, "a", "uid-1", "node-1");
    granted(scene.take(&ask).await);
    let attached = only(scene).await;
    assert_eq!(
        end(scene, &attached).await,
        Ended::Changed(Some(attached.1.clone()))
    );
    scene.leaves("a").await;
    let resting = only(scene).await;
    revived(scene.take(&web(scene, "b", "uid-2", "node-1")).await);
    let now = only(scene).await.1;
    assert_eq!(end(scene, &resting).await, Ended::Changed(Some(now)));
    scene.gets("c", &[&three(scene)], &["10.0.0.8"]).await;
    scene.leaves("b").await;
    let resting = only(scene).await;
    assert_eq!(end(scene, &resting).await, Ended::Done);
    assert_eq!(end(scene, &resting).await, Ended::Changed(None));
    scene.gets("d", &[&three(scene)], &["10.0.0.7"]).await;
}

pub(super) async fn a_kept_address_is_kept_from_ranges_that_overlap<B: Bench>(
    scene: &Scene<'_, B>,
) {
    let (wide, narrow) = (scene.range("10.0.0.0/24"), scene.range("10.0.0.0/29"));
    granted(
        scene
            .take(&of_range(web(scene, "a", "uid-1", "node-1"), &narrow))
            .await,
    );
    scene.leaves("a").await;
    scene.gets("b", &[&wide], &["10.0.0.2"]).await;
    let again = of_range(web(scene, "c", "uid-2", "node-1"), &narrow);
    assert_eq!(revived(scene.take(&again).await), ["10.0.0.1"]);
}

pub(super) async fn a_durable_claim_stays_durable<B: Bench>(scene: &Scene<'_, B>) {
    granted(scene.take(&web(scene, "a", "uid-1", "node-1")).await);
    // The network is sticky no more, and the sandbox is made anew.
    let mut ask = web(scene, "b", "uid-1", "node-1");
    ask.owner.is_durable = false;
    assert!(matches!(scene.take(&ask).await, Taken::TakenOver(..)));
    // The container is restarted, and its runtime tells another name: that name's owner is not this one's.
    ask.owner.netns = Some("/run/netns/new".to_owned());
    ask.owner.pod_name = Some("web-1".to_owned());
    let renewed = scene.bench.registry().renew(&ask).await;
    assert_eq!(renewed.expect("the datastore works"), Renewed::Done);
    scene.leaves("b").await;
    scene.gets("c", &[&three(scene)], &["10.0.0.8"]).await;
    assert_eq!(only(scene).await.0.pod, "web-0");
    // An ADD of a network that is not sticky looks for no owner.
    let ask = Ask {
        attachment: scene.attachment("d"),
        ..ask
    };
    assert_eq!(texts(&granted(scene.take(&ask).await)), ["10.0.0.9"]);
    scene.leaves("d").await;
    assert_eq!(
        revived(scene.take(&web(scene, "e", "uid-2", "node-1")).await),
        ["10.0.0.7"]
    );
}

pub(super) async fn an_ordinary_claim_becomes_durable_by_a_take_over<B: Bench>(
    scene: &Scene<'_, B>,
) {
    let mut before = web(scene, "a", "uid-1", "node-1");
    before.owner.is_durable = false;
    granted(scene.take(&before).await);
    assert_eq!(page(scene).await, []);
    let now = web(scene, "b", "uid-1", "node-1");
    assert!(matches!(scene.take(&now).await, Taken::TakenOver(..)));
    scene.leaves("b").await;
    assert_eq!(
        revived(scene.take(&web(scene, "c", "uid-2", "node-2")).await),
        ["10.0.0.7"]
    );
}

pub(super) async fn durable_owners_differ_by_pod_and_interface<B: Bench>(scene: &Scene<'_, B>) {
    let first = web(scene, "a", "uid-1", "node-1");
    let mut pod = web(scene, "b", "uid-2", "node-1");
    pod.owner.pod_name = Some("web-1".to_owned());
    let mut interface = web(scene, "a", "uid-1", "node-1");
    "net1".clone_into(&mut interface.attachment.interface);
    for (ask, expected) in [
        (first, "10.0.0.7"),
        (pod, "10.0.0.8"),
        (interface, "10.0.0.9"),
    ] {
        assert_eq!(texts(&granted(scene.take(&ask).await)), [expected]);
    }
    let owners: Vec<String> = page(scene)
        .await
        .iter()
        .map(|(owner, _)| owner.to_string())
        .collect();
    let expected = [
        "eth0 of pod ns/web-0",
        "net1 of pod ns/web-0",
        "eth0 of pod ns/web-1",
    ];
    let expected = expected.map(|owner| format!("{owner} in network {}", scene.name));
    assert_eq!(owners, expected);
}
