//! The part of the page's API by which the tool reads the store through the page: the same questions as of a store, as JSON.
//!
//! Every answer has the version of this API. Kubernetes' proxy and kubectl replace the text of an HTTP error, so a failure of
//! the store is an answer, too.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use whereabouts_etcd::LeaseLife;
use whereabouts_store as store;
use whereabouts_store::{LeaseId, Revision, Unavailable};

/// The version. It changes when a tool of the other version would misread an answer.
pub(crate) const VERSION: u64 = 1;

/// The paths, below the root of the page.
pub(crate) const ABOUT: &str = "api/store";
pub(crate) const READ: &str = "api/store/read";
pub(crate) const LEASE: &str = "api/store/lease";

/// An answer.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answer<T> {
    api: u64,
    #[serde(flatten)]
    told: Told<T>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told<T> {
    Answer(T),
    Failure(Failure),
}

/// The part of an answer that all versions have.
#[derive(Deserialize)]
struct Versioned {
    api: u64,
}

/// The store of a page.
#[derive(Serialize, Deserialize)]
pub(crate) struct About {
    /// Below what its keys are.
    pub(crate) prefix: String,
}

/// Questions of one read, in the parameter of a URL.
#[derive(Deserialize)]
pub(crate) struct AskedRead {
    asked: String,
}

/// A question about a lease.
#[derive(Deserialize)]
pub(crate) struct AskedLease {
    /// The lease.
    pub(crate) id: LeaseId,
}

#[derive(Serialize, Deserialize)]
struct Questions {
    at: At,
    reads: Vec<Read>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum At {
    Now,
    Revision(Revision),
    Whenever,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Read {
    Key(Bytes),
    Range {
        from: Bytes,
        until: Bytes,
        by_creation: bool,
        limit: u32,
    },
}

/// The answer to a read.
#[derive(Serialize, Deserialize)]
pub(crate) struct View {
    revision: Revision,
    cluster: u64,
    answers: Vec<Vec<Entry>>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    key: Bytes,
    value: Bytes,
    created: Revision,
    modified: Revision,
    lease: LeaseId,
}

/// The rest of a lease's life.
#[derive(Serialize, Deserialize)]
pub(crate) struct Life {
    granted_s: u64,
    left_s: u64,
}

/// A failure of the store, as far as its readers tell failures apart.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "reason")]
enum Failure {
    Later(String),
    NotNow(String),
    TooLarge,
    Compacted,
    Denied(String),
    Refused(String),
}

/// Bytes, as text that neither JSON nor a URL escapes.
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text);
        bytes.map(Self).map_err(D::Error::custom)
    }
}

/// The text of an answer.
pub(crate) fn answer<T: Serialize>(told: Result<T, Unavailable>) -> String {
    let told = match told {
        Ok(answer) => Told::Answer(answer),
        Err(error) => Told::Failure(error.into()),
    };
    let answer = Answer { api: VERSION, told };
    serde_json::to_string(&answer).expect("its keys are text")
}

/// The content of an answer. The outer error says that it is none of this version.
pub(crate) fn read_answer<T: DeserializeOwned>(
    text: &[u8],
) -> Result<Result<T, Unavailable>, String> {
    let versioned: Versioned = serde_json::from_slice(text)
        .map_err(|error| format!("the answer is none of a whereabouts page: {error}"))?;
    if versioned.api != VERSION {
        return Err(format!(
            "the page answers in version {} of its API, and this tool knows version {VERSION}: use the tool of the page's version",
            versioned.api
        ));
    }
    let answer: Answer<T> = serde_json::from_slice(text)
        .map_err(|error| format!("the page's answer cannot be read: {error}"))?;
    Ok(match answer.told {
        Told::Answer(answer) => Ok(answer),
        Told::Failure(failure) => Err(failure.into()),
    })
}

/// The path of a read.
pub(crate) fn path_of_read(reads: &[store::Read], at: store::At) -> String {
    let questions = Questions {
        at: at.into(),
        reads: reads.iter().map(Read::from).collect(),
    };
    let text = serde_json::to_vec(&questions).expect("its keys are text");
    format!("{READ}?asked={}", URL_SAFE_NO_PAD.encode(text))
}

/// The path of a question about a lease.
pub(crate) fn path_of_lease(lease: LeaseId) -> String {
    format!("{LEASE}?id={lease}")
}

