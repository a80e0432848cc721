//! Compares: each kind on keys that exist, never did, and no longer do.

use super::{Scene, writing};
use crate::{Compare, Outcome, Revision, Store, Txn};

/// Commits nothing if `compare` holds, and tells whether it did.
async fn holds<S: Store>(scene: &Scene<'_, S>, compare: Compare) -> bool {
    let txn = Txn {
        compares: vec![compare],
        ..Txn::default()
    };
    match scene.store.commit(&txn).await {
        Ok(Outcome::Done(_)) => true,
        Ok(Outcome::Conflict(_)) => false,
        Err(error) => panic!("{txn:?}: {error}"),
    }
}

pub(super) async fn absent_is_a_key_that_does_not_exist<S: Store>(scene: &Scene<'_, S>) {
    let absent = || holds(scene, Compare::Absent(scene.key("a")));
    assert!(absent().await, "never created");
    scene.put("a", "").await;
    assert!(!absent().await, "exists");
    scene.delete("a").await;
    assert!(absent().await, "deleted");
}

pub(super) async fn none_in_is_a_range_without_keys<S: Store>(scene: &Scene<'_, S>) {
    let none_in = |from, until| {
        let compare = Compare::NoneIn(scene.key(from), scene.key(until));
        holds(scene, compare)
    };
    assert!(none_in("a", "z").await, "nothing there");
    scene.put("m", "").await;
    for (from, until, expected) in [
        ("a", "z", false),
        ("a", "m", true),
        ("m", "n", false),
        ("mm", "z", true),
        ("z", "a", true),
    ] {
        assert_eq!(none_in(from, until).await, expected, "{from} to {until}");
    }
    scene.delete("m").await;
    assert!(none_in("a", "z").await, "deleted");
}

pub(super) async fn modified_is_the_last_write<S: Store>(scene: &Scene<'_, S>) {
    let modified = |revision: Revision| holds(scene, Compare::Modified(scene.key("a"), revision));
    let before = scene.put("other", "").await;
    assert!(!modified(before).await, "never created");
    let first = scene.put("a", "").await;
    assert!(modified(first).await, "just written");
    assert!(!modified(before).await, "another revision");
    let second = scene.put("a", "").await;
    assert!(!modified(first).await, "written again");
    assert!(modified(second).await, "just written again");
    let deleted = scene.delete("a").await;
    assert!(!modified(second).await, "deleted");
    assert!(!modified(deleted).await, "a deletion is no write");
}

pub(super) async fn created_is_the_last_creation<S: Store>(scene: &Scene<'_, S>) {
    let created = |revision: Revision| holds(scene, Compare::Created(scene.key("a"), revision));
    let before = scene.put("other", "").await;
    assert!(!created(before).await, "never created");
    let first = scene.put("a", "").await;
    let again = scene.put("a", "").await;
    assert!(created(first).await, "written again, not created again");
    assert!(!created(again).await, "a write is no creation");
    scene.delete("a").await;
    assert!(!created(first).await, "deleted");
    let second = scene.put("a", "").await;
    assert!(!created(first).await, "created anew");
    assert!(created(second).await, "just created");
}

pub(super) async fn value_is_the_last_one<S: Store>(scene: &Scene<'_, S>) {
    let has = |value: &str| {
        let compare = Compare::Value(scene.key("a"), value.as_bytes().to_vec());
        holds(scene, compare)
    };
    assert!(!has("").await, "never created");
    scene.put("a", "x").await;
    assert!(has("x").await, "just written");
    for other in ["", "xx", "w", "y"] {
        assert!(!has(other).await, "{other:?} was not written");
    }
    scene.put("a", "").await;
    assert!(!has("x").await, "written again");
    assert!(has("").await, "written again");
    scene.delete("a").await;
    assert!(!has("").await, "deleted");
}

pub(super) async fn one_compare_that_fails_refuses_all_writes<S: Store>(scene: &Scene<'_, S>) {
    let revision = scene.put("a", "").await;
    let good = Compare::Modified(scene.key("a"), revision);
    let bad = Compare::Absent(scene.key("a"));
    for compares in [vec![good.clone(), bad.clone()], vec![bad, good.clone()]] {
        let txn = Txn {
            compares,
            ..writing([scene.write("b", ""), scene.write("c", "")])
        };
        let view = scene.conflict(txn).await;
        assert_eq!(view.revision, revision);
        assert!(!scene.exists("b").await && !scene.exists("c").await);
    }
    let txn = Txn {
        compares: vec![good, Compare::Absent(scene.key("b"))],
        ..writing([scene.write("b", "")])
    };
    assert_eq!(scene.done(txn).await.revision, revision + 1);
}
