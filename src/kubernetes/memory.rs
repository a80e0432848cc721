//! The API server in memory, as far as the protocol relies on it.
//!
//! A write changes one object. A write of the same content changes nothing, not even the version. A list is read at one
//! revision, in pages. Creation times have whole seconds.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::api::{ApiServer, ListAt, ListQuery, Page, ReadError, Requirement, Write, WriteError};
use crate::object::{Kind, Metadata, Object};
use crate::protocol::{Answer, Request};

/// The way in which versions are numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Versions {
    /// All writes have one order, as in a server.
    #[default]
    OfAll,
    /// The writes of one object have an order. Two orders of writes that lead to equal objects then are one state.
    OfEach,
}

type Objects = BTreeMap<(Kind, String), Object>;

/// The state of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Model {
    versions: Versions,
    objects: Objects,
    /// The number of writes.
    revision: u64,
    /// Objects of each name that were created.
    created: BTreeMap<(Kind, String), u64>,
    /// Seconds since the Unix epoch.
    now: u64,
    /// The objects at the revisions of lists that go on.
    kept: BTreeMap<u64, Objects>,
    /// The revision of the cache, if it has stopped there.
    cached: Option<u64>,
}

impl Model {
    /// An empty server.
    pub fn new(versions: Versions) -> Self {
        Self {
            versions,
            ..Self::default()
        }
    }

    /// Sets the clock of the server, in seconds since the Unix epoch.
    pub fn set_now(&mut self, seconds: u64) {
        self.now = seconds;
    }

    /// Forgets the revisions of lists that go on.
    pub fn compact(&mut self) {
        let cached = self.cached;
        self.kept.retain(|revision, _| Some(*revision) == cached);
    }

    /// Stops the cache at the present revision.
    pub fn stop_cache(&mut self) {
        self.cached = Some(self.revision);
        self.kept.insert(self.revision, self.objects.clone());
    }

    /// Lets the cache catch up with the present.
    pub fn catch_up(&mut self) {
        self.cached = None;
    }

    /// All objects, in the order of kinds and names.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// The object of a name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Object> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// Follows another server: the object of this name is now as it is there, with its UID and version, or is gone.
    pub fn follow(&mut self, kind: Kind, name: &str, object: Option<Object>) {
        let key = (kind, name.to_owned());
        match object {
            Some(object) => self.objects.insert(key, object),
            None => self.objects.remove(&key),
        };
    }

    /// Carries out a request, and answers it.
    pub fn serve(&mut self, request: &Request) -> Answer {
        match request {
            Request::Get(kind, name) => Answer::Got(self.get(*kind, name).cloned()),
            Request::List(query) => match self.list(query) {
                Ok(page) => Answer::Listed(page),
                Err(Expired) => Answer::Expired,
            },
            Request::ListMetadata(query) => match self.list(query) {
                Ok(page) => Answer::Names(Page {
                    items: page
                        .items
                        .iter()
                        .map(|one| one.metadata().clone())
                        .collect(),
                    resource_version: page.resource_version,
                    continued: page.continued,
                }),
                Err(Expired) => Answer::Expired,
            },
            Request::Write(write) => self.write(write),
        }
    }

    fn list(&mut self, query: &ListQuery) -> Result<Page<Object>, Expired> {
        let parsed = |revision: &str| revision.parse().map_err(|_| Expired);
        let (revision, after) = match (&query.continued, &query.at) {
            (None, ListAt::Present) => (self.revision, None),
            (None, ListAt::Cached) => (self.cached.unwrap_or(self.revision), None),
            (None, ListAt::AtLeast(revision)) => {
                let least: u64 = parsed(revision)?;
                let cached = self.cached.filter(|cached| *cached >= least);
                (cached.unwrap_or(self.revision), None)
            }
            (None, ListAt::Exactly(revision)) => (parsed(revision)?, None),
            (Some(token), _) => {
                let (revision, after) = token.split_once('/').ok_or(Expired)?;
                (parsed(revision)?, Some(after))
            }
        };
        let objects = match after {
            None if revision == self.revision => &self.objects,
            None | Some(_) => self.kept.get(&revision).ok_or(Expired)?,
        };
        let is_listed = |object: &&Object| {
            let metadata = object.metadata();
            object.kind() == query.kind
                && after.is_none_or(|after| metadata.name.as_str() > after)
                && query.selector.iter().all(|one| holds(one, metadata))
        };
        let mut listed = objects.values().filter(is_listed);
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let items: Vec<Object> = listed.by_ref().take(limit).cloned().collect();
        let has_more = listed.next().is_some();
        let last = items.last().filter(|_| has_more);
        let continued = last.map(|last| format!("{revision}/{}", last.metadata().name));
        if continued.is_some() && !self.kept.contains_key(&revision) {
            self.kept.insert(revision, self.objects.clone());
        }
        Ok(Page {
            items,
            resource_version: revision.to_string(),
            continued,
        })
    }

