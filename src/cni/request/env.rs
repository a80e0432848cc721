//! The environment: the verb, its variables, and its attachment.

use super::error::RequestError;
use super::{CniVersion, Name};
use crate::invocation::Invocation;
use whereabouts_core::claim::Attachment;
use whereabouts_core::escaped::is_hidden;
use whereabouts_core::limits;

/// A verb that needs a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Del,
    Check,
    Gc,
    Status,
}

/// The command in `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// No command: a person called the program.
    Nothing,
    /// VERSION, which needs no config and no datastore.
    Version,
    /// A verb that needs a config.
    Verb(Verb),
}

/// The variables that each verb needs (CNI 1.1.0, section 2). An IPAM plugin has no use for
/// `CNI_PATH`. So only GC requires it, because the specification does.
const NEEDED: [(&str, &[Verb]); 4] = [
    ("CNI_CONTAINERID", &[Verb::Add, Verb::Del, Verb::Check]),
    ("CNI_NETNS", &[Verb::Add, Verb::Check]),
    ("CNI_IFNAME", &[Verb::Add, Verb::Del, Verb::Check]),
    ("CNI_PATH", &[Verb::Gc]),
];

impl Verb {
    /// The verb as in `CNI_COMMAND`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
        }
    }

    /// Checks that configs of `version` have the verb.
    pub(super) fn check_version(self, version: CniVersion) -> Result<(), RequestError> {
        let least = match self {
            Self::Add | Self::Del => CniVersion::V0_1_0,
            Self::Check => CniVersion::V0_4_0,
            Self::Gc | Self::Status => CniVersion::V1_1_0,
        };
        if version >= least {
            return Ok(());
        }
        Err(RequestError::VerbNotInVersion {
            verb: self.as_str(),
            least,
            version,
        })
    }

    /// Checks that all variables of the verb are set.
    pub(super) fn check_variables(self, invocation: &Invocation) -> Result<(), RequestError> {
        let names: Vec<&'static str> = NEEDED
            .into_iter()
            .filter(|(name, verbs)| verbs.contains(&self) && invocation.variable(name).is_none())
            .map(|(name, _)| name)
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(RequestError::MissingVariables {
            verb: self.as_str(),
            names,
        })
    }
}

/// The command in `CNI_COMMAND`.
pub(super) fn command(invocation: &Invocation) -> Result<Command, RequestError> {
    let name = "CNI_COMMAND";
    let Some(value) = variable(invocation, name)? else {
        return Ok(Command::Nothing);
    };
    match value {
        "ADD" => Ok(Command::Verb(Verb::Add)),
        "DEL" => Ok(Command::Verb(Verb::Del)),
        "CHECK" => Ok(Command::Verb(Verb::Check)),
        "GC" => Ok(Command::Verb(Verb::Gc)),
        "STATUS" => Ok(Command::Verb(Verb::Status)),
        "VERSION" => Ok(Command::Version),
        _ => Err(RequestError::variable(
            name,
            value,
            "is no verb; verbs are ADD, DEL, CHECK, GC, STATUS and VERSION",
        )),
    }
}

/// The attachment of the verb.
pub(super) fn attachment(
    invocation: &Invocation,
    network: Name,
) -> Result<Attachment, RequestError> {
    let name = "CNI_CONTAINERID";
    let id = variable(invocation, name)?.unwrap_or_default();
    let container = Name::new(id).map_err(|error| RequestError::variable(name, id, error))?;
    let name = "CNI_IFNAME";
    let interface = variable(invocation, name)?.unwrap_or_default();
    check_interface(interface).map_err(|reason| RequestError::variable(name, interface, reason))?;
    Ok(Attachment {
        network,
        container,
        interface: interface.to_owned(),
    })
}

/// Checks that Linux accepts `name` as the name of an interface, like libcni's
/// `ValidateInterfaceName`.
pub fn check_interface(name: &str) -> Result<(), &'static str> {
    const { assert!(limits::INTERFACE_BYTES == 15) }
    match name {
        "" => Err("is empty"),
        "." | ".." => Err("is a directory"),
        _ if name.len() > limits::INTERFACE_BYTES => Err("has more than 15 bytes"),
        _ if name.contains(|c: char| matches!(c, '/' | ':') || c.is_whitespace()) => {
            Err("has a '/', a ':' or white space")
        }
        _ if name.contains(is_hidden) => Err("has control characters"),
        _ => Ok(()),
    }
}

/// `CNI_NETNS`, if it is set.
pub(super) fn netns(invocation: &Invocation) -> Result<Option<String>, RequestError> {
    let name = "CNI_NETNS";
    match variable(invocation, name)? {
        Some(path) if path.len() > limits::PATH_BYTES => {
            Err(RequestError::variable(name, path, "is too long"))
        }
        path => Ok(path.map(str::to_owned)),
    }
}

