//! Many claims at once, by the allocator's own batches in this process.

use std::collections::BTreeSet;
use std::time::Duration;

use whereabouts_clock::Chance;
use whereabouts_core::address::{Address, Name, Range};
use whereabouts_core::allocator::{Budget, Demand, Reach, Verdict, decide};
use whereabouts_core::claim::{Ask, Attachment, Owner, Want};
use whereabouts_core::limits;
use whereabouts_etcd::SystemClock;
use whereabouts_protocol::session::{Commit, Session};
use whereabouts_store::snapshot::Query;

use super::{Pod, Site};
use crate::support::runtime;

/// Demands that are decided at once, if they fit into a transaction.
const BATCH: usize = 64;

/// Longest time that filling may take.
const BOUND: Duration = Duration::from_mins(3);

/// The attachment that is the `number`th of a fill, as a runtime would name it.
pub(crate) fn filler(number: usize) -> Pod {
    Pod::new(&format!("filler{number}"))
}

/// Gives so many attachments the lowest addresses of `range`.
pub(crate) fn fill(site: &Site, range: &Range, count: usize) {
    take(site, vec![Want::lowest(range); count]);
}

/// Gives one attachment each of these addresses of `range`.
pub(crate) fn fill_with(site: &Site, range: &Range, addresses: impl Iterator<Item = Address>) {
    let want = |address| Want::exactly(range, address).expect("it can be had");
    take(site, addresses.map(want).collect());
}

fn take(site: &Site, wants: Vec<Want>) {
    let demands = wants.into_iter().enumerate().map(|(number, want)| {
        let Pod {
            container,
            interface,
            ..
        } = filler(number);
        let attachment = Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(&container).expect("a name"),
            interface,
        };
        Demand::Take(Ask {
            attachment,
            wants: vec![want],
            owner: Owner::default(),
            may_take_over: true,
        })
    });
    let demands: Vec<Demand> = demands.collect();
    runtime().block_on(async {
        tokio::time::timeout(BOUND, serve(site, &demands))
            .await
            .expect("filling ends within its bound");
    });
}

/// Commits batch after batch; each returns what the next is decided on.
async fn serve(site: &Site, mut demands: &[Demand]) {
    let (store, keys, chance) = (site.store(), site.keys(), Chance::new(1));
    let session = Session::new(&store, &SystemClock, &chance, &keys, BOUND);
    let queries = |demands: &[Demand]| -> BTreeSet<Query> {
        let batch = demands.iter().take(BATCH);
        batch
            .flat_map(|demand| demand.block_questions(Reach::Batch))
            .map(Query::Blocks)
            .collect()
    };
    let first: Vec<Query> = queries(demands).into_iter().collect();
    let mut snapshot = session.snapshot(&first).await.expect("it reads");
    while !demands.is_empty() {
        let batch = &demands[..BATCH.min(demands.len())];
        // Which ones the next batch begins with is not known yet: those of both.
        let next = queries(&demands[demands.len().min(BATCH / 2)..]);
        let next: BTreeSet<Query> = next.into_iter().chain(queries(demands)).collect();
        let budget = Budget {
            compares: limits::TRANSACTION_OPERATIONS,
            operations: limits::TRANSACTION_OPERATIONS - next.len(),
        };
        let plan = decide(snapshot.facts(), batch, budget);
        if plan.verdicts.is_empty() {
            let missing: Vec<Query> = plan.missing.into_iter().map(Query::Blocks).collect();
            let extended = session.extend(&mut snapshot, &missing).await;
            extended.expect("it reads more");
            continue;
        }
        for verdict in &plan.verdicts {
            assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
        }
        let mut draft = session.draft();
        draft.plan(&plan, Duration::ZERO);
        draft.read_anyway(next);
        let committed = session.commit(draft).await.expect("it commits");
        let Commit::Done(after) = committed else {
            panic!("nobody else is at it: {committed:?}");
        };
        snapshot = after;
        demands = &demands[plan.verdicts.len()..];
    }
}
