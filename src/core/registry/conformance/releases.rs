//! Releases: their conditions and their effects.

use super::{Bench, Scene, granted};
use crate::allocator::Stored;
use crate::claim::{Attachment, Claim};
use crate::registry::{Registry, Released};

pub(super) async fn a_release_frees_all_that_is_held<B: Bench>(scene: &Scene<'_, B>) {
    let ranges = [scene.range("10.0.0.0/24"), scene.range("fd00::/64")];
    let [v4, v6] = ranges.each_ref();
    scene.gets("a", &[v4, v6], &["10.0.0.1", "fd00::1"]).await;
    scene.leaves("a").await;
    assert_eq!(scene.claim("a").await, None);
    scene.gets("b", &[v4, v6], &["10.0.0.1", "fd00::1"]).await;
}

pub(super) async fn a_claim_that_has_changed_stays<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/24");
    granted(scene.lowest("a", &[&range]).await);
    let old = scene.claim("a").await.expect("it holds something");
    scene.leaves("a").await;
    granted(scene.lowest("a", &[&range]).await);
    let now = scene.claim("a").await.expect("it holds something");
    assert!(old.modified < now.modified);
    let released = scene.release("a", &old).await;
    assert_eq!(released, Released::Changed(now.clone()));
    assert_eq!(scene.claim("a").await, Some(now));
    scene.gets("b", &[&range], &["10.0.0.2"]).await;
}

pub(super) async fn a_claim_that_is_gone_is_released<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/24");
    granted(scene.lowest("a", &[&range]).await);
    let claim = scene.claim("a").await.expect("it holds something");
    scene.leaves("a").await;
    scene.gets("b", &[&range], &["10.0.0.1"]).await;
    assert_eq!(scene.release("a", &claim).await, Released::Done);
    scene.gets("c", &[&range], &["10.0.0.2"]).await;
}

pub(super) async fn an_attachment_without_a_claim_is_not_found<B: Bench>(scene: &Scene<'_, B>) {
    let registry = scene.bench.registry();
    let found = registry.find(&scene.attachment("a"), &[]).await;
    let found = found.expect("the datastore works");
    assert_eq!((found.claim, found.nameless), (None, None));
    assert!(found.adds.is_empty() && found.dels.is_empty());
}

pub(super) async fn a_claim_without_interface_is_found_beside_the_own_one<B: Bench>(
    scene: &Scene<'_, B>,
) {
    let range = scene.range("10.0.0.0/24");
    let mut ask = scene.ask("a", vec![crate::claim::Want::lowest(&range)]);
    ask.attachment = ask.attachment.without_interface();
    granted(scene.take(&ask).await);
    granted(scene.lowest("a", &[&range]).await);
    let registry = scene.bench.registry();
    let found = registry.find(&scene.attachment("a"), &[]).await;
    let found = found.expect("the datastore works");
    let address = |claim: &Stored<Claim>| claim.value.held[0].address.to_string();
    // A DEL needs the other claim only once the own one is gone.
    let nameless = found.nameless.as_ref().map(address);
    assert!(nameless.is_none_or(|address| address == "10.0.0.1"));
    assert_eq!(
        found.claim.as_ref().map(address).as_deref(),
        Some("10.0.0.2")
    );
    scene.leaves("a").await;
    let registry = scene.bench.registry();
    let found = registry.find(&scene.attachment("a"), &[]).await;
    let found = found.expect("the datastore works");
    assert_eq!(found.claim, None);
    assert_eq!(
        found.nameless.as_ref().map(address).as_deref(),
        Some("10.0.0.1")
    );
}

pub(super) async fn claims_of_a_container_are_counted_up_to_two<B: Bench>(scene: &Scene<'_, B>) {
    let range = scene.range("10.0.0.0/24");
    let count = async |container: &str| {
        let whose = scene.attachment(container).without_interface();
        let counted = scene.bench.registry().claims_of_container(&whose).await;
        counted.expect("the datastore works")
    };
    assert_eq!(count("a").await, 0);
    for interface in [crate::claim::UNKNOWN_INTERFACE, "eth0", "eth1"] {
        let before = count("a").await;
        let mut ask = scene.ask("a", vec![crate::claim::Want::lowest(&range)]);
        ask.attachment = Attachment {
            interface: interface.to_owned(),
            ..ask.attachment
        };
        granted(scene.take(&ask).await);
        let now = count("a").await;
        assert!(
            now == before + 1 || (now > 1 && before > 1),
            "{before}, {now}"
        );
    }
    granted(scene.lowest("aa", &[&range]).await);
    assert_eq!(count("aa").await, 1, "of another container");
}
