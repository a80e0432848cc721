//! Watches: every later change of the keys, in order, and no other.

use futures::FutureExt;

use super::Scene;
use crate::{Event, Store, Watch, Write};

async fn watch<S: Store>(scene: &Scene<'_, S>, names: &[&str]) -> S::Watch {
    let keys: Vec<_> = names.iter().map(|name| scene.key(name)).collect();
    let watch = scene.store.watch(&keys).await;
    watch.expect("the watch is created")
}

/// The next `count` events, and no more.
async fn events<W: Watch>(watch: &mut W, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        let next = watch.next().await.expect("the watch goes on");
        assert!(!next.is_empty(), "a watch tells something");
        events.extend(next);
    }
    assert_eq!(events.len(), count, "{events:?}");
    events
}

pub(super) async fn a_watch_tells_what_happens_from_now_on<S: Store>(scene: &Scene<'_, S>) {
    scene.put("a", "before").await;
    let mut watch = watch(scene, &["a"]).await;
    scene.put("a", "after").await;
    let put = scene.get("a").await.expect("it was put");
    scene.writes([Write::Touch(scene.key("a"))]).await;
    let touched = scene.get("a").await.expect("it was touched");
    let revision = scene.delete("a").await;
    let deleted = Event::Deleted {
        key: scene.key("a"),
        revision,
    };
    let expected = [Event::Put(put), Event::Put(touched), deleted];
    assert_eq!(events(&mut watch, 3).await, expected);
}

pub(super) async fn a_watch_tells_of_several_keys_in_order<S: Store>(scene: &Scene<'_, S>) {
    let mut watch = watch(scene, &["a", "b"]).await;
    let first = scene.put("b", "").await;
    let second = scene.put("a", "").await;
    let third = scene
        .writes([scene.write("a", ""), Write::Delete(scene.key("b"))])
        .await;
    let events = events(&mut watch, 4).await;
    for (name, expected) in [("a", [second, third]), ("b", [first, third])] {
        let key = scene.key(name);
        let of_key = events.iter().filter(|event| event.key() == key);
        let revisions: Vec<_> = of_key.map(Event::revision).collect();
        assert_eq!(revisions, expected, "of {name}");
    }
}

pub(super) async fn a_watch_tells_nothing_of_other_keys<S: Store>(scene: &Scene<'_, S>) {
    let mut watch = watch(scene, &["b"]).await;
    for name in ["a", "ba", "c", "b"] {
        scene.put(name, "").await;
    }
    let events = events(&mut watch, 1).await;
    assert_eq!(events[0].key(), scene.key("b"));
}

pub(super) async fn a_watch_tells_of_the_end_of_a_lease<S: Store>(scene: &Scene<'_, S>) {
    let lease = scene.lease().await;
    let put = scene.writes([scene.write_leased("a", "", lease)]).await;
    let mut watch = watch(scene, &["a"]).await;
    scene.revoke(lease).await;
    let deleted = Event::Deleted {
        key: scene.key("a"),
        revision: put + 1,
    };
    assert_eq!(events(&mut watch, 1).await, [deleted]);
}

pub(super) async fn a_watch_that_was_not_awaited_loses_nothing<S: Store>(scene: &Scene<'_, S>) {
    let mut watch = watch(scene, &["a"]).await;
    assert!(watch.next().now_or_never().is_none(), "nothing happened");
    let first = scene.put("a", "").await;
    let second = scene.put("a", "").await;
    let revisions: Vec<_> = events(&mut watch, 2)
        .await
        .iter()
        .map(Event::revision)
        .collect();
    assert_eq!(revisions, [first, second]);
}
