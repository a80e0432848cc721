//! The identity of a cluster. It tells apart two clusters on one etcd.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::limits;

/// The identity of a cluster. It protects the claims of another cluster on the same etcd. Names of
/// nodes and missing network namespaces prove nothing about another cluster's claims.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(String);

impl Identity {
    /// The identity, if `text` is a valid one. Otherwise the reason, as a predicate: "is empty".
    pub fn new(text: &str) -> Result<Self, &'static str> {
        check_plain(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The identity that is made of a file that only one cluster has. The hash covers the first
    /// certificate of the file (PEM, RFC 7468), or the whole file if it has none. So a bundle that
    /// gets a further authority keeps its identity.
    pub fn of_file(content: &[u8]) -> Self {
        let text = String::from_utf8_lossy(content);
        let certificate = text
            .split_once("-----BEGIN CERTIFICATE-----")
            .and_then(|(_, rest)| rest.split_once("-----END CERTIFICATE-----"));
        let part = certificate.map_or(&*text, |(certificate, _)| certificate);
        // The same certificate may have other line ends and other line lengths.
        let plain: String = part.split_whitespace().collect();
        let hash = Sha256::digest(plain);
        let shortened = hash.iter().take(limits::IDENTITY_HASH_BYTES);
        let digit = |half| char::from_digit(u32::from(half), 16).expect("half a byte is a digit");
        Self(
            shortened
                .flat_map(|byte| [byte >> 4, byte & 15].map(digit))
                .collect(),
        )
    }

    /// Whether it has the form of an identity that is made of a file: sixteen hexadecimal digits. A person gives names.
    pub fn is_of_file(&self) -> bool {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        self.0.len() == 2 * limits::IDENTITY_HASH_BYTES && self.0.bytes().all(is_digit)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` is a valid name: not empty, at most [`limits::NAME_BYTES`], no control
/// characters.
pub fn check_plain(text: &str) -> Result<(), &'static str> {
    const { assert!(limits::NAME_BYTES == 253) }
    match text {
        "" => Err("is empty"),
        _ if text.len() > limits::NAME_BYTES => Err("has more than 253 bytes"),
        _ if text.chars().any(char::is_control) => Err("has control characters"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nTUlJ\nQw==\n-----END CERTIFICATE-----\n";
    const OTHER: &str = "-----BEGIN CERTIFICATE-----\nTUlJ\nRA==\n-----END CERTIFICATE-----\n";

    fn check(content: &str, same: bool) {
        let found = Identity::of_file(content.as_bytes());
        assert_eq!(
            found == Identity::of_file(ONE.as_bytes()),
            same,
            "{content}"
        );
        assert_eq!(found.as_str().len(), 16);
        assert!(found.is_of_file());
        assert_eq!(Identity::new(found.as_str()), Ok(found));
    }

    #[test]
    fn a_file_tells_the_cluster_by_its_first_certificate_however_it_is_written() {
        check(ONE, true);
        check(&ONE.replace('\n', "\r\n"), true);
        check(&format!("# the cluster's\n{ONE}"), true);
        check(&ONE.replace("TUlJ\nQw==", "TUlJQw=="), true);
        check(&format!("{ONE}{OTHER}"), true);
        check(OTHER, false);
        check(&format!("{OTHER}{ONE}"), false);
        check("", false);
        check("a uuid", false);
    }

    #[test]
    fn a_name_is_not_of_a_file() {
        for name in [
            "prod",
            "0123456789abcde",
            "0123456789ABCDEF",
            "0123456789abcdef0",
        ] {
            assert!(!Identity::new(name).expect("a name").is_of_file(), "{name}");
        }
    }

    #[test]
    fn a_file_without_a_certificate_tells_by_all_of_it() {
        let of = |text: &str| Identity::of_file(text.as_bytes());
        assert_eq!(of("4c4c4544-0042\n"), of("4c4c4544-0042"));
        assert_ne!(of("4c4c4544-0042"), of("4c4c4544-0043"));
    }
}