/// The text of a variable, if it is set.
pub(super) fn variable<'a>(
    invocation: &'a Invocation,
    name: &str,
) -> Result<Option<&'a str>, RequestError> {
    let Some(value) = invocation.variable(name) else {
        return Ok(None);
    };
    let not_text = || RequestError::variable(name, &value.to_string_lossy(), "is not UTF-8");
    value.to_str().ok_or_else(not_text).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn invocation<const N: usize>(variables: [(&str, &str); N]) -> Invocation {
        Invocation {
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.into()))
                .into(),
            program: String::new(),
            stdin: Ok(Vec::new()),
        }
    }

    fn check_id(container: &str, interface: &str, expected: Result<(), &str>) {
        let given = invocation([("CNI_CONTAINERID", container), ("CNI_IFNAME", interface)]);
        let found = attachment(&given, Name::new("net").expect("a name"));
        match (found, expected) {
            (Ok(found), Ok(())) => assert_eq!(found.interface, interface),
            (Err(error), Err(part)) => {
                assert_eq!(error.code(), 4);
                assert!(error.to_string().contains(part), "{error}");
                assert!(error.to_string().len() < 300, "{error}");
            }
            (found, _) => panic!("{container:?} {interface:?}: {found:?}"),
        }
    }

    #[test]
    fn a_container_id_with_slash_dots_newline_or_10000_bytes_is_code_4() {
        check_id("0123456789abcdef_.-", "eth0", Ok(()));
        check_id(
            "a/b",
            "eth0",
            Err("CNI_CONTAINERID: \"a/b\" has the character '/'"),
        );
        check_id("..", "eth0", Err("CNI_CONTAINERID: \"..\""));
        check_id("a\nb", "eth0", Err(r"has the character '\n'"));
        check_id(&"a".repeat(10_000), "eth0", Err("has 10000 bytes"));
    }

    #[test]
    fn an_interface_of_16_bytes_or_with_a_forbidden_character_is_code_4() {
        check_id("a", "fifteen-bytes-x", Ok(()));
        check_id(
            "a",
            "sixteen-bytes-xx",
            Err("CNI_IFNAME: \"sixteen-bytes-xx\" has more"),
        );
        for name in [".", "..", "a/b", "a:b", "a b", "a\tb", "a\u{a0}b"] {
            check_id("a", name, Err("CNI_IFNAME"));
        }
        for name in [
            "a\u{1b}[31mb",
            "a\u{7}",
            "a\u{7f}",
            "a\u{9b}b",
            "a\u{202e}b",
            "\u{2066}a",
        ] {
            check_id("a", name, Err("has control characters"));
        }
    }

    #[test]
    fn all_missing_variables_are_named_at_once() {
        let cases = [
            (
                Verb::Add,
                Some("ADD needs CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME: not set"),
            ),
            (
                Verb::Check,
                Some("CHECK needs CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME: not set"),
            ),
            (
                Verb::Del,
                Some("DEL needs CNI_CONTAINERID, CNI_IFNAME: not set"),
            ),
            (Verb::Gc, Some("GC needs CNI_PATH: not set")),
            (Verb::Status, None),
        ];
        for (verb, expected) in cases {
            let error = verb.check_variables(&invocation([("CNI_NETNS", "")])).err();
            assert_eq!(error.as_ref().map(ToString::to_string).as_deref(), expected);
            assert!(error.is_none_or(|error| error.code() == 4));
        }
    }

    #[test]
    fn an_unknown_verb_is_code_4_and_none_at_all_is_no_error() {
        for verb in ["add", "UPDATE", " ADD"] {
            let error = command(&invocation([("CNI_COMMAND", verb)])).expect_err(verb);
            assert_eq!(error.code(), 4);
            assert!(error.to_string().contains(verb));
        }
        for nothing in [invocation([]), invocation([("CNI_COMMAND", "")])] {
            assert_eq!(command(&nothing).expect("no error"), Command::Nothing);
        }
    }

    #[test]
    fn a_variable_that_is_not_utf_8_is_code_4() {
        let mut given = invocation([("CNI_CONTAINERID", "a")]);
        let bytes = OsString::from_vec(vec![b'e', 0xff]);
        given.variables.insert("CNI_IFNAME".to_owned(), bytes);
        let error = attachment(&given, Name::new("net").expect("a name")).expect_err("not UTF-8");
        assert_eq!(
            (error.code(), error.to_string().contains("is not UTF-8")),
            (4, true)
        );
    }

    #[test]
    fn check_needs_0_4_0_and_gc_and_status_need_1_1_0() {
        let since = |verb: Verb| {
            CniVersion::ALL
                .into_iter()
                .find(|version| verb.check_version(*version).is_ok())
        };
        assert_eq!(since(Verb::Add), Some(CniVersion::V0_1_0));
        assert_eq!(since(Verb::Del), Some(CniVersion::V0_1_0));
        assert_eq!(since(Verb::Check), Some(CniVersion::V0_4_0));
        assert_eq!(since(Verb::Gc), Some(CniVersion::V1_1_0));
        assert_eq!(since(Verb::Status), Some(CniVersion::V1_1_0));
        let error = Verb::Gc
            .check_version(CniVersion::V1_0_0)
            .expect_err("too old");
        assert_eq!(error.code(), 1);
        assert!(
            error
                .to_string()
                .contains("1.0.0; supported are 0.1.0, 0.2.0"),
            "{error}"
        );
    }
}
