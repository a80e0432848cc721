//! AdmissionReviews of `admission.k8s.io/v1`: what the API server asks, and the answer.

use serde::Deserialize;
use serde_json::{Value, json};
use whereabouts_core::{escaped, limits};

const VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// The API server's question about one object.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    /// Its identity, which the answer repeats.
    pub(super) uid: String,
    /// The kind of object.
    resource: Resource,
    /// The change of the object.
    pub(super) operation: Operation,
    /// The object's namespace.
    #[serde(default)]
    pub(super) namespace: String,
    /// The object's name. A new object that is named by the API server has none.
    #[serde(default)]
    pub(super) name: String,
    /// The new object; null for a DELETE.
    #[serde(default)]
    pub(super) object: Value,
    /// The old object; null for a CREATE.
    #[serde(default)]
    pub(super) old_object: Value,
}

#[derive(Debug, Deserialize)]
struct Resource {
    #[serde(default)]
    group: String,
    resource: String,
}

/// The change of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
    /// Somebody connects to it.
    Connect,
}

/// A kind of object that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    group: &'static str,
    resource: &'static str,
}

/// NetworkAttachmentDefinitions.
pub(super) const NETWORKS: Judged = Judged {
    group: "k8s.cni.cncf.io",
    resource: "network-attachment-definitions",
};

/// Pods.
pub(super) const PODS: Judged = Judged {
    group: "",
    resource: "pods",
};

impl Request {
    /// The question in `body`, which must be about an object of kind `judged`. An error names the key and the value.
    pub(super) fn read(body: &[u8], judged: Judged) -> Result<Self, String> {
        let mut review: Value = serde_json::from_slice(body)
            .map_err(|error| format!("the body is not JSON: {error}"))?;
        for (key, expected) in [("apiVersion", VERSION), ("kind", KIND)] {
            if review[key] != expected {
                let found = &review[key];
                return Err(format!("{key} {found} is not served; \"{expected}\" is"));
            }
        }
        let request: Self = serde_json::from_value(review["request"].take())
            .map_err(|error| format!("request: {error}"))?;
        let Resource { group, resource } = &request.resource;
        if (group.as_str(), resource.as_str()) != (judged.group, judged.resource) {
            return Err(format!(
                "request.resource {resource:?} of group {group:?} is not judged here; {:?} of group {:?} is",
                judged.resource, judged.group
            ));
        }
        Ok(request)
    }
}

/// The judgement of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Why it is denied; empty if it is allowed.
    pub(super) refusals: Vec<String>,
    /// The warnings for its author.
    pub(super) warnings: Vec<String>,
}

impl Judgement {
    /// Whether the object may pass.
    pub(super) fn is_allowed(&self) -> bool {
        self.refusals.is_empty()
    }

    /// The answer to the question `uid`.
    pub(super) fn answer(&self, uid: &str) -> Value {
        let mut response = json!({"uid": uid, "allowed": self.is_allowed()});
        if !self.is_allowed() {
            let refusals: Vec<_> = self
                .refusals
                .iter()
                .map(|refusal| escaped::line(refusal))
                .collect();
            response["status"] = json!({
                "status": "Failure", "code": 422, "reason": "Invalid", "message": refusals.join("; "),
            });
        }
        let warnings = bounded(&self.warnings);
        if !warnings.is_empty() {
            response["warnings"] = warnings.into();
        }
        json!({"apiVersion": VERSION, "kind": KIND, "response": response})
    }
}

/// The warnings that the API server hands on whole: it shortens all of them when they are too long together.
fn bounded(warnings: &[String]) -> Vec<String> {
    let mut left = limits::WARNING_CHARACTERS;
    let mut said = Vec::new();
    for (number, warning) in warnings.iter().enumerate() {
        let warning = format!("whereabouts: {}", escaped::line(warning));
        let length = warning.chars().count();
        if length > left {
            said.push(format!(
                "whereabouts: and {} more warnings",
                warnings.len() - number
            ));
            break;
        }
        left -= length;
        said.push(warning);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review() -> Value {
        json!({
            "apiVersion": VERSION, "kind": KIND,
            "request": {
                "uid": "u", "operation": "CREATE", "namespace": "default", "name": "net",
                "resource": {"group": "k8s.cni.cncf.io", "version": "v1", "resource": "network-attachment-definitions"},
                "object": {"kind": "NetworkAttachmentDefinition"}, "oldObject": null,
            },
        })
    }

    #[test]
    fn a_review_is_read() {
        let read = Request::read(review().to_string().as_bytes(), NETWORKS).expect("it is right");
        assert_eq!(
            (read.uid.as_str(), read.name.as_str(), read.operation),
            ("u", "net", Operation::Create)
        );
        assert_eq!(read.object["kind"], "NetworkAttachmentDefinition");
        assert!(read.old_object.is_null());
    }

    #[test]
    fn an_error_names_the_key_and_the_value() {
        for (path, value, expected) in [
            (
                "/apiVersion",
                json!("admission.k8s.io/v1beta1"),
                r#"apiVersion "admission.k8s.io/v1beta1" is not served; "admission.k8s.io/v1" is"#,
            ),
            ("/kind", json!("Pod"), r#"kind "Pod" is not served"#),
            ("/kind", Value::Null, "kind null is not served"),
            ("/request", Value::Null, "request: invalid type: null"),
            (
                "/request/uid",
                json!(7),
                "request: invalid type: integer `7`",
            ),
            (
                "/request/operation",
                json!("EAT"),
                "request: unknown variant `EAT`",
            ),
            (
                "/request/resource/resource",
                json!("pods"),
                r#"request.resource "pods" of group "k8s.cni.cncf.io" is not judged here"#,
            ),
            (
                "/request/resource/group",
                json!("other"),
                r#"request.resource "network-attachment-definitions" of group "other""#,
            ),
        ] {
            let mut wrong = review();
            *wrong.pointer_mut(path).expect("it is there") = value;
            let said = Request::read(wrong.to_string().as_bytes(), NETWORKS);
            let said = said.expect_err(path);
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_body_that_is_no_json_is_refused() {
        let deep = "[".repeat(100_000);
        for body in ["", "{", "nonsense", "{} {}", deep.as_str(), "\u{0}"] {
            let said = Request::read(body.as_bytes(), NETWORKS).expect_err("no review");
            assert!(said.starts_with("the body is not JSON: "), "{said}");
        }
    }

    #[test]
    fn an_answer_repeats_the_uid_and_tells_all() {
        let allowed = Judgement::default().answer("u");
        assert_eq!(allowed["response"], json!({"uid": "u", "allowed": true}));
        let judgement = Judgement {
            refusals: vec!["a: \"\u{1b}\"".to_owned(), "b".to_owned()],
            warnings: vec!["c\nd".to_owned()],
        };
        let response = &judgement.answer("u")["response"];
        assert_eq!(response["allowed"], false);
        assert_eq!(response["status"]["message"], r#"a: "\u{1b}"; b"#);
        assert_eq!(response["warnings"], json!([r"whereabouts: c\nd"]));
    }

    #[test]
    fn warnings_are_no_longer_than_what_the_api_server_keeps() {
        let warnings: Vec<String> = (0..100).map(|number| format!("{number:>100}")).collect();
        let said = bounded(&warnings);
        let characters: usize = said.iter().map(|one| one.chars().count()).sum();
        assert!(characters <= 4096, "{characters}");
        assert_eq!(
            said.last().map(String::as_str),
            Some("whereabouts: and 65 more warnings")
        );
    }
}
