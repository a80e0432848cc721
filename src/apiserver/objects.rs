//! Claims and blocks of the datastore `kubernetes`, as requests and answers of a client.

mod definitions;

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use whereabouts_core::failure::ApiServerFailure;
use whereabouts_core::limits::SHOWN_CHARACTERS;
use whereabouts_kubernetes::api::{
    ApiServer, ListAt, ListQuery, Page, ReadError, Refusal, Requirement, Write, WriteError,
};
use whereabouts_kubernetes::object::{Kind, Metadata, Object, TakenBit};
use whereabouts_kubernetes::{GROUP, VERSION, names};

use crate::answer::Answer;
use crate::client::Client;
use crate::request::{Request, Resource};

/// Longest wait for one answer. The protocol's own bound is shorter.
const PATIENCE: Duration = Duration::from_mins(1);

/// The objects of one API server.
#[derive(Debug)]
pub struct Objects(Client);

impl Objects {
    /// The objects that `client` reaches.
    pub fn of(client: Client) -> Self {
        Self(client)
    }

    async fn send(&self, request: Request) -> Answer {
        Box::pin(self.0.send(&request, PATIENCE)).await
    }
}

impl ApiServer for Objects {
    async fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>, ReadError> {
        match self.send(Request::get(&resource(kind), name)).await {
            Answer::Absent => Ok(None),
            answer => read(answer, |body| object(kind, body)).map(Some),
        }
    }

    async fn list(&self, query: &ListQuery) -> Result<Page<Object>, ReadError> {
        let request = Request::list(&resource(query.kind), parameters(query));
        let answer = self.send(request).await;
        match query.kind {
            Kind::Claim => read(answer, page).map(|page| mapped(page, Object::Claim)),
            Kind::Block => read(answer, page).map(|page| mapped(page, Object::Block)),
        }
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Page<Metadata>, ReadError> {
        let request = Request::list_metadata(&resource(query.kind), parameters(query));
        let answer = self.send(request).await;
        read(answer, page).map(|page| mapped(page, |object: Partial| object.metadata))
    }

    async fn write(&self, write: &Write) -> Result<Option<Object>, WriteError> {
        let kind = write.kind();
        let resource = resource(kind);
        let request = match write {
            Write::Create(object) => Request::create(&resource, body(object)),
            Write::Replace(object) => {
                Request::replace(&resource, &object.metadata().name, untracked(object))
            }
            Write::Clear { block, bits } => Request::patch(&resource, block, clearing(bits)),
            Write::Delete {
                name,
                uid,
                resource_version,
                ..
            } => {
                let conditions = json!({"uid": uid, "resourceVersion": resource_version});
                let options = json!({"preconditions": conditions});
                Request::delete(&resource, name, options.to_string().into_bytes())
            }
        };
        let done = written(self.send(request).await)?;
        if let Write::Delete { name, .. } = write {
            return deleted(name, &done).map(|()| None);
        }
        let object = object(kind, &done);
        object.map(Some).map_err(WriteError::Unknown)
    }
}

fn resource(kind: Kind) -> Resource {
    Resource {
        group: GROUP,
        version: VERSION,
        plural: kind.plural(),
        namespace: None,
    }
}

fn parameters(query: &ListQuery) -> Vec<(&'static str, String)> {
    let requirements = query.selector.iter().map(|requirement| match requirement {
        Requirement::Exists(key) => key.clone(),
        Requirement::In(key, values) => format!("{key} in ({})", values.join(",")),
    });
    let selector = requirements.collect::<Vec<_>>().join(",");
    let mut parameters = Vec::new();
    // A list with a limit at a stated revision is one that older servers read from their store instead of the cache.
    if !matches!(query.at, ListAt::AtLeast(_)) {
        parameters.push(("limit", query.limit.to_string()));
    }
    if !selector.is_empty() {
        parameters.push(("labelSelector", selector));
    }
    // The place where a page ended has the revision, too. The server refuses both together.
    match (&query.continued, &query.at) {
        (Some(continued), _) => parameters.push(("continue", continued.clone())),
        (None, ListAt::AtLeast(revision)) => {
            parameters.push(("resourceVersion", revision.clone()));
            parameters.push(("resourceVersionMatch", "NotOlderThan".to_owned()));
        }
        (None, ListAt::Exactly(revision)) => {
            parameters.push(("resourceVersion", revision.clone()));
            parameters.push(("resourceVersionMatch", "Exact".to_owned()));
        }
        (None, ListAt::Cached) => parameters.push(("resourceVersion", "0".to_owned())),
        (None, ListAt::Present) => {}
    }
    parameters
}

/// An object as a body has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Typed<'o, T> {
    api_version: String,
    kind: &'static str,
    #[serde(flatten)]
    object: &'o T,
}

fn body(object: &Object) -> Vec<u8> {
    match object {
        Object::Claim(claim) => typed(Kind::Claim, claim),
        Object::Block(block) => typed(Kind::Block, block),
    }
}

/// The body of an object whose fields no manager owns (`managedFields`). One process after the other writes the whole
/// object, so ownership by field tells nothing. Tracking it cost the server a fifth of the time of an ADD.
fn untracked(object: &Object) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(&body(object)).expect("the body is JSON");
    value["metadata"]["managedFields"] = json!([{}]);
    value.to_string().into_bytes()
}

/// The patch that clears `bits`. Its last step keeps the fields without managers.
fn clearing(bits: &[TakenBit]) -> Vec<u8> {
    let state = names::state().replace('~', "~0").replace('/', "~1");
    let clear = |taken: &TakenBit| {
        let path = format!("/spec/taken/{}", taken.bit);
        [
            json!({"op": "test", "path": path, "value": taken.stored()}),
            json!({"op": "remove", "path": path}),
        ]
    };
    let mut steps: Vec<Value> = bits.iter().flat_map(clear).collect();
    let label = format!("/metadata/labels/{state}");
    steps.push(json!({"op": "add", "path": label, "value": names::OPEN}));
    steps.push(json!({"op": "add", "path": "/metadata/managedFields", "value": [{}]}));
    Value::from(steps).to_string().into_bytes()
}

