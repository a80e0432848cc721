//! The reasons why an invocation is not a valid request. Each error names the key and the value,
//! and has a CNI code.
//!
//! An error shows a bounded and escaped part of a value. It never shows a secret.

use std::error::Error;
use std::fmt;
use std::io;

use ipnet::IpNet;

use super::CniVersion;
use crate::invocation::StdinError;
use whereabouts_core::address::{Address, Family, RangeError};
use whereabouts_core::limits;

/// The reason why an invocation is not a valid request. Keys are paths such as
/// `ipam.ipRanges[0].range`.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The version of the config is not supported.
    #[error(
        "cniVersion {version} is not supported; supported are {}",
        CniVersion::list()
    )]
    UnsupportedVersion {
        /// The version of the config.
        version: Shown,
    },
    /// The version of the config does not have the verb.
    #[error(
        "{verb} needs cniVersion {least} or later, the config has {version}; supported are {}",
        CniVersion::list()
    )]
    VerbNotInVersion {
        /// The verb.
        verb: &'static str,
        /// The first version with the verb.
        least: CniVersion,
        /// The version of the config.
        version: CniVersion,
    },
    /// Some variables of the verb are not set.
    #[error("{verb} needs {}: not set", names.join(", "))]
    MissingVariables {
        /// The verb.
        verb: &'static str,
        /// All missing variables.
        names: Vec<&'static str>,
    },
    /// A variable or a key of `CNI_ARGS` has an invalid value.
    #[error("{name}: {value} {reason}")]
    Variable {
        /// The variable, and the key if the variable is `CNI_ARGS`.
        name: String,
        /// The value.
        value: Shown,
        /// The defect, as a predicate.
        reason: String,
    },
    /// Stdin cannot be used.
    #[error("stdin")]
    Stdin(#[source] StdinError),
    /// Stdin or the flat file is not JSON.
    #[error("{origin} is not JSON")]
    Json {
        /// `stdin`, or the path of a file.
        origin: String,
        /// The place and the reason.
        #[source]
        source: serde_json::Error,
    },
    /// Stdin or the flat file is JSON, but not an object.
    #[error("{origin}: expected an object, found {found}")]
    NotAnObject {
        /// `stdin`, or the path of a file.
        origin: String,
        /// The type that was found.
        found: String,
    },
    /// A necessary key is missing.
    #[error("{key} is missing: {reason}")]
    MissingKey {
        /// The key.
        key: String,
        /// The reason why it is necessary.
        reason: String,
    },
    /// A key has a value of the wrong type.
    #[error("{key}: expected {expected}, found {found}")]
    WrongType {
        /// The key.
        key: String,
        /// The right type.
        expected: &'static str,
        /// The type that was found. A short value that is no secret is shown too.
        found: String,
    },
    /// A key occurs twice in one object.
    #[error("{key} is given twice")]
    RepeatedKey {
        /// The key.
        key: String,
    },
    /// A key is unknown, but resembles a known one.
    #[error("{key} is unknown; is {known} meant?")]
    Misspelt {
        /// The key.
        key: Shown,
        /// The known key.
        known: &'static str,
    },
    /// A key belongs to `host-local`.
    #[error("{key} is a key of host-local; here it is {known}")]
    OfHostLocal {
        /// The key.
        key: String,
        /// The key of this plugin with the same meaning.
        known: &'static str,
    },
    /// A network configuration has a key that belongs to the node.
    #[error("{key} cannot be set in a network configuration: {reason}")]
    NotForNetworks {
        /// The key.
        key: String,
        /// The reason, and the way to allow the key.
        reason: String,
    },
    /// Two keys exclude each other.
    #[error("{key} and {other} cannot be given together")]
    Exclusive {
        /// The first key.
        key: String,
        /// The second key.
        other: String,
    },
    /// Two keys of the same meaning have different values.
    #[error("{key} and {other} differ")]
    Differ {
        /// The first key.
        key: String,
        /// The second key.
        other: String,
    },
    /// A key has an invalid value.
    #[error("{key}: {value} {reason}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: Shown,
        /// The defect, as a predicate.
        reason: String,
    },
    /// A key has an invalid value that must not be shown.
    #[error("{key}: {reason}")]
    HiddenValue {
        /// The key.
        key: String,
        /// The defect.
        reason: String,
    },
    /// A range is invalid.
    #[error("{key}: {value} is no range")]
    Range {
        /// The key.
        key: String,
        /// The value.
        value: Shown,
        /// The cause.
        #[source]
        source: Box<RangeError>,
    },
    /// Two ranges of one config have addresses in common.
    #[error(
        "{first} ({first_cidr}) and {second} ({second_cidr}) overlap: both could give {shared}"
    )]
    Overlap {
        /// The key of the first range.
        first: String,
        /// The CIDR of the first range.
        first_cidr: IpNet,
        /// The key of the second range.
        second: String,
        /// The CIDR of the second range.
        second_cidr: IpNet,
        /// An address of both ranges.
        shared: Address,
    },
    /// One address is requested twice.
    #[error("{address} is requested twice, by {first} and by {second}")]
    AddressTwice {
        /// The address.
        address: Address,
        /// The first key that requests it.
        first: String,
        /// The second key that requests it.
        second: String,
    },
    /// A key has more items than its bound.
    #[error("{key}: {count} are too many, at most {most} are possible")]
    TooMany {
        /// The key.
        key: String,
        /// The number of items.
        count: usize,
        /// The bound.
        most: usize,
    },
    /// A result of this version cannot hold that many addresses.
    #[error(
        "cniVersion {version}: a result has one IPv{} address at most, but the config requests {count}",
        family.digit()
    )]
    FamilyTwice {
        /// The version of the config.
        version: CniVersion,
        /// The family.
        family: Family,
        /// The number of requested addresses of the family.
        count: usize,
    },
    /// A file that the config names cannot be read.
    #[error("{key}: cannot read {path}")]
    File {
        /// The key.
        key: String,
        /// The path of the file.
        path: Shown,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl RequestError {
    /// The error of a variable or a key of `CNI_ARGS` whose value has the defect `reason`.
    pub(super) fn variable(name: &str, value: &str, reason: impl fmt::Display) -> Self {
        Self::Variable {
            name: name.to_owned(),
            value: Shown::new(value),
            reason: reason.to_string(),
        }
    }

    /// The error's code in the CNI specification (1.1.0, "Error").
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

    /// The kind of the error in a few words: `msg` of a CNI error.
    pub fn summary(&self) -> &'static str {
        match self.code() {
            1 => "incompatible CNI version",
            4 => "invalid environment",
            5 => "cannot read the network configuration",
            6 => "cannot decode the network configuration",
            _ => "invalid network configuration",
        }
    }

    /// The error and its causes in one line: `details` of a CNI error.
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

/// A value for errors and log lines: quoted, with control characters escaped, and cut after
/// [`limits::SHOWN_CHARACTERS`].
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// The shown form of `text`.
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
