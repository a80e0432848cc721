//! A repeated request of another owner: a restarted container keeps its id.

use super::{Bench, Scene, granted};
use crate::address::Range;
use crate::allocator::Stored;
use crate::claim::{Ask, BootId, Claim, Owner, Want};
use crate::registry::{Registry, Renewed, Scope};

fn range<B: Bench>(scene: &Scene<'_, B>) -> Range {
    scene.range("10.0.0.0/24")
}

fn in_boot<B: Bench>(scene: &Scene<'_, B>, boot: u128, netns: Option<&str>) -> Ask {
    let owner = Owner {
        node: Some(format!("{} {boot}", scene.name)),
        netns: netns.map(str::to_owned),
        boot: Some(BootId::from_number(boot)),
        ..Owner::default()
    };
    let ask = scene.ask("a", vec![Want::lowest(&range(scene))]);
    Ask { owner, ..ask }
}

async fn renewed<B: Bench>(scene: &Scene<'_, B>, ask: &Ask) -> Renewed {
    let renewed = scene.bench.registry().renew(ask).await;
    renewed.expect("the datastore works")
}

async fn on_node<B: Bench>(scene: &Scene<'_, B>, node: Option<&str>) -> usize {
    let scope = Scope::Node {
        node: node.expect("it is known"),
        network: None,
        pod_uid: None,
    };
    let page = scene.bench.registry().page(scope, None).await;
    page.expect("the datastore works").claims.len()
}

pub(super) async fn a_renewed_claim_has_the_new_owner_and_the_same_addresses<B: Bench>(
    scene: &Scene<'_, B>,
) {
    let (first, second) = (
        in_boot(scene, 1, Some("/run/netns/first")),
        in_boot(scene, 2, None),
    );
    granted(scene.take(&first).await);
    let before = scene.claim("a").await.expect("it holds something");
    assert_eq!(renewed(scene, &second).await, Renewed::Done);
    let Stored {
        value: Claim { held, owner, .. },
        modified,
        ..
    } = scene.claim("a").await.expect("it holds something");
    assert!(modified > before.modified);
    assert_eq!(held, before.value.held);
    assert_eq!(owner.netns, None, "what is not known is not what it was");
    assert_eq!(
        (&owner.node, owner.boot),
        (&second.owner.node, second.owner.boot)
    );
    assert_eq!(on_node(scene, first.owner.node.as_deref()).await, 0);
    assert_eq!(on_node(scene, second.owner.node.as_deref()).await, 1);
    // A renewal that changes no home keeps it.
    let third = in_boot(scene, 2, Some("/run/netns/third"));
    assert_eq!(renewed(scene, &third).await, Renewed::Done);
    assert_eq!(on_node(scene, second.owner.node.as_deref()).await, 1);
    scene.leaves("a").await;
    assert_eq!(on_node(scene, second.owner.node.as_deref()).await, 0);
    scene.gets("b", &[&range(scene)], &["10.0.0.1"]).await;
}

pub(super) async fn a_claim_that_does_not_satisfy_the_request_is_not_renewed<B: Bench>(
    scene: &Scene<'_, B>,
) {
    let ask = in_boot(scene, 1, None);
    assert_eq!(renewed(scene, &ask).await, Renewed::Changed);
    assert_eq!(scene.claim("a").await, None);
    granted(scene.take(&ask).await);
    let before = scene.claim("a").await;
    let mut other = in_boot(scene, 2, None);
    other.wants = vec![Want::lowest(&scene.range("10.0.1.0/24"))];
    assert_eq!(renewed(scene, &other).await, Renewed::Changed);
    assert_eq!(scene.claim("a").await, before);
}
