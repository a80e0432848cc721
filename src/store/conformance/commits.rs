//! Commits: all writes or none, in one revision, with reads at the same instant.

use super::{Scene, names, writing};
use crate::{Compare, Entry, Order, Read, Store, Txn, Unavailable, Write};
use whereabouts_core::limits::TRANSACTION_OPERATIONS;

pub(super) async fn a_transaction_is_one_revision<S: Store>(scene: &Scene<'_, S>) {
    let before = scene.put("c", "").await;
    let revision = scene
        .writes([
            scene.write("a", ""),
            Write::Delete(scene.key("c")),
            scene.write("b", ""),
        ])
        .await;
    assert_eq!(revision, before + 1);
    for name in ["a", "b"] {
        let entry = scene.get(name).await.expect("it was written");
        assert_eq!((entry.created, entry.modified), (revision, revision));
    }
    assert_eq!(scene.get("c").await, None);
}

pub(super) async fn a_commit_that_changes_nothing_takes_no_revision<S: Store>(
    scene: &Scene<'_, S>,
) {
    let before = scene.put("a", "").await;
    let none = Txn::default();
    let nothing_to_delete = writing([Write::Delete(scene.key("missing"))]);
    let nothing_to_ensure = writing([ensure(scene, "a", "b")]);
    for txn in [none, nothing_to_delete, nothing_to_ensure] {
        assert_eq!(scene.done(txn).await.revision, before);
    }
    assert_eq!(scene.put("a", "").await, before + 1, "the same value again");
}

pub(super) async fn a_put_keeps_the_creation_and_a_deletion_ends_it<S: Store>(
    scene: &Scene<'_, S>,
) {
    let created = scene.put("a", "").await;
    scene.put("a", "").await;
    assert_eq!(scene.get("a").await.map(|e| e.created), Some(created));
    scene.delete("a").await;
    let anew = scene.put("a", "").await;
    assert_eq!(scene.get("a").await.map(|e| e.created), Some(anew));
}

pub(super) async fn reads_of_a_commit_see_its_writes<S: Store>(scene: &Scene<'_, S>) {
    scene.put("a", "").await;
    let txn = Txn {
        writes: vec![Write::Delete(scene.key("a")), scene.write("b", "")],
        then: vec![
            scene.range("a", "z", Order::Key, 9),
            Read::Key(scene.key("b")),
        ],
        otherwise: vec![Read::Key(scene.key("a"))],
        ..Txn::default()
    };
    let view = scene.done(txn).await;
    assert_eq!(view.answers.len(), 2);
    assert_eq!(names(scene, &view.answers[0]), ["b"]);
    assert_eq!(view.answers[1][0].modified, view.revision);
}

pub(super) async fn reads_of_a_refused_commit_are_fresh<S: Store>(scene: &Scene<'_, S>) {
    let revision = scene.put("a", "now").await;
    let txn = Txn {
        compares: vec![Compare::Absent(scene.key("a"))],
        otherwise: vec![
            Read::Key(scene.key("a")),
            scene.range("b", "z", Order::Created, 1),
        ],
        ..writing([scene.write("b", "")])
    };
    let view = scene.conflict(txn).await;
    assert_eq!(view.revision, revision);
    assert_eq!(view.answers.len(), 2);
    assert_eq!(view.answers[0][0].value, b"now");
    assert_eq!(view.answers[1], []);
}

pub(super) async fn a_refused_commit_writes_something_else<S: Store>(scene: &Scene<'_, S>) {
    scene.put("a", "").await;
    let before = scene.revision().await;
    let txn = Txn {
        compares: vec![Compare::Absent(scene.key("a"))],
        otherwise: vec![Read::Key(scene.key("c")), Read::Key(scene.key("d"))],
        instead: vec![ensure(scene, "c", "z"), ensure(scene, "d", "a")],
        ..writing([scene.write("b", "")])
    };
    let view = scene.conflict(txn.clone()).await;
    assert_eq!(view.revision, before + 1);
    assert_eq!(view.answers, [[], []], "they were read before");
    let entry = scene.get("c").await.expect("it was ensured");
    assert_eq!((entry.created, entry.lease), (before + 1, 0));
    assert!(!scene.exists("b").await && !scene.exists("d").await);
    let view = scene.conflict(txn).await;
    assert_eq!(view.revision, before + 1, "nothing was to be written");
    assert_eq!(view.answers[0], [entry]);
}

