//! Why an invocation is no request: each error names the key and the value, and has its CNI code.
//!
//! What is shown of a value is bounded and escaped, and a secret is never shown.

use std::error::Error;
use std::fmt;
use std::io;

use ipnet::IpNet;

use super::CniVersion;
use crate::invocation::StdinError;
use whereabouts_core::address::{Address, Family, RangeError};
use whereabouts_core::limits;

/// Why an invocation is no request. Keys are paths such as `ipam.ipRanges[0].range`.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The config's version is none of ours.
    #[error(
        "cniVersion {version} is not supported; supported are {}",
        CniVersion::list()
    )]
    UnsupportedVersion {
        /// The config's.
        version: Shown,
    },
    /// The config's version does not have the verb.
    #[error(
        "{verb} needs cniVersion {least} or later, the config has {version}; supported are {}",
        CniVersion::list()
    )]
    VerbNotInVersion {
        /// The verb.
        verb: &'static str,
        /// The first version that has it.
        least: CniVersion,
        /// The config's.
        version: CniVersion,
    },
    /// The verb needs variables that are not set.
    #[error("{verb} needs {}: not set", names.join(", "))]
    MissingVariables {
        /// The verb.
        verb: &'static str,
        /// All that are missing.
        names: Vec<&'static str>,
    },
    /// A variable, or a key of `CNI_ARGS`, has a value that it cannot have.
    #[error("{name}: {value} {reason}")]
    Variable {
        /// The variable, with the key of `CNI_ARGS` if it is one.
        name: String,
        /// Its value.
        value: Shown,
        /// What is wrong.
        reason: String,
    },
    /// Stdin was not taken.
    #[error("stdin")]
    Stdin(#[source] StdinError),
    /// Stdin or the flat file is not JSON.
    #[error("{origin} is not JSON")]
    Json {
        /// `stdin`, or a file's path.
        origin: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// Stdin or the flat file is JSON, but no object.
    #[error("{origin}: expected an object, found {found}")]
    NotAnObject {
        /// `stdin`, or a file's path.
        origin: String,
        /// What it is.
        found: String,
    },
    /// A key that is needed is not there.
    #[error("{key} is missing: {reason}")]
    MissingKey {
        /// The key.
        key: String,
        /// What needs it.
        reason: String,
    },
    /// A key has a value of another type.
    #[error("{key}: expected {expected}, found {found}")]
    WrongType {
        /// The key.
        key: String,
        /// The type that it has.
        expected: &'static str,
        /// The type that was found, and the value if it is short and no secret.
        found: String,
    },
    /// A key stands twice in one object.
    #[error("{key} is given twice")]
    RepeatedKey {
        /// The key.
        key: String,
    },
    /// A key is unknown, but almost a known one.
    #[error("{key} is unknown; is {known} meant?")]
    Misspelt {
        /// The key.
        key: Shown,
        /// The known key that it resembles.
        known: &'static str,
    },
    /// A key is one of `host-local`.
    #[error("{key} is a key of host-local; here it is {known}")]
    OfHostLocal {
        /// The key.
        key: String,
        /// The key that means the same.
        known: &'static str,
    },
    /// A key that is the node's stands in a network configuration.
    #[error("{key} is not for a network configuration: {reason}")]
    NotForNetworks {
        /// The key.
        key: String,
        /// Why, and what allows it.
        reason: String,
    },
    /// Two keys that exclude each other.
    #[error("{key} and {other} cannot be given together")]
    Exclusive {
        /// One.
        key: String,
        /// The second key.
        other: String,
    },
    /// Two keys that mean the same, with different values.
    #[error("{key} and {other} differ")]
    Differ {
        /// One.
        key: String,
        /// The second key.
        other: String,
    },
    /// A key has a value that it cannot have.
    #[error("{key}: {value} {reason}")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: Shown,
        /// What is wrong.
        reason: String,
    },
    /// A key has a value that it cannot have, and which is not for everybody's eyes.
    #[error("{key}: {reason}")]
    HiddenValue {
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A range makes no sense.
    #[error("{key}: {value} is no range")]
    Range {
        /// The key.
        key: String,
        /// Its value.
        value: Shown,
        /// Why.
        #[source]
        source: Box<RangeError>,
    },
    /// Two ranges of one config have addresses in common.
    #[error(
        "{first} ({first_cidr}) and {second} ({second_cidr}) overlap: both could give {shared}"
    )]
    Overlap {
        /// The key of one.
        first: String,
        /// Its CIDR.
        first_cidr: IpNet,
        /// The key of the other.
        second: String,
        /// Its CIDR.
        second_cidr: IpNet,
        /// An address of both.
        shared: Address,
    },
    /// One address is asked for twice.
    #[error("{address} is asked for twice, by {first} and by {second}")]
    AddressTwice {
        /// The address.
        address: Address,
        /// A key that asks for it.
        first: String,
        /// Another.
        second: String,
    },
    /// More of something than its bound.
    #[error("{key}: {count} are too many, at most {most} are possible")]
    TooMany {
        /// The key.
        key: String,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A result of this version has no place for that many addresses.
    #[error(
        "cniVersion {version}: a result has one IPv{} address at most, the config asks for {count}",
        family.digit()
    )]
    FamilyTwice {
        /// The config's version.
        version: CniVersion,
        /// The family.
        family: Family,
        /// How many addresses of it are asked for.
        count: usize,
    },
    /// A file that the config points at cannot be read.
    #[error("{key}: cannot read {path}")]
    File {
        /// The key.
        key: String,
        /// The file.
        path: Shown,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl RequestError {
    /// That a variable, or a key of `CNI_ARGS`, has a value that is `reason`.
    pub(super) fn variable(name: &str, value: &str, reason: impl fmt::Display) -> Self {
        Self::Variable {
            name: name.to_owned(),
            value: Shown::new(value),
            reason: reason.to_string(),
        }
    }

    /// The code of the CNI specification (1.1.0, "Error") for it.
    pub fn code(&self) -> u32 {
        match self {
            Self::UnsupportedVersion { .. } | Self::VerbNotInVersion { .. } => 1,
            Self::MissingVariables { .. } | Self::Variable { .. } => 4,
            Self::Stdin(_) => 5,
            Self::Json { .. } | Self::NotAnObject { .. } => 6,
            Self::MissingKey { .. }
            | Self::WrongType { .. }
            | Self::RepeatedKey { .. }
            | Self::Misspelt { .. }
            | Self::OfHostLocal { .. }
            | Self::NotForNetworks { .. }
            | Self::Exclusive { .. }
            | Self::Differ { .. }
            | Self::Value { .. }
            | Self::HiddenValue { .. }
            | Self::Range { .. }
            | Self::Overlap { .. }
            | Self::AddressTwice { .. }
            | Self::TooMany { .. }
            | Self::FamilyTwice { .. }
            | Self::File { .. } => 7,
        }
    }

    /// What kind of error it is, in a few words: `msg` of a CNI error.
    pub fn summary(&self) -> &'static str {
        match self.code() {
            1 => "incompatible CNI version",
            4 => "invalid environment",
            5 => "cannot read the network configuration",
            6 => "cannot decode the network configuration",
            _ => "invalid network configuration",
        }
    }

    /// It and its causes in one line: `details` of a CNI error.
    pub fn details(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

/// A value as errors and log lines show it: quoted, control characters escaped, and cut after
/// [`limits::SHOWN_CHARACTERS`].
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// `text`, fit to be shown.
    pub fn new(text: &str) -> Self {
        match text.char_indices().nth(limits::SHOWN_CHARACTERS) {
            None => Self(format!("{text:?}")),
            Some((end, _)) => Self(format!("{:?}… ({} bytes)", &text[..end], text.len())),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_quoted_escaped_and_bounded() {
        assert_eq!(Shown::new("a\nb\"").to_string(), r#""a\nb\"""#);
        let exact = "ä".repeat(limits::SHOWN_CHARACTERS);
        assert_eq!(Shown::new(&exact).to_string(), format!("\"{exact}\""));
        let long = "ä".repeat(10_000);
        assert_eq!(
            Shown::new(&long).to_string(),
            format!("\"{exact}\"… (20000 bytes)")
        );
    }

    #[test]
    fn details_tell_the_causes_too() {
        let error = RequestError::File {
            key: "ipam.etcd_key_file".to_owned(),
            path: Shown::new("/k"),
            source: io::ErrorKind::NotFound.into(),
        };
        let expected = r#"ipam.etcd_key_file: cannot read "/k": entity not found"#;
        assert_eq!(error.details(), expected);
    }
}
