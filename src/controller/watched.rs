//! A cache of the objects of one kind. It is for warnings, and never evidence.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::stream::{Stream, StreamExt};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::api::ApiServer;

/// The kept parts of objects, by namespace and name, as they were a while ago.
pub struct Watched<T>(Arc<Mutex<Known<T>>>);

struct Known<T> {
    kept: BTreeMap<String, T>,
    /// The objects of a new list so far.
    listed: BTreeMap<String, T>,
    is_complete: bool,
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        let known = Known {
            kept: BTreeMap::new(),
            listed: BTreeMap::new(),
            is_complete: false,
        };
        Self(Arc::new(Mutex::new(known)))
    }
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A kind of objects.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// NetworkAttachmentDefinitions of the Network Plumbing Working Group.
    Networks,
    /// ServiceCIDRs. Kubernetes serves them as v1 since 1.33.
    ServiceRanges,
    /// Nodes.
    Nodes,
}

impl Kind {
    fn resource(self) -> ApiResource {
        let (group, kind, plural) = match self {
            Self::Networks => (
                "k8s.cni.cncf.io",
                "NetworkAttachmentDefinition",
                "network-attachment-definitions",
            ),
            Self::ServiceRanges => ("networking.k8s.io", "ServiceCIDR", "servicecidrs"),
            Self::Nodes => ("", "Node", "nodes"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
    }
}

impl<T: Clone> Watched<T> {
    /// Whether a list has been read to its end.
    pub fn is_complete(&self) -> bool {
        self.known().is_complete
    }

    /// All that is kept.
    pub fn all(&self) -> Vec<(String, T)> {
        let known = self.known();
        let kept = known.kept.iter();
        kept.map(|(key, kept)| (key.clone(), kept.clone()))
            .collect()
    }

    /// The kept part of the object `key`: its namespace and its name.
    pub fn get(&self, key: &str) -> Option<T> {
        self.known().kept.get(key).cloned()
    }

    /// Keeps `kept` as if a list had ended with it.
    pub fn fill(&self, kept: impl IntoIterator<Item = (String, T)>) {
        let mut known = self.known();
        known.kept = kept.into_iter().collect();
        known.is_complete = true;
    }

    fn known(&self) -> MutexGuard<'_, Known<T>> {
        self.0.lock().expect("no thread panics with it")
    }

    fn take(&self, event: Event<DynamicObject>, keep: &impl Fn(Value) -> Option<T>) {
        let (key, kept) = match event {
            Event::Init => return self.known().listed.clear(),
            Event::InitDone => {
                let known = &mut *self.known();
                known.kept = std::mem::take(&mut known.listed);
                known.is_complete = true;
                return;
            }
            Event::InitApply(object) => {
                let (key, kept) = (key(&object), value(object).and_then(keep));
                self.known().listed.extend(kept.map(|kept| (key, kept)));
                return;
            }
            Event::Apply(object) => (key(&object), value(object).and_then(keep)),
            Event::Delete(object) => (key(&object), None),
        };
        let mut known = self.known();
        match kept {
            Some(kept) => known.kept.insert(key, kept),
            None => known.kept.remove(&key),
        };
    }
}

fn key(object: &DynamicObject) -> String {
    let namespace = object.namespace();
    let name = object.name_any();
    namespace.map_or(name.clone(), |namespace| format!("{namespace}/{name}"))
}

/// The object as it was sent, without the parts that only the API server needs.
fn value(mut object: DynamicObject) -> Option<Value> {
    object.metadata.managed_fields = None;
    serde_json::to_value(object).ok()
}

/// Follows all objects of `kind` for ever; `keep` tells what is kept of one. An expired watch (410) lists anew. `report` is
/// told of an error once, until another one comes. An API server without the kind is no error: its objects stay unknown.
pub async fn follow_all<T: Clone>(
    api: &ApiServer,
    kind: Kind,
    watched: &Watched<T>,
    keep: impl Fn(Value) -> Option<T>,
    report: impl Fn(&str),
) {
    let resource = kind.resource();
    let objects: Api<DynamicObject> = Api::all_with(api.client.clone(), &resource);
    let events = watcher(objects, watcher::Config::default()).default_backoff();
    let report = |error: &str| report(&format!("the watch of {}: {error}", resource.plural));
    take_all(events, watched, keep, report).await;
}

async fn take_all<T: Clone>(
    events: impl Stream<Item = watcher::Result<Event<DynamicObject>>>,
    watched: &Watched<T>,
    keep: impl Fn(Value) -> Option<T>,
    report: impl Fn(&str),
) {
    let mut events = pin!(events);
    let mut last = String::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => watched.take(event, &keep),
            Err(error) if is_without_kind(&error) => {}
            Err(error) => {
                let error = error.to_string();
                if error != last {
                    report(&error);
                    last = error;
                }
            }
        }
    }
}

/// Whether the API server does not know the kind: without Multus there are no networks.
fn is_without_kind(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures::stream;
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    fn object(name: &str, kept: Option<u64>) -> DynamicObject {
        let value = json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"kept": kept}});
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn a_list_replaces_all_at_its_end_and_what_is_not_kept_any_more_goes() {
        let watched = Watched::default();
        let told = RefCell::new(Vec::new());
        let take = |events: Vec<watcher::Result<Event<DynamicObject>>>| {
            let keep = |object: Value| object["spec"]["kept"].as_u64();
            let report = |error: &str| told.borrow_mut().push(error.to_owned());
            let taken = take_all(stream::iter(events), &watched, keep, report);
            futures::executor::block_on(taken);
            let kept = watched.all().into_iter();
            kept.map(|(key, kept)| format!("{key}={kept}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let gone = || Err(watcher::Error::NoResourceVersion);
        let listed = |name, kept| Ok(Event::InitApply(object(name, kept)));
        let applied = |name, kept| Ok(Event::Apply(object(name, kept)));
        assert_eq!(take(vec![Ok(Event::Init), listed("a", Some(1))]), "");
        assert!(!watched.is_complete());
        let rest = vec![listed("b", None), listed("c", Some(3)), Ok(Event::InitDone)];
        assert_eq!(take(rest), "n/a=1 n/c=3");
        assert!(watched.is_complete());
        assert_eq!(watched.get("n/a"), Some(1));
        let changed = vec![
            applied("a", Some(2)),
            applied("b", Some(5)),
            applied("c", None),
        ];
        assert_eq!(take(changed), "n/a=2 n/b=5");
        let deleted = Event::Delete(object("b", Some(5)));
        assert_eq!(take(vec![Ok(deleted)]), "n/a=2");
        // The watch is too old, and its new list ends in the middle.
        let expired = vec![gone(), gone(), Ok(Event::Init), listed("d", Some(4))];
        assert_eq!(take(expired), "n/a=2");
        let whole = vec![Ok(Event::Init), listed("d", Some(4)), Ok(Event::InitDone)];
        assert_eq!(take(whole), "n/d=4");
        assert_eq!(told.borrow().len(), 1, "{told:?}");
        // The kind is gone, and a right is. Neither is evidence that an object is.
        let refused = |code: u16| {
            let status = Status::failure("refused", "refused").with_code(code);
            let error = kube::Error::Api(Box::new(status));
            Err(watcher::Error::InitialListFailed(error))
        };
        assert_eq!(take(vec![Ok(Event::Init), refused(404)]), "n/d=4");
        assert_eq!(told.borrow().len(), 1, "{told:?}");
        assert_eq!(take(vec![Ok(Event::Init), refused(403)]), "n/d=4");
        assert_eq!(told.borrow().len(), 2, "{told:?}");
    }
}