    fn write(&mut self, write: &Write) -> Answer {
        match write {
            Write::Create(object) => {
                let key = key(object);
                if self.objects.contains_key(&key) {
                    return Answer::Exists;
                }
                let mut object = object.clone();
                let number = self.created.entry(key.clone()).or_default();
                *number += 1;
                let uid = format!("{}#{number}", key.1);
                let creation_timestamp = Some(timestamp(self.now));
                let metadata = object.metadata_mut();
                (metadata.uid, metadata.creation_timestamp) = (uid, creation_timestamp);
                self.store(key, object, None)
            }
            Write::Replace(object) => {
                let key = key(object);
                let Some(stored) = self.objects.get(&key) else {
                    return Answer::Gone;
                };
                let (wanted, before) = (object.metadata(), stored.metadata());
                if wanted.uid != before.uid || wanted.resource_version != before.resource_version {
                    return Answer::Changed;
                }
                let mut object = object.clone();
                let created = before.creation_timestamp.clone();
                object.metadata_mut().creation_timestamp = created;
                if object == *stored {
                    return Answer::Done(Some(object));
                }
                let version = before.resource_version.clone();
                self.store(key, object, Some(version))
            }
            Write::Clear { block, bits } => {
                let key = (Kind::Block, block.clone());
                let Some(Object::Block(stored)) = self.objects.get(&key) else {
                    return Answer::Gone;
                };
                let mut block = stored.clone();
                for bit in bits {
                    let Some(place) = block.spec.taken.iter().position(|taken| taken == bit) else {
                        return Answer::Changed;
                    };
                    block.spec.taken.remove(place);
                }
                block.open();
                let version = block.metadata.resource_version.clone();
                self.store(key, Object::Block(block), Some(version))
            }
            Write::Delete {
                kind,
                name,
                uid,
                resource_version,
            } => {
                let key = (*kind, name.clone());
                let Some(stored) = self.objects.get(&key) else {
                    return Answer::Gone;
                };
                let before = stored.metadata();
                if before.uid != *uid || before.resource_version != *resource_version {
                    return Answer::Changed;
                }
                self.objects.remove(&key);
                self.count();
                Answer::Done(None)
            }
        }
    }

    fn store(&mut self, key: (Kind, String), mut object: Object, before: Option<String>) -> Answer {
        self.count();
        let of_each = before.and_then(|version| version.parse().ok()).unwrap_or(0);
        let version = match self.versions {
            Versions::OfAll => self.revision,
            Versions::OfEach => of_each + 1,
        };
        object.metadata_mut().resource_version = version.to_string();
        self.objects.insert(key, object.clone());
        Answer::Done(Some(object))
    }

    fn count(&mut self) {
        if self.versions == Versions::OfAll {
            self.revision += 1;
        }
    }
}

/// The revision of a list that goes on is not kept.
struct Expired;

fn key(object: &Object) -> (Kind, String) {
    (object.kind(), object.metadata().name.clone())
}

fn holds(requirement: &Requirement, metadata: &Metadata) -> bool {
    match requirement {
        Requirement::Exists(key) => metadata.labels.contains_key(key),
        Requirement::In(key, values) => {
            let value = metadata.labels.get(key);
            value.is_some_and(|value| values.contains(value))
        }
    }
}

fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hours, minutes) = (rest / 3_600, rest % 3_600 / 60);
    // The model runs for less than a month.
    format!(
        "1970-01-{:02}T{hours:02}:{minutes:02}:{:02}Z",
        days + 1,
        rest % 60
    )
}

/// A server that no request fails at.
#[derive(Debug, Default)]
pub struct MemoryServer(RefCell<Model>);

impl MemoryServer {
    /// The state.
    pub fn model(&self) -> &RefCell<Model> {
        &self.0
    }

    fn serve(&self, request: &Request) -> Answer {
        self.0.borrow_mut().serve(request)
    }
}

impl ApiServer for MemoryServer {
    async fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>, ReadError> {
        Ok(self.0.borrow().get(kind, name).cloned())
    }

    async fn list(&self, query: &ListQuery) -> Result<Page<Object>, ReadError> {
        match self.serve(&Request::List(query.clone())) {
            Answer::Listed(page) => Ok(page),
            _ => Err(ReadError::Expired),
        }
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Page<Metadata>, ReadError> {
        match self.serve(&Request::ListMetadata(query.clone())) {
            Answer::Names(page) => Ok(page),
            _ => Err(ReadError::Expired),
        }
    }

    async fn write(&self, write: &Write) -> Result<Option<Object>, WriteError> {
        match self.serve(&Request::Write(write.clone())) {
            Answer::Done(object) => Ok(object),
            Answer::Exists => Err(WriteError::Exists),
            Answer::Gone => Err(WriteError::Gone),
            _ => Err(WriteError::Changed),
        }
    }
}
