//! `sticky`: whose name keeps an address when its pod is gone.

use super::behaviour::choose;
use super::error::RequestError;
use super::findings::Findings;
use super::json::{Node, Object};
use whereabouts_core::claim::Owner;
use whereabouts_core::durable;

const KINDS: [(&str, Sticky); 2] = [("none", Sticky::None), ("statefulset", Sticky::StatefulSet)];

/// `sticky` of `ipam`, not yet read.
pub(super) struct Raw(Option<Node>);

/// The names that keep addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sticky {
    /// No name does. A claim's end frees its addresses.
    None,
    /// The names of pods of a StatefulSet.
    StatefulSet,
}

impl Raw {
    /// Takes the key out.
    pub(super) fn take(ipam: &mut Object) -> Self {
        Self(ipam.take("sticky"))
    }

    /// Reads the key.
    pub(super) fn read(self, findings: &mut Findings) -> Result<Sticky, RequestError> {
        let kind = choose(self.0, &KINDS);
        Ok(findings.tolerate(kind)?.unwrap_or(Sticky::None))
    }
}

impl Sticky {
    /// Whether the pod of `owner` keeps its addresses. A pod whose name has no ordinal is of no StatefulSet, so it gets an
    /// address as in any other network. A pod without a name is an error: its address would not stay.
    pub(super) fn is_durable(self, owner: &Owner) -> Result<bool, RequestError> {
        if self == Self::None {
            return Ok(false);
        }
        let needed = |name: &str, value: &Option<String>| match value {
            Some(value) => Ok(value.clone()),
            None => Err(RequestError::variable(
                &format!("CNI_ARGS {name}"),
                "",
                "is not set, and ipam.sticky needs it: the pod's name keeps the address",
            )),
        };
        needed("K8S_POD_NAMESPACE", &owner.pod_namespace)?;
        let pod = needed("K8S_POD_NAME", &owner.pod_name)?;
        Ok(durable::stateful_name(&pod).is_some())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::sample::{Sample, assert_found};
    use crate::invocation::fake::FakeMachine;

    fn durable(sticky: &Value, arguments: &str, expected: Result<&str, (u32, &str)>) {
        let sample = Sample::of("ADD")
            .ipam(json!({"range": "10.0.0.0/24", "sticky": sticky}))
            .variable("CNI_ARGS", arguments);
        let found = sample.add().map(|add| {
            let owner = add.ask.expect("a range").durable_owner();
            owner.map_or("ordinary".to_owned(), |owner| owner.to_string())
        });
        assert_found(found, expected);
    }

    #[test]
    fn a_stateful_pod_of_a_sticky_network_is_durable() {
        let (set, other) = (
            "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0",
            "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-7d4b9c-xk2vp",
        );
        let expected = "eth0 of pod ns/web-0 in network net";
        durable(&json!("statefulset"), set, Ok(expected));
        durable(&json!("StatefulSet"), set, Ok(expected));
        durable(&json!("statefulset"), other, Ok("ordinary"));
        for none in [json!("none"), Value::Null] {
            durable(&none, set, Ok("ordinary"));
            durable(&none, "", Ok("ordinary"));
        }
    }

    #[test]
    fn a_pod_without_a_name_and_a_wrong_kind_are_errors() {
        for (arguments, missing) in [
            ("", "CNI_ARGS K8S_POD_NAMESPACE"),
            ("K8S_POD_NAME=web-0", "CNI_ARGS K8S_POD_NAMESPACE"),
            ("K8S_POD_NAMESPACE=ns", "CNI_ARGS K8S_POD_NAME"),
            (
                "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=",
                "CNI_ARGS K8S_POD_NAME",
            ),
        ] {
            durable(&json!("statefulset"), arguments, Err((4, missing)));
        }
        let arguments = "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0";
        let wrong = "ipam.sticky: \"pod\" is none of none, statefulset";
        durable(&json!("pod"), arguments, Err((7, wrong)));
        durable(&json!(true), arguments, Err((7, "ipam.sticky")));
    }

    #[test]
    fn a_lint_needs_no_pod_and_finds_a_wrong_kind() {
        let lint = |sticky: &str| {
            let ipam = format!(r#"{{"range": "10.0.0.0/24", "sticky": "{sticky}"}}"#);
            let config = format!(r#"{{"name": "net", "type": "x", "ipam": {ipam}}}"#);
            let linted = super::super::lint(config.as_bytes(), &FakeMachine::default().named("n"));
            let remarks = linted.expect("it can be read").remarks;
            remarks.into_iter().map(|one| one.text).collect::<Vec<_>>()
        };
        assert_eq!(lint("statefulset"), Vec::<String>::new());
        let wrong = "ipam.sticky: \"pod\" is none of none, statefulset";
        assert_eq!(lint("pod"), [wrong]);
    }

    #[test]
    fn other_verbs_live_with_a_wrong_kind() {
        let remarks = Sample::of("DEL").ipam(json!({"sticky": 5})).remarks();
        assert!(remarks.contains("ignored: ipam.sticky"), "{remarks}");
    }
}