pub(super) async fn a_commit_that_is_not_refused_writes_nothing_else<S: Store>(
    scene: &Scene<'_, S>,
) {
    let txn = Txn {
        instead: vec![scene.write("a", "instead"), Write::Touch(scene.key("c"))],
        ..writing([scene.write("a", ""), scene.write("b", "")])
    };
    scene.done(txn).await;
    assert_eq!(scene.get("a").await.map(|e| e.value), Some(vec![]));
}

pub(super) async fn a_key_is_deleted_unless_there_is_something_newer<S: Store>(
    scene: &Scene<'_, S>,
) {
    let delete = |revision| Write::DeleteUnlessNewer {
        key: scene.key("a"),
        from: scene.key("b"),
        until: scene.key("d"),
        revision,
    };
    scene.put("a", "").await;
    let old = scene.put("b", "").await;
    let new = scene.put("c", "").await;
    scene.put("d", "beyond").await;
    scene.writes([delete(old)]).await;
    assert!(scene.exists("a").await, "c is newer");
    let again = scene.put("b", "written again").await;
    scene.writes([delete(new)]).await;
    assert!(scene.exists("a").await, "b was written again");
    let of_its_own = scene.write("bb", "");
    scene.writes([of_its_own, delete(again)]).await;
    assert!(!scene.exists("a").await, "nothing else was newer before");
    scene.put("a", "").await;
    let all = [
        Write::Delete(scene.key("bb")),
        Write::Delete(scene.key("b")),
    ];
    scene.writes(all).await;
    scene.delete("c").await;
    scene.writes([delete(1)]).await;
    assert!(!scene.exists("a").await, "nothing is there at all");
}

pub(super) async fn a_touch_changes_the_modification_alone<S: Store>(scene: &Scene<'_, S>) {
    scene.put("a", "kept").await;
    let before = scene.get("a").await.expect("it was written");
    let modified = scene.writes([Write::Touch(scene.key("a"))]).await;
    assert_eq!(modified, before.modified + 1);
    assert_eq!(scene.get("a").await, Some(Entry { modified, ..before }));
}

pub(super) async fn a_rewrite_changes_the_value_alone<S: Store>(scene: &Scene<'_, S>) {
    scene.put("a", "old").await;
    let before = scene.get("a").await.expect("it was written");
    let modified = scene.writes([rewrite(scene, "a")]).await;
    let expected = Entry {
        modified,
        value: b"rewritten".to_vec(),
        ..before
    };
    assert_eq!(scene.get("a").await, Some(expected));
}

pub(super) async fn a_missing_key_to_touch_or_rewrite_refuses_the_commit<S: Store>(
    scene: &Scene<'_, S>,
) {
    for bad in [
        Write::Touch(scene.key("missing")),
        rewrite(scene, "missing"),
    ] {
        let txn = writing([scene.write("a", ""), bad]);
        assert_eq!(scene.refused(txn).await, Unavailable::KeyNotFound);
        assert!(!scene.exists("a").await && !scene.exists("missing").await);
    }
}

pub(super) async fn writes_behind_a_failed_compare_are_not_judged<S: Store>(scene: &Scene<'_, S>) {
    scene.put("a", "").await;
    let txn = Txn {
        compares: vec![Compare::Absent(scene.key("a"))],
        ..writing([Write::Touch(scene.key("missing"))])
    };
    scene.conflict(txn).await;
}

pub(super) async fn ensure_puts_a_key_when_there_is_neither<S: Store>(scene: &Scene<'_, S>) {
    for (state, existing, expected) in [
        ("neither", &[][..], Some("ensured")),
        ("key", &["key"], Some("")),
        ("other", &["other"], None),
        ("both", &["key", "other"], Some("")),
    ] {
        let [key, other] = ["key", "other"].map(|name| format!("{state}/{name}"));
        for name in existing {
            scene.put(&format!("{state}/{name}"), "").await;
        }
        scene.writes([ensure(scene, &key, &other)]).await;
        let value = scene.get(&key).await.map(|entry| entry.value);
        assert_eq!(
            value.as_deref(),
            expected.map(str::as_bytes),
            "{state} exists"
        );
        assert_eq!(scene.exists(&other).await, existing.contains(&"other"));
    }
}

