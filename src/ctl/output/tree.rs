//! JSON and YAML as values, with the paths of the keys that stand twice in their objects.
//!
//! Kubernetes, Multus and the runtimes silently keep the last value of such a key.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::DuplicateKeyPolicy;
use whereabouts_core::limits;

/// The content of a document.
#[derive(Debug, PartialEq)]
pub(crate) struct Tree {
    /// Its value, in which the last value of a repeated key counts.
    pub(crate) value: Value,
    /// The paths of the repeated keys, such as `ipam.ipRanges[0].range`.
    pub(crate) repeated: Vec<String>,
}

impl Tree {
    /// Whether `text` must be JSON rather than YAML: it begins as an object or a list of JSON does.
    pub(crate) fn is_json(text: &str) -> bool {
        text.trim_start().starts_with(['{', '['])
    }

    /// The one value of JSON that `text` is.
    pub(crate) fn of_json(text: &str) -> Result<Self, String> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let tree = Self::next(&mut reader).map_err(|error| json_error(&error, 0))?;
        reader.end().map_err(|error| json_error(&error, 0))?;
        Ok(tree)
    }

    /// The values of JSON that stand one after the other in `text`, up to the first that is none.
    /// `skipped` is the number of lines before `text`.
    pub(crate) fn each_of_json(text: &str, skipped: u64) -> Vec<Result<Self, String>> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let mut trees = Vec::new();
        loop {
            let tree = Self::next(&mut reader).map_err(|error| json_error(&error, skipped));
            let is_last = tree.is_err() || reader.end().is_ok();
            trees.push(tree);
            if is_last {
                return trees;
            }
        }
    }

    /// The one document of YAML that `text` is. `skipped` is the number of lines before `text`.
    pub(crate) fn of_yaml(text: &str, skipped: u64) -> Result<Self, String> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_events: 2 * limits::DOCUMENT_NODES,
                max_nodes: limits::DOCUMENT_NODES,
                max_total_scalar_bytes: limits::DOCUMENT_BYTES,
            },
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            with_snippet: false,
        };
        let read = serde_saphyr::with_deserializer_from_str_with_options(text, options, |reader| {
            Self::next(reader)
        });
        read.map_err(|error| {
            error.render_with_options(serde_saphyr::render_options! { line_offset: skipped })
        })
    }

    /// Whether there is nothing.
    pub(crate) fn is_null(&self) -> bool {
        self.value.is_null() && self.repeated.is_empty()
    }

    /// The value, or the first key that is repeated in it.
    pub(crate) fn whole(self) -> Result<Value, String> {
        match self.repeated.into_iter().next() {
            None => Ok(self.value),
            Some(key) => Err(key),
        }
    }

    fn next<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let repeated = RefCell::default();
        let value = Place {
            path: &Path::Top,
            repeated: &repeated,
        };
        let value = value.deserialize(reader)?;
        Ok(Self {
            value,
            repeated: repeated.into_inner(),
        })
    }
}

fn json_error(error: &serde_json::Error, skipped: u64) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let said = text.strip_suffix(&format!(" at line {line} column {column}"));
    let line = skipped + line as u64;
    format!("{} at line {line}, column {column}", said.unwrap_or(&text))
}

/// Where a value stands.
enum Path<'a> {
    Top,
    Member(&'a Path<'a>, &'a str),
    Element(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => Ok(()),
            Self::Member(Self::Top, key) => f.write_str(key),
            Self::Member(parent, key) => write!(f, "{parent}.{key}"),
            Self::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A place for a value, which notes repeated keys on the way.
struct Place<'a> {
    path: &'a Path<'a>,
    repeated: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can have")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let path = Path::Element(self.path, values.len());
            let place = Place {
                path: &path,
                repeated: self.repeated,
            };
            match list.next_element_seed(place)? {
                Some(value) => values.push(value),
                None => return Ok(values.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        let mut repeated = BTreeSet::new();
        while let Some(key) = object.next_key::<String>()? {
            let path = Path::Member(self.path, &key);
            let place = Place {
                path: &path,
                repeated: self.repeated,
            };
            let value = object.next_value_seed(place)?;
            if members.contains_key(&key) {
                repeated.insert(path.to_string());
            }
            members.insert(key, value);
        }
        self.repeated.borrow_mut().extend(repeated);
        Ok(members.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPEATED: &str =
        r#"{"a": 1, "a": 2, "a": 2, "b": [{"c": {"d": 1, "e": 2, "d": null}}, {"c": 1}]}"#;

    fn check(read: Result<Tree, String>) {
        let tree = read.expect("it can be read");
        assert_eq!(tree.repeated, ["b[0].c.d", "a"]);
        assert_eq!(tree.value["a"], 2);
        assert_eq!(tree.value["b"][0]["c"]["d"], Value::Null);
    }

    #[test]
    fn repeated_keys_are_found_in_json_and_in_yaml_and_the_last_counts() {
        check(Tree::of_json(REPEATED));
        check(Tree::of_yaml(REPEATED, 0));
        check(Tree::of_yaml(
            "a: 1\na: 1\na: 2\nb:\n- c:\n    d: 1\n    e: 2\n    d:\n- c: 1\n",
            0,
        ));
    }

    #[test]
    fn values_of_json_may_stand_one_after_the_other() {
        let found = Tree::each_of_json("{} [1]\n{\"a\": 3} {", 0);
        let found: Vec<Option<&Value>> = found
            .iter()
            .map(|tree| tree.as_ref().ok().map(|tree| &tree.value))
            .collect();
        let (one, two, three) = (
            serde_json::json!({}),
            serde_json::json!([1]),
            serde_json::json!({"a": 3}),
        );
        assert_eq!(found, [Some(&one), Some(&two), Some(&three), None]);
        assert!(Tree::of_json("{} {}").is_err());
    }

    #[test]
    fn an_error_tells_the_line_of_the_file() {
        let json = Tree::each_of_json("{\n]", 10).pop().expect("one");
        assert_eq!(
            json,
            Err("key must be a string at line 12, column 1".to_owned())
        );
        let yaml = Tree::of_yaml("a: b\nc: [1\n", 10).expect_err("a list has no end");
        assert!(yaml.contains("line 1"), "{yaml}");
        assert!(!yaml.contains('\n'), "{yaml}");
    }
}
