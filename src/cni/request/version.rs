//! The supported versions of the CNI specification.

use std::fmt;

use super::error::{RequestError, Shown};
use super::json::Object;

/// A supported version of the CNI specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CniVersion {
    /// 0.1.0, also for a config without a version.
    V0_1_0,
    /// 0.2.0
    V0_2_0,
    /// 0.3.0
    V0_3_0,
    /// 0.3.1
    V0_3_1,
    /// 0.4.0, the first with CHECK.
    V0_4_0,
    /// 1.0.0
    V1_0_0,
    /// 1.1.0, the first with GC and STATUS.
    V1_1_0,
}

impl CniVersion {
    /// All supported versions, oldest first.
    pub const ALL: [Self; 7] = [
        Self::V0_1_0,
        Self::V0_2_0,
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];

    /// The newest supported version.
    pub const NEWEST: Self = Self::V1_1_0;

    /// The version as in `cniVersion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// All supported versions, for people.
    pub(super) fn list() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// Takes `cniVersion` out of a config. A config without it has version 0.1.0, as in libcni.
    pub(super) fn take(config: &mut Object) -> Result<Self, RequestError> {
        let Some(text) = config.text("cniVersion")?.map(|found| found.text) else {
            return Ok(Self::V0_1_0);
        };
        let known = Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text);
        match known {
            Some(version) => Ok(version),
            None if text.is_empty() => Ok(Self::V0_1_0),
            None => Err(RequestError::UnsupportedVersion {
                version: Shown::new(&text),
            }),
        }
    }
}

impl fmt::Display for CniVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
