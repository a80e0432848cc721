//! JSON objects whose values know the path of their key.
//!
//! A reader takes a value out by its key and its type. An error names the path, the expected type
//! and the found type. This module has no list of keys: an [`Object`] learns a key when a reader
//! asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::error::{RequestError, Shown};
use super::findings::Findings;
use super::notation::NotationError;
use super::tree::Json;
use super::{LogLevel, misspelt};
use whereabouts_etcd::Secret;

/// The object in `bytes`. Errors name it `origin`, and the paths of its keys begin with `prefix`.
pub(super) fn object(bytes: &[u8], origin: &str, prefix: &str) -> Result<Object, RequestError> {
    let value = serde_json::from_slice(bytes).map_err(|source| RequestError::Json {
        origin: origin.to_owned(),
        source,
    })?;
    match value {
        Json::Object(members) => Ok(Object::new(prefix.to_owned(), members)),
        other => Err(RequestError::NotAnObject {
            origin: origin.to_owned(),
            found: other.kind().to_owned(),
        }),
    }
}

/// An object whose members are taken out one by one. A member that is `null` or an empty string
/// counts as absent: generators of configs write it for a key without a value.
#[derive(Default)]
pub(super) struct Object {
    /// The beginning of the paths of the keys.
    prefix: String,
    members: BTreeMap<String, Node>,
    asked: BTreeSet<&'static str>,
}

/// A value and the path of its key.
pub(super) struct Node {
    key: String,
    value: Json,
}

/// A string and the path of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    /// The path of its key.
    pub(super) key: String,
    /// The string.
    pub(super) text: String,
}

impl Object {
    fn new(prefix: String, members: BTreeMap<String, Json>) -> Self {
        let member = |(name, value)| {
            let key = format!("{prefix}{name}");
            (name, Node { key, value })
        };
        Self {
            members: members.into_iter().map(member).collect(),
            prefix,
            asked: BTreeSet::new(),
        }
    }

    /// Takes the value of `key` out.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.take_present(key).filter(|node| node.value.is_set())
    }

    /// Takes the value of `key` out, even if it is `null` or an empty string.
    pub(super) fn take_present(&mut self, key: &'static str) -> Option<Node> {
        self.asked.insert(key);
        #[cfg(test)]
        asked::note(key);
        self.members.remove(key)
    }

    /// Takes the values of `key` out, in upper or lower case. Programs in Go read their keys this
    /// way.
    pub(super) fn take_in_any_case(&mut self, key: &'static str) -> Vec<Node> {
        let is_same = |name: &String| folded(name) == folded(key);
        let others: Vec<String> = self
            .members
            .keys()
            .filter(|name| is_same(name))
            .cloned()
            .collect();
        let exact = self.take(key);
        let others = others.iter().filter_map(|name| self.members.remove(name));
        exact
            .into_iter()
            .chain(others.filter(|node| node.value.is_set()))
            .collect()
    }

    /// Takes the string of `key` out.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<Text>, RequestError> {
        self.take(key).map(Node::text).transpose()
    }

    /// Takes the string of `key` out. It must exist.
    pub(super) fn needed_text(&mut self, key: &'static str) -> Result<Text, RequestError> {
        self.text(key)?.ok_or_else(|| RequestError::MissingKey {
            key: format!("{}{key}", self.prefix),
            reason: "it is needed".to_owned(),
        })
    }

    /// The string of `key`, which stays in the object. `None` also for a value of another type.
    pub(super) fn peek_text(&self, key: &str) -> Option<Text> {
        let node = self.members.get(key).filter(|node| node.value.is_set())?;
        let Json::Text(text) = &node.value else {
            return None;
        };
        Some(Text {
            key: node.key.clone(),
            text: text.clone(),
        })
    }

    /// The members with a value, by their keys.
    pub(super) fn set(&self) -> impl Iterator<Item = (&str, &Node)> {
        let members = self.members.iter();
        members
            .filter(|(_, node)| node.value.is_set())
            .map(|(key, node)| (key.as_str(), node))
    }

    /// Whether `key` has a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.members
            .get(key)
            .is_some_and(|node| node.value.is_set())
    }

    /// Moves the value of `inner` out of the object that `outer` has into this object, as the key `moved`. Other keys of
    /// that object are unknown.
    pub(super) fn lift(
        &mut self,
        (outer, inner): (&'static str, &'static str),
        moved: &'static str,
        findings: &mut Findings,
    ) -> Result<(), RequestError> {
        let Some(node) = self.take(outer) else {
            return Ok(());
        };
        let mut nested = findings.tolerate(node.object())?;
        if let Some(node) = nested.take(inner) {
            self.members.insert(moved.to_owned(), node);
        }
        nested.finish(findings)
    }

    /// Adds the members of `other` that this object does not have.
    pub(super) fn fill_from(&mut self, other: Self) {
        for (key, node) in other.members {
            if !self.has(&key) {
                self.members.insert(key, node);
            }
        }
    }

    /// Reports the keys that no reader asked for. A misspelt key is an error; the others are a
    /// remark.
    pub(super) fn finish(self, findings: &mut Findings) -> Result<(), RequestError> {
        let mut unknown = Vec::new();
        for (key, node) in self.members.iter().filter(|(_, node)| node.value.is_set()) {
            match misspelt::nearest(key, &self.asked) {
                Some(known) if known == key => {}
                Some(known) => findings.tolerate(Err(RequestError::Misspelt {
                    key: Shown::new(&node.key),
                    known,
                }))?,
                None => unknown.push(node.key.as_str()),
            }
        }
        if !unknown.is_empty() {
            let text = format!("unknown, ignored: {}", Shown::new(&unknown.join(", ")));
            findings.remark(LogLevel::Warn, text);
        }
        Ok(())
    }
}

