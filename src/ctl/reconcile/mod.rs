//! `reconcile` and `controller`: by the word of the API server, claims of pods that cannot live any more are released, and
//! durable owners that no StatefulSet wants end.
//!
//! ```text
//! etcd --all records--> round --candidates--> API server --look--> judge --> release, guarded by the revision
//!                        ^                                           `----> Event, log, metric
//!          cache of pods-'
//! ```
//!
//! The controller also keeps the [statements of networks](networks) in etcd.

mod controller;
pub(crate) mod dead_bits;
mod http;
mod metrics;
mod networks;
mod once;
mod records;
mod report;
mod round;
#[cfg(test)]
mod tests;

use std::time::Duration;

use clap::Args;
use whereabouts_reconcile::Rules;

use round::AllRules;

pub(crate) use controller::{ControllerOptions, controller};
pub(crate) use once::{ReconcileOptions, reconcile};

/// How long evidence takes.
#[derive(Args)]
pub(crate) struct EvidenceOptions {
    /// The time between two answers that are evidence together. Let it be longer than pods take to end.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = grace)]
    grace: Duration,
    /// How long no StatefulSet may have wanted the pod of a durable owner before the owner ends, and no pod may have had its
    /// name. A StatefulSet that is made again within this time has its addresses again.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = grace)]
    owner_grace: Duration,
}

impl EvidenceOptions {
    /// The rules of runs that are so long.
    fn rules(&self, run: Duration, force: bool) -> AllRules {
        let rules = |grace| Rules { grace, run, force };
        AllRules {
            claims: rules(self.grace),
            owners: rules(self.owner_grace),
        }
    }
}

/// A grace that two answers of one moment do not make.
fn grace(text: &str) -> Result<Duration, String> {
    let grace = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if grace < LEAST_GRACE {
        return Err(format!("it is shorter than {LEAST_GRACE:?}"));
    }
    Ok(grace)
}

/// A kubelet that has been deleted from the API server by mistake registers again within this time.
const LEAST_GRACE: Duration = Duration::from_secs(30);
