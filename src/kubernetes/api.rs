//! The API server as far as the protocol relies on it: reads, writes of one object, and their outcomes.

use std::time::Duration;

use whereabouts_core::failure::ApiServerFailure;

use crate::object::{Kind, Metadata, Object, TakenBit};

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requirement {
    /// The object has the label: `key`.
    Exists(String),
    /// The label has one of these values, of which there is at least one: `key in (a,b)`.
    In(String, Vec<String>),
}

impl Requirement {
    /// The label has this value.
    pub fn equals(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::In(key.into(), vec![value.into()])
    }
}

/// The moment whose objects a list shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListAt {
    /// The present: each write that was acknowledged before. The server perhaps waits a tenth of a second until its cache
    /// has caught up with all writes of all kinds.
    Present,
    /// This revision or a later one, as soon as the server's cache has it. Writes after it are perhaps missing.
    AtLeast(String),
    /// This revision. Both kinds have the same revisions.
    Exactly(String),
    /// The server's cache as it is, at once. The last writes are perhaps missing.
    Cached,
}

/// A list of the objects of one kind that satisfy all requirements, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListQuery {
    /// The kind.
    pub kind: Kind,
    /// The conditions. Without one, every object is listed.
    pub selector: Vec<Requirement>,
    /// The largest number of objects in one answer.
    pub limit: u32,
    /// The moment whose objects are listed. A further page has the moment of the first one.
    pub at: ListAt,
    /// The place where the last page ended. A further page is read at the same revision as the first one.
    pub continued: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Page<T> {
    /// The objects.
    pub items: Vec<T>,
    /// The revision of the list.
    pub resource_version: String,
    /// The place where the next page begins; `None` on the last page.
    pub continued: Option<String>,
}

/// A read without an answer. It is never evidence of absence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadError {
    /// The revision of the list is not kept any more (410 Gone). The list must begin anew.
    Expired,
    /// The server did not answer, or refused to.
    Failed(Refusal),
}

/// A request that was surely not carried out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refusal {
    /// The reason.
    pub failure: ApiServerFailure,
    /// The pause that the server asks for (`Retry-After`).
    pub retry_after: Option<Duration>,
}

/// A write of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Write {
    /// Creates the object, if none of its name exists (POST). Its metadata has a name and labels only.
    Create(Object),
    /// Replaces the object, if it has the `uid` and the `resourceVersion` of its metadata (PUT).
    Replace(Object),
    /// Clears bits of a block, if each of them still is of the same claim, and opens the block (PATCH that tests the UIDs).
    Clear {
        /// The name of the block.
        block: String,
        /// The bits, at least one.
        bits: Vec<TakenBit>,
    },
    /// Deletes the object, if it has this UID and this version (DELETE with both preconditions).
    Delete {
        /// The kind.
        kind: Kind,
        /// The name.
        name: String,
        /// The UID.
        uid: String,
        /// The version.
        resource_version: String,
    },
}

impl Write {
    /// The kind of the written object.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Create(object) | Self::Replace(object) => object.kind(),
            Self::Clear { .. } => Kind::Block,
            Self::Delete { kind, .. } => *kind,
        }
    }
}

/// A write that is not known to have been carried out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WriteError {
    /// Not carried out: an object of this name exists (409 `AlreadyExists`).
    Exists,
    /// Not carried out: the object has another UID or another version (409 `Conflict`), or a bit is not of that claim (422).
    Changed,
    /// Not carried out: no object of this name exists (404 `NotFound` that names the object).
    Gone,
    /// Perhaps carried out, now or later: the reply is lost, or tells nothing (500, 504).
    Unknown(String),
    /// Not carried out: access, admission, overload, an invalid object, or a connection that was never made.
    Refused(Refusal),
}

/// The API server.
///
/// Each call is one request, sent once. Reads see at least each write that was acknowledged before. So a request has no
/// `resourceVersion`, which would let a cache answer with the past. A list at another moment is the exception. A 404 that does not name
/// the object is [`ApiServerFailure::Refused`], not absence: the CRD is missing. An object that stays after a DELETE
/// because of a finalizer is refused, too.
#[allow(
    async_fn_in_trait,
    reason = "one thread: no future of a datastore crosses to another"
)]
pub trait ApiServer {
    /// The object of a name; `None` if there is none.
    async fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>, ReadError>;

    /// A page of objects.
    async fn list(&self, query: &ListQuery) -> Result<Page<Object>, ReadError>;

    /// A page of the metadata of objects (`PartialObjectMetadataList`).
    async fn list_metadata(&self, query: &ListQuery) -> Result<Page<Metadata>, ReadError>;

    /// Writes one object. The answer is the object as it is stored now; `None` after a deletion.
    async fn write(&self, write: &Write) -> Result<Option<Object>, WriteError>;
}