fn typed<T: Serialize>(kind: Kind, object: &T) -> Vec<u8> {
    let typed = Typed {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind.name(),
        object,
    };
    serde_json::to_vec(&typed).expect("the objects have texts for keys")
}

/// The metadata of an object, whatever else it has.
#[derive(Deserialize)]
struct Partial {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct List<T> {
    metadata: ListMetadata,
    /// `null` in an empty list of metadata. An object without the key is no list.
    #[serde(deserialize_with = "Option::deserialize")]
    items: Option<Vec<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
    #[serde(default, rename = "continue")]
    continued: Option<String>,
}

fn page<T: DeserializeOwned>(body: &[u8]) -> Result<Page<T>, String> {
    let list: List<T> = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    Ok(Page {
        items: list.items.unwrap_or_default(),
        resource_version: list.metadata.resource_version,
        continued: list.metadata.continued.filter(|token| !token.is_empty()),
    })
}

fn mapped<T, U>(page: Page<T>, map: impl FnMut(T) -> U) -> Page<U> {
    Page {
        items: page.items.into_iter().map(map).collect(),
        resource_version: page.resource_version,
        continued: page.continued,
    }
}

fn object(kind: Kind, body: &[u8]) -> Result<Object, String> {
    let object = match kind {
        Kind::Claim => serde_json::from_slice(body).map(Object::Claim),
        Kind::Block => serde_json::from_slice(body).map(Object::Block),
    };
    object.map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text: String = text.chars().take(SHOWN_CHARACTERS).collect();
    format!("an answer cannot be read: {text}")
}

/// The result of a read, which `value` makes of the body.
fn read<T>(answer: Answer, value: impl Fn(&[u8]) -> Result<T, String>) -> Result<T, ReadError> {
    let failed = |failure, retry_after| {
        Err(ReadError::Failed(Refusal {
            failure,
            retry_after,
        }))
    };
    match answer {
        Answer::Done(body) => {
            value(&body).or_else(|reason| failed(ApiServerFailure::Refused(reason), None))
        }
        Answer::Expired => Err(ReadError::Expired),
        Answer::Absent | Answer::Exists | Answer::Changed => {
            let reason = "an answer that is none to a read".to_owned();
            failed(ApiServerFailure::Refused(reason), None)
        }
        Answer::Busy(pause, reason) => failed(ApiServerFailure::NotNow(reason), Some(pause)),
        Answer::Unclear(reason) => failed(ApiServerFailure::NotNow(reason), None),
        Answer::Unsent(reason) | Answer::Lost(reason) => {
            failed(ApiServerFailure::Unavailable(reason), None)
        }
        Answer::Denied(reason) => failed(ApiServerFailure::Denied(reason), None),
        Answer::Refused(reason) | Answer::NoKind(reason) => {
            failed(ApiServerFailure::Refused(reason), None)
        }
    }
}

/// The body of a write that was carried out.
fn written(answer: Answer) -> Result<Vec<u8>, WriteError> {
    let refused = |failure, retry_after| {
        Err(WriteError::Refused(Refusal {
            failure,
            retry_after,
        }))
    };
    match answer {
        Answer::Done(body) => Ok(body),
        Answer::Exists => Err(WriteError::Exists),
        Answer::Changed => Err(WriteError::Changed),
        Answer::Absent => Err(WriteError::Gone),
        Answer::Lost(reason) | Answer::Unclear(reason) => Err(WriteError::Unknown(reason)),
        Answer::Unsent(reason) => refused(ApiServerFailure::Unavailable(reason), None),
        Answer::Busy(pause, reason) => refused(ApiServerFailure::NotNow(reason), Some(pause)),
        Answer::Denied(reason) => refused(ApiServerFailure::Denied(reason), None),
        Answer::Refused(reason) | Answer::NoKind(reason) => {
            refused(ApiServerFailure::Refused(reason), None)
        }
        Answer::Expired => {
            let reason = "an answer that is none to a write".to_owned();
            refused(ApiServerFailure::Refused(reason), None)
        }
    }
}

/// A deletion answers a `Status`. If the object itself comes back, a finalizer keeps it.
fn deleted(name: &str, body: &[u8]) -> Result<(), WriteError> {
    #[derive(Deserialize)]
    struct Answered {
        kind: String,
    }
    let answered: Result<Answered, _> = serde_json::from_slice(body);
    match answered {
        Ok(answered) if answered.kind == "Status" => Ok(()),
        Ok(_) => {
            let reason = format!("{name} stays after its deletion: a finalizer keeps it");
            Err(WriteError::Refused(Refusal {
                failure: ApiServerFailure::Refused(reason),
                retry_after: None,
            }))
        }
        Err(error) => Err(WriteError::Unknown(unreadable(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_items_of_an_empty_list_may_be_null() {
        let read = |items: &str| {
            let text = format!(r#"{{"metadata":{{"resourceVersion":"7"}},"items":{items}}}"#);
            page::<Partial>(text.as_bytes()).map(|page| page.items.len())
        };
        assert_eq!(read("null"), Ok(0));
        assert_eq!(read("[]"), Ok(0));
        assert_eq!(read(r#"[{"metadata":{"name":"a"}}]"#), Ok(1));
        read("7").expect_err("no list");
        assert!(page::<Partial>(br#"{"metadata":{"resourceVersion":"7"}}"#).is_err());
    }
}
