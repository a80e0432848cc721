//! Valid invocations, which a test changes.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::{Value, json};

use super::{
    AddRequest, DelRequest, Outcome, Parsed, Rejected, Remark, Request, RequestError, parse,
};
use crate::invocation::fake::FakeMachine;
use crate::invocation::{Invocation, StdinError};
use whereabouts_core::claim::{Choice, Want};
use whereabouts_core::verbs::{CheckRequest, GcRequest, StatusRequest};

/// An invocation and its machine.
pub(super) struct Sample {
    pub(super) variables: BTreeMap<String, OsString>,
    pub(super) config: Value,
    pub(super) machine: FakeMachine,
}

impl Sample {
    /// A valid invocation of `verb` without a range.
    pub(super) fn of(verb: &str) -> Self {
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/run/netns/c1"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin"),
        ];
        Self {
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.into()))
                .into(),
            config: json!({
                "cniVersion": "1.1.0",
                "name": "net",
                "type": "macvlan",
                "ipam": {"type": "whereabouts", "etcd_host": "etcd"},
            }),
            machine: FakeMachine::default().named("node-1"),
        }
    }

    /// The sample with these keys of `ipam`. `null` removes a key.
    pub(super) fn ipam(self, keys: Value) -> Self {
        self.keys("/ipam", keys)
    }

    /// The sample with these keys of the config.
    pub(super) fn config(self, keys: Value) -> Self {
        self.keys("", keys)
    }

    fn keys(mut self, pointer: &str, keys: Value) -> Self {
        let Value::Object(keys) = keys else {
            panic!("keys are an object")
        };
        let object = self
            .config
            .pointer_mut(pointer)
            .and_then(Value::as_object_mut);
        object.expect("an object").extend(keys);
        self
    }

    /// The sample with a variable.
    pub(super) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// The outcome of the sample with its own config.
    pub(super) fn parse(&self) -> Result<Outcome, Box<Rejected>> {
        self.parse_stdin(Ok(self.config.to_string().into_bytes()))
    }

    /// The outcome of the sample with another stdin.
    pub(super) fn parse_stdin(
        &self,
        stdin: Result<Vec<u8>, StdinError>,
    ) -> Result<Outcome, Box<Rejected>> {
        let invocation = Invocation {
            variables: self.variables.clone(),
            program: "whereabouts".to_owned(),
            stdin,
        };
        parse(&invocation, &self.machine)
    }

    /// The verb and its request.
    pub(super) fn parsed(&self) -> Result<Parsed, RequestError> {
        match self.parse() {
            Ok(Outcome::Verb(parsed)) => Ok(parsed),
            Ok(other) => panic!("not a verb: {other:?}"),
            Err(rejected) => Err(rejected.error),
        }
    }

    pub(super) fn add(&self) -> Result<AddRequest, RequestError> {
        self.parsed().map(|parsed| match parsed.request {
            Request::Add(add) => add,
            other => panic!("no ADD: {other:?}"),
        })
    }

    pub(super) fn del(&self) -> Result<DelRequest, RequestError> {
        self.parsed().map(|parsed| match parsed.request {
            Request::Del(del) => del,
            other => panic!("no DEL: {other:?}"),
        })
    }

    pub(super) fn check(&self) -> Result<CheckRequest, RequestError> {
        self.parsed().map(|parsed| match parsed.request {
            Request::Check(check) => check,
            other => panic!("no CHECK: {other:?}"),
        })
    }

    pub(super) fn gc(&self) -> Result<GcRequest, RequestError> {
        self.parsed().map(|parsed| match parsed.request {
            Request::Gc(gc) => gc,
            other => panic!("no GC: {other:?}"),
        })
    }

    pub(super) fn status(&self) -> Result<StatusRequest, RequestError> {
        self.parsed().map(|parsed| match parsed.request {
            Request::Status(status) => status,
            other => panic!("no STATUS: {other:?}"),
        })
    }

    /// Its remarks, one a line.
    pub(super) fn remarks(&self) -> String {
        let parsed = self
            .parsed()
            .unwrap_or_else(|error| panic!("{}", error.details()));
        let show = |remark: &Remark| format!("{:?}: {}", remark.level, remark.text);
        parsed
            .remarks
            .iter()
            .map(show)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Wants as text: `<cidr> <intervals>`, or `<cidr> =<address>`.
pub(super) fn show(wants: &[Want]) -> String {
    let show = |want: &Want| {
        let choice = match want.choice {
            Choice::Exactly(address) => format!("={address}"),
            Choice::Lowest => want
                .usable
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        };
        format!("{} {choice}", want.range.cidr)
    };
    wants.iter().map(show).collect::<Vec<_>>().join("; ")
}

/// Asserts that a result is this value, or an error with this code and this part in its details.
pub(super) fn assert_found(
    found: Result<String, RequestError>,
    expected: Result<&str, (u32, &str)>,
) {
    match (found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected),
        (Err(error), Err((code, part))) => {
            let details = error.details();
            assert!(details.contains(part), "{details}\nshould have\n{part}");
            assert_eq!(error.code(), code, "{details}");
        }
        (Err(error), Ok(expected)) => panic!("{}\nshould be\n{expected}", error.details()),
        (Ok(found), Err(expected)) => panic!("{found}\nshould be\n{expected:?}"),
    }
}