pub(super) async fn ensure_has_any_number_of_other_keys<S: Store>(scene: &Scene<'_, S>) {
    let with = |unless: &[&str]| Write::Ensure {
        key: scene.key("a"),
        unless: unless.iter().map(|name| scene.key(name)).collect(),
        value: vec![],
    };
    scene.put("c", "").await;
    scene.writes([with(&["b", "c"])]).await;
    assert!(!scene.exists("a").await, "c exists");
    scene.writes([with(&[])]).await;
    assert!(scene.exists("a").await, "nothing is as good");
}

pub(super) async fn ensure_sees_nothing_of_its_own_transaction<S: Store>(scene: &Scene<'_, S>) {
    let put_other = scene.write("other", "");
    scene.writes([put_other, ensure(scene, "a", "other")]).await;
    assert!(scene.exists("a").await, "the other was not there before");
    scene.delete("a").await;
    let delete_other = Write::Delete(scene.key("other"));
    scene
        .writes([delete_other, ensure(scene, "a", "other")])
        .await;
    assert!(!scene.exists("a").await, "the other was there before");
}

pub(super) async fn a_key_set_twice_refuses_the_commit<S: Store>(scene: &Scene<'_, S>) {
    scene.put("a", "old").await;
    let put = || scene.write("a", "new");
    for second in [
        put(),
        Write::Touch(scene.key("a")),
        rewrite(scene, "a"),
        Write::Delete(scene.key("a")),
        ensure(scene, "a", "b"),
        Write::DeleteUnlessNewer {
            key: scene.key("a"),
            from: scene.key("b"),
            until: scene.key("c"),
            revision: 1,
        },
    ] {
        for writes in [[put(), second.clone()], [second.clone(), put()]] {
            let instead = Txn {
                instead: writes.to_vec(),
                ..Txn::default()
            };
            let why = scene.refused(instead).await;
            assert!(matches!(why, Unavailable::Refused(_)), "{second:?}: {why}");
            let why = scene.refused(writing(writes)).await;
            assert!(matches!(why, Unavailable::Refused(_)), "{second:?}: {why}");
        }
    }
    assert_eq!(scene.get("a").await.map(|e| e.value), Some(b"old".to_vec()));
}

pub(super) async fn a_key_deleted_twice_is_deleted<S: Store>(scene: &Scene<'_, S>) {
    let before = scene.put("a", "").await;
    let delete = Write::Delete(scene.key("a"));
    assert_eq!(scene.writes([delete.clone(), delete]).await, before + 1);
    assert!(!scene.exists("a").await);
}

pub(super) async fn more_operations_than_allowed_refuse_the_commit<S: Store>(scene: &Scene<'_, S>) {
    let key = scene.key("a");
    let compares = |count| vec![Compare::Absent(key.clone()); count];
    let reads = |count| vec![Read::Key(key.clone()); count];
    let deletes = |count| vec![Write::Delete(key.clone()); count];
    let with_ensure = |count| {
        let mut writes = deletes(count);
        writes.push(ensure(scene, "b", "c"));
        writes
    };
    // For each list, a transaction in which it has `count` members; Ensure counts as itself and
    // two compares.
    let transactions = |count: usize| {
        [
            Txn {
                compares: compares(count),
                ..Txn::default()
            },
            writing(deletes(count)),
            Txn {
                then: reads(count - 1),
                ..writing(deletes(1))
            },
            Txn {
                otherwise: reads(count),
                ..Txn::default()
            },
            Txn {
                otherwise: reads(count - 1),
                instead: deletes(1),
                ..Txn::default()
            },
            Txn {
                otherwise: reads(count - 3),
                instead: with_ensure(0),
                ..Txn::default()
            },
            writing(with_ensure(count - 3)),
            Txn {
                compares: compares(count - 2),
                ..writing(with_ensure(0))
            },
        ]
    };
    for txn in transactions(TRANSACTION_OPERATIONS) {
        scene.done(txn).await;
    }
    for txn in transactions(TRANSACTION_OPERATIONS + 1) {
        assert_eq!(scene.refused(txn).await, Unavailable::TooManyOperations);
    }
}

fn rewrite<S: Store>(scene: &Scene<'_, S>, name: &str) -> Write {
    Write::Rewrite {
        key: scene.key(name),
        value: b"rewritten".to_vec(),
    }
}

fn ensure<S: Store>(scene: &Scene<'_, S>, name: &str, unless: &str) -> Write {
    Write::Ensure {
        key: scene.key(name),
        unless: vec![scene.key(unless)],
        value: b"ensured".to_vec(),
    }
}
