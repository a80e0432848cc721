//! Names, and the pools that they name.

use std::fmt;

use ipnet::IpNet;

use crate::limits;

/// A network name or a container id. The CNI specification (1.1.0, "Parameters") allows
/// `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`. A name has at most [`limits::NAME_BYTES`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The reason why a text is not a [`Name`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text has more bytes than [`limits::NAME_BYTES`].
    #[error("has {0} bytes, more than {max}", max = limits::NAME_BYTES)]
    TooLong(usize),
    /// The text has a character that is not allowed at its place.
    #[error(
        "has the character {0:?}; allowed are letters, digits, '_', '.' and '-', a letter or digit first"
    )]
    Character(char),
}

impl Name {
    /// The name, if `text` is a valid one.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.len() > limits::NAME_BYTES {
            return Err(NameError::TooLong(text.len()));
        }
        let first = text.chars().next().ok_or(NameError::Empty)?;
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        match text.chars().find(|c| !inner(*c)) {
            Some(c) => Err(NameError::Character(c)),
            None if first.is_ascii_alphanumeric() => Ok(Self(text.to_owned())),
            None => Err(NameError::Character(first)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address space in which each address is given at most once.
///
/// `network_name` names a pool. All configs without this key share one pool. With
/// `enable_overlapping_ranges: false`, each CIDR is a pool of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pool {
    /// `network_name`; `None` is the shared pool.
    pub name: Option<String>,
    /// The one CIDR of the pool, if ranges may not overlap.
    pub only: Option<IpNet>,
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or("(shared)"))?;
        match self.only {
            Some(cidr) => write!(f, " of {cidr} alone"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_specification() {
        for good in ["a", "9", "mynet", "a_b.c-d", "0123456789abcdef"] {
            assert_eq!(Name::new(good).expect(good).as_str(), good);
        }
        let bad = [
            ("", NameError::Empty),
            (".a", NameError::Character('.')),
            ("-a", NameError::Character('-')),
            ("a/b", NameError::Character('/')),
            ("..", NameError::Character('.')),
            ("a\nb", NameError::Character('\n')),
            ("ä", NameError::Character('ä')),
        ];
        for (text, error) in bad {
            assert_eq!(Name::new(text), Err(error), "{text:?}");
        }
        assert_eq!(
            Name::new(&"a".repeat(10_000)),
            Err(NameError::TooLong(10_000))
        );
    }
}
