//! Leases: what they hold, and what their end takes away.

use std::time::Duration;

use super::{Scene, writing};
use crate::{Store, Unavailable, Write};

pub(super) async fn a_lease_lives_at_least_as_long_as_asked<S: Store>(scene: &Scene<'_, S>) {
    let mut ids = Vec::new();
    for asked_s in [1, 60] {
        let lease = scene.store.grant(asked_s).await;
        let lease = lease.expect("a lease is granted");
        let asked = Duration::from_secs(asked_s.unsigned_abs());
        assert!(lease.ttl >= asked, "{lease:?} for {asked_s} s");
        ids.push(lease.id);
    }
    assert!(ids[0] != 0 && ids[1] != 0 && ids[0] != ids[1], "{ids:?}");
    for id in ids {
        let kept = scene.store.keep_alive(id).await;
        assert_eq!(kept, Ok(()));
        scene.revoke(id).await;
    }
}

pub(super) async fn the_end_of_a_lease_deletes_its_keys_at_once<S: Store>(scene: &Scene<'_, S>) {
    let lease = scene.lease().await;
    scene.put("free", "").await;
    let names = ["b", "a", "c"];
    let before = scene
        .writes(names.map(|name| scene.write_leased(name, "", lease)))
        .await;
    scene.revoke(lease).await;
    assert_eq!(scene.revision().await, before + 1);
    for name in names {
        assert!(!scene.exists(name).await, "{name}");
    }
    assert!(scene.exists("free").await);
}

pub(super) async fn the_end_of_a_lease_without_keys_takes_no_revision<S: Store>(
    scene: &Scene<'_, S>,
) {
    let before = scene.revision().await;
    let lease = scene.lease().await;
    scene.revoke(lease).await;
    assert_eq!(scene.revision().await, before);
}

pub(super) async fn a_lease_that_ended_is_not_found<S: Store>(scene: &Scene<'_, S>) {
    let lease = scene.lease().await;
    scene.revoke(lease).await;
    let missing = Err(Unavailable::LeaseNotFound);
    assert_eq!(scene.store.keep_alive(lease).await, missing);
    assert_eq!(scene.store.revoke(lease).await, missing);
}

pub(super) async fn a_lease_that_ended_refuses_the_commit<S: Store>(scene: &Scene<'_, S>) {
    let lease = scene.lease().await;
    scene.revoke(lease).await;
    let txn = writing([scene.write("a", ""), scene.write_leased("b", "", lease)]);
    assert_eq!(scene.refused(txn).await, Unavailable::LeaseNotFound);
    assert!(!scene.exists("a").await && !scene.exists("b").await);
}

pub(super) async fn a_put_moves_a_key_to_another_lease<S: Store>(scene: &Scene<'_, S>) {
    let old = scene.lease().await;
    let new = scene.lease().await;
    scene.writes([scene.write_leased("a", "", old)]).await;
    scene.writes([scene.write_leased("a", "", new)]).await;
    scene.revoke(old).await;
    assert!(scene.exists("a").await, "the old lease has nothing to take");
    scene.revoke(new).await;
    assert!(!scene.exists("a").await, "the new lease has");
}

pub(super) async fn a_put_without_a_lease_frees_the_key<S: Store>(scene: &Scene<'_, S>) {
    let lease = scene.lease().await;
    scene.writes([scene.write_leased("a", "", lease)]).await;
    scene.put("a", "").await;
    scene.revoke(lease).await;
    assert!(scene.exists("a").await);
}

pub(super) async fn a_touch_and_a_rewrite_keep_the_lease<S: Store>(scene: &Scene<'_, S>) {
    let lease = scene.lease().await;
    let names = ["a", "b"];
    scene
        .writes(names.map(|name| scene.write_leased(name, "", lease)))
        .await;
    let rewrite = Write::Rewrite {
        key: scene.key("b"),
        value: b"rewritten".to_vec(),
    };
    scene.writes([Write::Touch(scene.key("a")), rewrite]).await;
    for name in names {
        assert_eq!(scene.get(name).await.map(|e| e.lease), Some(lease));
    }
    scene.revoke(lease).await;
    for name in names {
        assert!(!scene.exists(name).await, "{name}");
    }
}
