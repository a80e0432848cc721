//! The setup of a cluster: how many members, of which program, and their protection.

use std::path::PathBuf;

use clap::ValueEnum;

/// How connections are protected, those of clients and those between members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Security {
    /// Not at all.
    Plain,
    /// TLS, in which both sides show a certificate.
    MutualTls,
}

impl Security {
    /// Of URLs.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::MutualTls => "https",
        }
    }
}

/// The properties of a cluster.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many members.
    pub members: usize,
    /// How connections are protected.
    pub security: Security,
    /// The program.
    pub etcd: PathBuf,
}