impl Node {
    /// The path of the key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether the value is an empty list or a list of empty strings.
    pub(super) fn is_empty_list(&self) -> bool {
        matches!(&self.value, Json::List(values) if !values.iter().any(Json::is_set))
    }

    /// The value as a string.
    pub(super) fn text(self) -> Result<Text, RequestError> {
        match self.value {
            Json::Text(text) => Ok(Text {
                key: self.key,
                text,
            }),
            _ => Err(self.mismatch("a string")),
        }
    }

    /// The value as a secret string. No error shows it.
    pub(super) fn secret(self) -> Result<Secret, RequestError> {
        match self.value {
            Json::Text(text) => Ok(Secret::new(text)),
            Json::Repeated => Err(RequestError::RepeatedKey { key: self.key }),
            other => Err(RequestError::WrongType {
                key: self.key,
                expected: "a string",
                found: other.kind().to_owned(),
            }),
        }
    }

    /// The value as true or false.
    pub(super) fn flag(self) -> Result<bool, RequestError> {
        match self.value {
            Json::Flag(flag) => Ok(flag),
            _ => Err(self.mismatch("true or false")),
        }
    }

    /// The value as a whole number from `least` to `most`.
    pub(super) fn number(self, least: u64, most: u64) -> Result<u64, RequestError> {
        let Json::Number(number) = &self.value else {
            return Err(self.mismatch("a number"));
        };
        match number
            .as_u64()
            .filter(|number| (least..=most).contains(number))
        {
            Some(number) => Ok(number),
            None => Err(RequestError::Value {
                value: Shown::new(&number.to_string()),
                key: self.key,
                reason: format!("is not a whole number from {least} to {most}"),
            }),
        }
    }

    /// The value as a list.
    pub(super) fn list(self) -> Result<Vec<Node>, RequestError> {
        match self.value {
            Json::List(values) => Ok(elements(&self.key, values)),
            _ => Err(self.mismatch("a list")),
        }
    }

    /// The value as a list. `null` is an empty list.
    pub(super) fn list_or_null(self) -> Result<Vec<Node>, RequestError> {
        match self.value {
            Json::Null => Ok(Vec::new()),
            _ => self.list(),
        }
    }

    /// The value as a list of strings.
    pub(super) fn texts(self) -> Result<Vec<Text>, RequestError> {
        self.list()?.into_iter().map(Node::text).collect()
    }

    /// The value as a string or as a list of strings.
    pub(super) fn text_or_texts(self) -> Result<Vec<Text>, RequestError> {
        match self.value {
            Json::Text(_) => Ok(vec![self.text()?]),
            Json::List(_) => self.texts(),
            _ => Err(self.mismatch("a string or a list of strings")),
        }
    }

    /// The value as an object or as a list of one object.
    pub(super) fn object_or_list_of_one(self) -> Result<Object, RequestError> {
        let key = self.key.clone();
        let Json::List(values) = self.value else {
            return self.object();
        };
        match <[Node; 1]>::try_from(elements(&key, values)) {
            Ok([only]) => only.object(),
            Err(nodes) => Err(RequestError::WrongType {
                key,
                expected: "an object or a list of one object",
                found: format!("a list of {}", nodes.len()),
            }),
        }
    }

    /// The value as an object.
    pub(super) fn object(self) -> Result<Object, RequestError> {
        match self.value {
            Json::Object(members) => Ok(Object::new(format!("{}.", self.key), members)),
            _ => Err(self.mismatch("an object")),
        }
    }

    fn mismatch(self, expected: &'static str) -> RequestError {
        let kind = self.value.kind();
        let found = match &self.value {
            Json::Repeated => return RequestError::RepeatedKey { key: self.key },
            Json::Number(number) => format!("{kind} {number}"),
            Json::Text(text) => format!("{kind} {}", Shown::new(text)),
            Json::Flag(flag) => flag.to_string(),
            Json::Null | Json::List(_) | Json::Object(_) => kind.to_owned(),
        };
        RequestError::WrongType {
            key: self.key,
            expected,
            found,
        }
    }
}

impl Text {
    /// The value of the string, in one of the notations of [`super::notation`].
    pub(super) fn read<T>(
        &self,
        read: fn(&str) -> Result<T, NotationError>,
    ) -> Result<T, RequestError> {
        read(&self.text).map_err(|error| self.wrong(error))
    }

    /// The error of this value. `reason` is a predicate such as "is not an address".
    pub(super) fn wrong(&self, reason: impl fmt::Display) -> RequestError {
        RequestError::Value {
            key: self.key.clone(),
            value: Shown::new(&self.text),
            reason: reason.to_string(),
        }
    }
}

/// A name without its case. It goes through capitals, so that 'ſ' becomes an 's', as in Go.
fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

fn elements(key: &str, values: Vec<Json>) -> Vec<Node> {
    let element = |(index, value)| Node {
        key: format!("{key}[{index}]"),
        value,
    };
    values.into_iter().enumerate().map(element).collect()
}

/// The keys that a thread's objects were asked for. A test compares them with the docs.
#[cfg(test)]
pub(super) mod asked {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static KEYS: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn note(key: &'static str) {
        KEYS.with_borrow_mut(|keys| keys.insert(key));
    }

    /// All keys since the last call.
    pub(in super::super) fn taken() -> BTreeSet<&'static str> {
        KEYS.take()
    }
}
