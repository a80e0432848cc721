//! Reads: one view, in the order asked for, of now or of the past.

use super::{Scene, names};
use crate::{At, Entry, Order, Read, Store, Unavailable};
use whereabouts_core::limits::TRANSACTION_OPERATIONS;

pub(super) async fn a_missing_key_is_no_entry<S: Store>(scene: &Scene<'_, S>) {
    assert_eq!(scene.get("missing").await, None);
}

pub(super) async fn an_entry_has_value_revisions_and_lease<S: Store>(scene: &Scene<'_, S>) {
    let lease = scene.lease().await;
    let created = scene.put("a", "old").await;
    let modified = scene.writes([scene.write_leased("a", "new", lease)]).await;
    let expected = Entry {
        key: scene.key("a"),
        value: b"new".to_vec(),
        created,
        modified,
        lease,
    };
    assert_eq!(scene.get("a").await, Some(expected));
    scene.revoke(lease).await;
}

pub(super) async fn questions_are_answered_in_order<S: Store>(scene: &Scene<'_, S>) {
    let revision = scene
        .writes([scene.write("a", ""), scene.write("b", "")])
        .await;
    let reads = [
        Read::Key(scene.key("b")),
        scene.range("a", "z", Order::Key, 9),
        Read::Key(scene.key("missing")),
        Read::Key(scene.key("a")),
    ];
    let view = scene.read(&reads).await;
    let found: Vec<_> = view.answers.iter().map(|a| names(scene, a)).collect();
    assert_eq!(found, [vec!["b"], vec!["a", "b"], vec![], vec!["a"]]);
    assert_eq!(view.revision, revision);
    assert_ne!(view.cluster, 0);
}

pub(super) async fn a_range_has_its_first_key_and_not_its_last<S: Store>(scene: &Scene<'_, S>) {
    scene
        .writes(["a", "b", "bb", "c"].map(|name| scene.write(name, "")))
        .await;
    let view = scene.read(&[scene.range("b", "c", Order::Key, 9)]).await;
    assert_eq!(names(scene, &view.answers[0]), ["b", "bb"]);
}

pub(super) async fn a_range_in_the_wrong_order_is_empty<S: Store>(scene: &Scene<'_, S>) {
    scene.writes([scene.write("a", "")]).await;
    for (from, until) in [("b", "a"), ("a", "a")] {
        let view = scene.read(&[scene.range(from, until, Order::Key, 9)]).await;
        assert_eq!(view.answers, [vec![]], "{from} to {until}");
    }
}

pub(super) async fn a_limit_takes_the_first_in_the_order_asked_for<S: Store>(scene: &Scene<'_, S>) {
    for name in ["b", "c", "a", "d"] {
        scene.put(name, "").await;
    }
    scene.put("b", "written again, not created again").await;
    for (order, limit, expected) in [
        (Order::Key, 9, vec!["a", "b", "c", "d"]),
        (Order::Key, 2, vec!["a", "b"]),
        (Order::Created, 9, vec!["b", "c", "a", "d"]),
        (Order::Created, 1, vec!["b"]),
        (Order::Created, 3, vec!["b", "c", "a"]),
    ] {
        let view = scene.read(&[scene.range("a", "z", order, limit)]).await;
        assert_eq!(
            names(scene, &view.answers[0]),
            expected,
            "{order:?} {limit}"
        );
    }
}

pub(super) async fn a_read_at_a_revision_tells_the_past<S: Store>(scene: &Scene<'_, S>) {
    let first = scene.put("a", "1").await;
    let second = scene.put("b", "1").await;
    let third = scene.put("a", "2").await;
    let fourth = scene.delete("b").await;
    for (revision, expected) in [
        (first, vec![("a", "1")]),
        (second, vec![("a", "1"), ("b", "1")]),
        (third, vec![("a", "2"), ("b", "1")]),
        (fourth, vec![("a", "2")]),
    ] {
        let reads = [
            scene.range("a", "z", Order::Key, 9),
            Read::Key(scene.key("a")),
        ];
        let view = scene.store.read(&reads, At::Revision(revision)).await;
        let view = view.expect("the revision is not compacted");
        let found: Vec<_> = view.answers[0]
            .iter()
            .map(|entry| (&entry.key, entry.value.as_slice()))
            .collect();
        let keys: Vec<_> = expected.iter().map(|(name, _)| scene.key(name)).collect();
        let expected: Vec<_> = keys
            .iter()
            .zip(expected.iter().map(|(_, value)| value.as_bytes()))
            .collect();
        assert_eq!(found, expected, "at {revision}");
        assert_eq!(
            view.answers[1],
            view.answers[0][..1],
            "one view at {revision}"
        );
        assert_eq!(view.revision, fourth, "the revision is the store's");
    }
}

pub(super) async fn a_revision_in_the_future_is_refused<S: Store>(scene: &Scene<'_, S>) {
    let next = scene.put("a", "").await + 1;
    let reads = [Read::Key(scene.key("a"))];
    let refusal = scene.store.read(&reads, At::Revision(next)).await;
    assert!(
        matches!(refusal, Err(Unavailable::Refused(_))),
        "{refusal:?}"
    );
}

pub(super) async fn a_read_of_any_moment_is_answered<S: Store>(scene: &Scene<'_, S>) {
    scene.put("a", "").await;
    let reads = [
        Read::Key(scene.key("missing")),
        scene.range("a", "z", Order::Key, 9),
    ];
    let view = scene.store.read(&reads, At::Whenever).await;
    let view = view.expect("the read succeeds");
    assert_eq!(view.answers.len(), 2);
    assert_eq!(view.answers[0], []);
}

pub(super) async fn a_read_takes_no_revision<S: Store>(scene: &Scene<'_, S>) {
    let revision = scene.put("a", "").await;
    for _ in 0..2 {
        assert_eq!(scene.revision().await, revision);
    }
}

pub(super) async fn more_questions_than_allowed_are_refused<S: Store>(scene: &Scene<'_, S>) {
    let most = vec![Read::Key(scene.key("a")); TRANSACTION_OPERATIONS];
    assert_eq!(
        scene.read(&most).await.answers.len(),
        TRANSACTION_OPERATIONS
    );
    let more = vec![Read::Key(scene.key("a")); TRANSACTION_OPERATIONS + 1];
    let refusal = scene.store.read(&more, At::Now).await;
    assert_eq!(refusal, Err(Unavailable::TooManyOperations));
}
