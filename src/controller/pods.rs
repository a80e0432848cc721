//! A cache of the UIDs of all pods. It spares questions, and is never evidence.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::stream::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};

use crate::api::ApiServer;

/// The UIDs of pods, as they were a while ago.
#[derive(Clone, Default)]
pub struct PodCache(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    uids: BTreeSet<String>,
    /// What a new list has brought so far.
    listed: BTreeSet<String>,
    is_complete: bool,
}

impl PodCache {
    /// The pods of a list.
    pub(crate) fn of(uids: impl IntoIterator<Item = String>) -> Self {
        let known = Known {
            uids: uids.into_iter().collect(),
            listed: BTreeSet::new(),
            is_complete: true,
        };
        Self(Arc::new(Mutex::new(known)))
    }

    /// Whether a list has been read to its end.
    pub fn is_complete(&self) -> bool {
        self.known().is_complete
    }

    /// Whether a pod with `uid` was there.
    pub fn has(&self, uid: &str) -> bool {
        self.known().uids.contains(uid)
    }

    /// How many pods were there.
    pub fn count(&self) -> usize {
        self.known().uids.len()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no thread panics with it")
    }

    fn take<P: ResourceExt>(&self, event: Event<P>) {
        let mut known = self.known();
        match event {
            Event::Init => known.listed.clear(),
            Event::InitApply(pod) => known.listed.extend(pod.uid()),
            Event::InitDone => {
                known.uids = std::mem::take(&mut known.listed);
                known.is_complete = true;
            }
            Event::Apply(pod) => known.uids.extend(pod.uid()),
            Event::Delete(pod) => {
                pod.uid().map(|uid| known.uids.remove(&uid));
            }
        }
    }
}

/// Follows all pods for ever, and tells `report` of errors. An expired watch (410) lists anew.
pub async fn follow(api: &ApiServer, cache: &PodCache, report: impl Fn(&str)) {
    let pods: Api<PartialObjectMeta<Pod>> = Api::all(api.client.clone());
    let events = watcher(pods, watcher::Config::default()).default_backoff();
    take_all(events, cache, report).await;
}

async fn take_all<P: ResourceExt>(
    events: impl Stream<Item = watcher::Result<Event<P>>>,
    cache: &PodCache,
    report: impl Fn(&str),
) {
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => cache.take(event),
            Err(error) => report(&format!("the watch of pods: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures::stream;

    use super::*;

    fn pod(uid: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.uid = Some(uid.to_owned());
        pod
    }

    #[test]
    fn a_list_replaces_what_is_known_only_at_its_end_and_an_error_changes_nothing() {
        let cache = PodCache::default();
        let errors = RefCell::new(0);
        let take = |events: Vec<watcher::Result<Event<Pod>>>| {
            let taken = take_all(stream::iter(events), &cache, |_| *errors.borrow_mut() += 1);
            futures::executor::block_on(taken);
            let known = ["a", "b", "c"].into_iter().filter(|uid| cache.has(uid));
            known.collect::<String>()
        };
        assert_eq!(
            take(vec![Ok(Event::Init), Ok(Event::InitApply(pod("a")))]),
            ""
        );
        assert!(!cache.is_complete());
        assert_eq!(
            take(vec![Ok(Event::InitApply(pod("b"))), Ok(Event::InitDone)]),
            "ab"
        );
        assert!(cache.is_complete());
        assert_eq!(
            take(vec![
                Ok(Event::Delete(pod("a"))),
                Ok(Event::Apply(pod("c")))
            ]),
            "bc"
        );
        // The watch is too old, and starts again with a list that ends in the middle.
        let gone = watcher::Error::NoResourceVersion;
        assert_eq!(
            take(vec![
                Err(gone),
                Ok(Event::Init),
                Ok(Event::InitApply(pod("c")))
            ]),
            "bc"
        );
        assert_eq!(
            take(vec![
                Ok(Event::Init),
                Ok(Event::InitApply(pod("b"))),
                Ok(Event::InitDone)
            ]),
            "b"
        );
        assert_eq!((cache.count(), *errors.borrow()), (1, 1));
    }
}