impl AskedRead {
    /// The questions.
    pub(crate) fn questions(&self) -> Result<(Vec<store::Read>, store::At), String> {
        let text = URL_SAFE_NO_PAD.decode(&self.asked);
        let text = text.map_err(|error| format!("asked: {error}"))?;
        let questions: Questions =
            serde_json::from_slice(&text).map_err(|error| format!("asked: {error}"))?;
        let reads = questions.reads.into_iter().map(store::Read::from);
        Ok((reads.collect(), questions.at.into()))
    }
}

impl From<store::At> for At {
    fn from(at: store::At) -> Self {
        match at {
            store::At::Now => Self::Now,
            store::At::Revision(revision) => Self::Revision(revision),
            store::At::Whenever => Self::Whenever,
        }
    }
}

impl From<At> for store::At {
    fn from(at: At) -> Self {
        match at {
            At::Now => Self::Now,
            At::Revision(revision) => Self::Revision(revision),
            At::Whenever => Self::Whenever,
        }
    }
}

impl From<&store::Read> for Read {
    fn from(read: &store::Read) -> Self {
        match read {
            store::Read::Key(key) => Self::Key(Bytes(key.clone())),
            store::Read::Range {
                from,
                until,
                order,
                limit,
            } => Self::Range {
                from: Bytes(from.clone()),
                until: Bytes(until.clone()),
                by_creation: *order == store::Order::Created,
                limit: *limit,
            },
        }
    }
}

impl From<Read> for store::Read {
    fn from(read: Read) -> Self {
        match read {
            Read::Key(key) => Self::Key(key.0),
            Read::Range {
                from,
                until,
                by_creation,
                limit,
            } => Self::Range {
                from: from.0,
                until: until.0,
                order: if by_creation {
                    store::Order::Created
                } else {
                    store::Order::Key
                },
                limit,
            },
        }
    }
}

impl From<store::View> for View {
    fn from(view: store::View) -> Self {
        let entries = |entries: Vec<store::Entry>| entries.into_iter().map(Entry::from).collect();
        Self {
            revision: view.revision,
            cluster: view.cluster,
            answers: view.answers.into_iter().map(entries).collect(),
        }
    }
}

impl From<View> for store::View {
    fn from(view: View) -> Self {
        let entries = |entries: Vec<Entry>| entries.into_iter().map(store::Entry::from).collect();
        Self {
            revision: view.revision,
            cluster: view.cluster,
            answers: view.answers.into_iter().map(entries).collect(),
        }
    }
}

impl From<store::Entry> for Entry {
    fn from(entry: store::Entry) -> Self {
        Self {
            key: Bytes(entry.key),
            value: Bytes(entry.value),
            created: entry.created,
            modified: entry.modified,
            lease: entry.lease,
        }
    }
}

impl From<Entry> for store::Entry {
    fn from(entry: Entry) -> Self {
        Self {
            key: entry.key.0,
            value: entry.value.0,
            created: entry.created,
            modified: entry.modified,
            lease: entry.lease,
        }
    }
}

impl From<LeaseLife> for Life {
    fn from(life: LeaseLife) -> Self {
        Self {
            granted_s: life.granted.as_secs(),
            left_s: life.left.as_secs(),
        }
    }
}

impl From<Life> for LeaseLife {
    fn from(life: Life) -> Self {
        Self {
            granted: Duration::from_secs(life.granted_s),
            left: Duration::from_secs(life.left_s),
        }
    }
}

impl From<Unavailable> for Failure {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::Later(reason) => Self::Later(reason),
            Unavailable::NotNow(reason) => Self::NotNow(reason),
            Unavailable::TooLarge => Self::TooLarge,
            Unavailable::Compacted => Self::Compacted,
            Unavailable::Denied(reason) => Self::Denied(reason),
            Unavailable::Refused(reason) => Self::Refused(reason),
            error @ (Unavailable::LeaseNotFound
            | Unavailable::KeyNotFound
            | Unavailable::TooManyOperations
            | Unavailable::NoSpace
            | Unavailable::File(_)
            | Unavailable::NotInFiles(_)
            | Unavailable::ApiServer(_)
            | Unavailable::NotInObjects(_)) => Self::Refused(error.to_string()),
        }
    }
}

impl From<Failure> for Unavailable {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Later(reason) => Self::Later(reason),
            Failure::NotNow(reason) => Self::NotNow(reason),
            Failure::TooLarge => Self::TooLarge,
            Failure::Compacted => Self::Compacted,
            Failure::Denied(reason) => Self::Denied(reason),
            Failure::Refused(reason) => Self::Refused(reason),
        }
    }
}
