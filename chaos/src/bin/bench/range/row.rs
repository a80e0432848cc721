//! The figures of `fill`, and the fills.

use std::fmt;

use clap::Args;
use whereabouts_chaos::cluster::StoreSize;
use whereabouts_core::address::Family;

use crate::measure::Cost;

/// How `fill` is to be run.
#[derive(Args)]
pub(crate) struct Options {
    /// The numbers of claims at which to measure, in growing order.
    #[arg(
        long,
        value_name = "N,N,…",
        value_delimiter = ',',
        default_values_t = [0, 1_000, 10_000, 100_000, 1_000_000]
    )]
    pub(crate) claims: Vec<u64>,
    /// Operations of each kind at each fill in a client that stays connected.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) operations: u64,
    /// Operations of each kind at each fill by executing the plugin.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) processes: u64,
}

/// How an operation is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In one process with one connection, by the library.
    Client,
    /// As a process each, by the plugin.
    Process,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Process => "process",
        })
    }
}

/// The figures at one fill, one way.
pub(crate) struct Row {
    pub(crate) family: Family,
    pub(crate) range: String,
    pub(crate) claims: u64,
    pub(crate) way: Way,
    pub(crate) add: Cost,
    pub(crate) del: Cost,
    /// The same DELs again: of attachments that are not known any more.
    pub(crate) del_again: Cost,
    pub(crate) store: StoreSize,
}
