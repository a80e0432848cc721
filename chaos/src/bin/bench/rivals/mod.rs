//! The rivals of the production code, on the same etcd and with the same clients: other ways to allocate, each
//! written as well as it can be, and etcd alone.

mod compare_retry;
mod global_lock;
mod lock_service;
mod range_lock;
mod raw;

use std::time::Duration;

use whereabouts_core::allocator::{Budget, Demand, Plan, Reach, Verdict, decide};
use whereabouts_core::limits;
use whereabouts_store::snapshot::{Query, Snapshot};

pub(crate) use compare_retry::CompareRetry;
pub(crate) use global_lock::GlobalLock;
pub(crate) use lock_service::LockService;
pub(crate) use range_lock::RangeLock;
pub(crate) use raw::{Raw, RawKind};

/// How long an operation may take, its waiting included.
const DEADLINE: Duration = Duration::from_mins(10);

/// Time to live of a lease, in seconds: it outlives all waiting, so that nobody keeps it alive.
const TTL_S: i64 = 120;

/// The claim of `demand` and the blocks that it is decided on.
fn reads_of(demand: &Demand) -> Vec<Query> {
    let claim = Query::Claim(demand.attachment().clone());
    let blocks = demand.block_questions(Reach::OneDemand);
    [claim]
        .into_iter()
        .chain(blocks.into_iter().map(Query::Blocks))
        .collect()
}

/// The writes for `demand`, which must be served by what was read. `None` if `demand` was served already.
fn plan_of(snapshot: &Snapshot, demand: &Demand) -> Result<Option<Plan>, String> {
    let budget = Budget {
        compares: limits::TRANSACTION_OPERATIONS,
        operations: limits::TRANSACTION_OPERATIONS,
    };
    let plan = decide(snapshot.facts(), std::slice::from_ref(demand), budget);
    match plan.verdicts.as_slice() {
        [Verdict::Granted(_)] => Ok(Some(plan)),
        // A commit whose reply was late.
        [Verdict::Held(_)] => Ok(None),
        other => Err(format!("not granted, but {other:?}")),
    }
}
