//! The registry in a file: each verb in one transaction.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::slice;
use std::time::Duration;

use rusqlite::Connection;
use tracing::info;
use whereabouts_core::address::Name;
use whereabouts_core::allocator::{
    self, Budget, Demand, Plan, Reach, Revision, Shortage, Stored, decide,
};
use whereabouts_core::claim::{Ask, Attachment, Claim, Held, RangeId, Want};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::failure::Failure;
use whereabouts_core::identity::Identity;
use whereabouts_core::limits;
use whereabouts_core::registry::{
    Ended, Found, Inspected, OwnerPage, Page, Registry, Released, Renewed, Scope, Taken, Waiting,
};
use whereabouts_store::View;
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::record;
use whereabouts_store::snapshot::{Query, Snapshot};
use whereabouts_store::txn_builder::TxnBuilder;

use crate::entries::{self, Committed};
use crate::file;
use crate::store::LocalStore;

/// A transaction of one process needs no room for others.
const UNLIMITED: Budget = Budget {
    compares: usize::MAX,
    operations: usize::MAX,
};

/// The registry in a file, for one operation.
#[derive(Debug)]
pub struct LocalRegistry<'a> {
    store: &'a LocalStore,
    keys: &'a Keys,
    identity: Option<&'a Identity>,
    /// The time for new claims, since the Unix epoch.
    now: Duration,
    /// The revision of the first read.
    begun: Cell<Option<Revision>>,
}

impl<'a> LocalRegistry<'a> {
    /// The registry in `store`, of the cluster `identity`, at `now` (from the Unix epoch).
    pub fn new(
        store: &'a LocalStore,
        keys: &'a Keys,
        identity: Option<&'a Identity>,
        now: Duration,
    ) -> Self {
        Self {
            store,
            keys,
            identity,
            now,
            begun: Cell::new(None),
        }
    }

    /// Reads `queries`, in the transaction of `connection`, if it is in one.
    fn snapshot(
        &self,
        connection: Option<&Connection>,
        queries: &[Query],
    ) -> Result<Snapshot, Failure> {
        let view = self.view(connection, queries)?;
        if self.begun.get().is_none() {
            self.begun.set(Some(view.revision));
        }
        Ok(Snapshot::new(self.keys, queries, view)?)
    }

    fn view(&self, connection: Option<&Connection>, queries: &[Query]) -> Result<View, Failure> {
        let reads: Vec<_> = queries.iter().map(|query| query.read(self.keys)).collect();
        self.store.view(connection, &reads)
    }

    /// Reads `queries` at one moment.
    fn look(&self, queries: &[Query]) -> Result<Snapshot, Failure> {
        self.store
            .reading(|connection| self.snapshot(connection, queries))
    }

    /// Decides `demand` and writes what that takes, in one transaction.
    fn perform(&self, demand: &Demand) -> Result<Plan, Failure> {
        self.store.writing(|connection| {
            if matches!(demand, Demand::Take(_)) {
                self.own(connection)?;
            }
            let plan = self.decide(connection, demand)?;
            if !plan.writes_nothing() {
                let mut draft = TxnBuilder::new(self.keys, self.identity);
                draft.plan(&plan, self.now);
                self.write(connection, draft)?;
            }
            Ok(plan)
        })
    }

    /// Decides `demand`, reading as much as that takes.
    fn decide(&self, connection: &Connection, demand: &Demand) -> Result<Plan, Failure> {
        let blocks = demand.block_questions(Reach::OneDemand);
        let blocks = blocks.into_iter().map(Query::Blocks);
        let of_pod = Query::of_pod(demand);
        let records = Query::records(demand);
        let queries: Vec<Query> = records.chain(of_pod).chain(blocks).collect();
        let mut snapshot = self.snapshot(Some(connection), &queries)?;
        if let Some(plan) = self.moved(connection, demand, &mut snapshot)? {
            return Ok(plan);
        }
        for _ in 0..limits::READS_PER_DECISION {
            let plan = decide(snapshot.facts(), slice::from_ref(demand), UNLIMITED);
            if !plan.verdicts.is_empty() {
                return Ok(plan);
            }
            let missing: Vec<Query> = plan.missing.into_iter().map(Query::Blocks).collect();
            let view = self.view(Some(connection), &missing)?;
            snapshot.extend(self.keys, &missing, view)?;
        }
        Err(Failure::Undecided(limits::READS_PER_DECISION))
    }

    /// The plan on `demand`, if that moves addresses from one record to another: an old container of the pod has them,
    /// or the pod's name keeps them.
    fn moved(
        &self,
        connection: &Connection,
        demand: &Demand,
        snapshot: &mut Snapshot,
    ) -> Result<Option<Plan>, Failure> {
        let own = snapshot.claim(demand.attachment());
        if demand.decided_by(own.expect("it was read")).is_some() {
            return Ok(None);
        }
        let begun = self.begun.get().expect("something was read");
        let known = snapshot.predecessors(demand, begun);
        for _ in 0..limits::READS_PER_DECISION {
            let unread = match known.plan(demand, snapshot.facts()) {
                Ok(plan) => return Ok(plan),
                Err(unread) => unread,
            };
            let claims: Vec<Query> = unread.into_iter().map(Query::Predecessor).collect();
            let view = self.view(Some(connection), &claims)?;
            snapshot.extend(self.keys, &claims, view)?;
        }
        Err(Failure::Undecided(limits::READS_PER_DECISION))
    }

    /// The plan that ends `owner`, which rests with `held`; `None` if its record has changed since the revision.
    fn plan_of_end(
        &self,
        connection: &Connection,
        owner: &DurableOwner,
        (held, modified): (&[Held], Revision),
    ) -> Result<Result<Plan, Option<Stored<OwnerState>>>, Failure> {
        let blocks = held.iter().flat_map(|held| Query::block(&held.slot()));
        let blocks: BTreeSet<Query> = blocks.collect();
        let queries = [Query::Owner(owner.clone())].into_iter().chain(blocks);
        let queries: Vec<Query> = queries.collect();
        let snapshot = self.snapshot(Some(connection), &queries)?;
        let now = snapshot.facts().owner(owner).expect("it was read");
        if now.map(|now| now.modified) != Some(modified) {
            return Ok(Err(now.cloned()));
        }
        let plan = allocator::end(snapshot.facts(), owner, held, modified);
        Ok(Ok(plan.expect("both keys of each block were read")))
    }

    /// Makes the writes of `draft`, whose conditions hold: all was read in the same transaction.
    fn write(&self, connection: &Connection, draft: TxnBuilder<'_>) -> Result<(), Failure> {
        let (txn, _, _) = draft.finish();
        let committed = entries::commit(connection, &txn);
        match committed.map_err(|error| self.store.failure(&error))? {
            Committed::Done => Ok(()),
            Committed::Conflict => {
                let contradiction = "answers a question in two ways in one transaction";
                Err(file::damaged(self.store.path(), &contradiction))
            }
            Committed::Refused(refused) => Err(refused.into()),
        }
    }

    /// Sees that the file is this cluster's. One without claims becomes so.
    fn own(&self, connection: &Connection) -> Result<(), Failure> {
        let claims = Query::Claims {
            network: None,
            after: None,
        };
        let snapshot = self.snapshot(Some(connection), &[Query::Cluster])?;
        match snapshot.check_owner(self.keys, self.identity) {
            Err(nobodys @ Failure::NobodysStore { .. }) => {
                let owners = Query::Owners {
                    network: None,
                    after: None,
                };
                let listed = self.snapshot(Some(connection), &[claims, owners])?;
                if !(listed.listed().is_empty() && listed.owners().owners.is_empty()) {
                    return Err(nobodys);
                }
                let identity = self.identity.expect("the store lacks what this one has");
                let mut draft = TxnBuilder::new(self.keys, None);
                draft.put(&Key::Cluster, record::encode_cluster(identity));
                self.write(connection, draft)
            }
            checked => checked,
        }
    }
}

fn verdict(plan: Plan) -> allocator::Verdict {
    let mut verdicts = plan.verdicts.into_iter();
    verdicts.next().expect("a full decision has a verdict")
}

impl Registry for LocalRegistry<'_> {
    /// Nothing waits: SQLite lets processes write one after the other.
    type Waiting = Infallible;

    /// The last key of a page.
    type Cursor = Vec<u8>;

    async fn take(&self, ask: &Ask) -> Result<Taken, Failure> {
        // Before the wait for others: what they write meanwhile is younger than this ADD.
        if self.begun.get().is_none() {
            self.look(&[])?;
        }
        let plan = self.perform(&Demand::Take(ask.clone()))?;
        Ok(Taken::of(verdict(plan)))
    }

    async fn renew(&self, ask: &Ask) -> Result<Renewed, Failure> {
        self.store.writing(|connection| {
            let queries = [Query::Claim(ask.attachment.clone()), Query::Cluster];
            let snapshot = self.snapshot(Some(connection), &queries)?;
            snapshot.check_owner(self.keys, self.identity)?;
            let claim = snapshot.claim(&ask.attachment).expect("it was read");
            let Some(claim) = claim.filter(|claim| ask.is_met_by(&claim.value)) else {
                return Ok(Renewed::Changed);
            };
            let renewed = Claim {
                owner: ask.owner.or(&claim.value.owner),
                ..ask.claim(claim.value.held.clone(), self.now)
            };
            let mut draft = TxnBuilder::new(self.keys, self.identity);
            draft.renew_claim(&ask.attachment, &claim.value, &renewed);
            self.write(connection, draft)?;
            info!(claim = %renewed, "renewed");
            Ok(Renewed::Done)
        })
    }

    async fn release(
        &self,
        attachment: &Attachment,
        claim: &Stored<Claim>,
    ) -> Result<Released, Failure> {
        let plan = self.perform(&Demand::release(attachment, claim))?;
        Ok(Released::of(verdict(plan)))
    }

    async fn find(
        &self,
        attachment: &Attachment,
        _: &[RangeId],
    ) -> Result<Found<Infallible>, Failure> {
        let nameless = attachment.without_interface();
        let queries = [attachment, &nameless].map(|whose| Query::Claim(whose.clone()));
        let snapshot = self.look(&queries)?;
        let claim_of = |whose| snapshot.claim(whose).expect("the claim was read").cloned();
        Ok(Found {
            claim: claim_of(attachment),
            nameless: claim_of(&nameless),
            adds: Vec::new(),
            dels: Vec::new(),
        })
    }

    async fn cancel(&self, _: &Attachment, waiting: &[Infallible]) -> Result<(), Failure> {
        match waiting.first() {
            None => Ok(()),
            Some(never) => match *never {},
        }
    }

    async fn cancel_abandoned(
        &self,
        _: &Name,
        _: Waiting,
        _: impl Fn(&Attachment, Option<&str>) -> bool,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn inspect(&self, attachment: &Attachment) -> Result<Option<Inspected>, Failure> {
        self.store.reading(|connection| {
            let own = [Query::Claim(attachment.clone())];
            let mut snapshot = self.snapshot(connection, &own)?;
            let claim = snapshot.claim(attachment).expect("the claim was read");
            let Some(claim) = claim.map(|claim| claim.value.clone()) else {
                return Ok(None);
            };
            let slots = claim.held.iter().map(Held::slot);
            let blocks: BTreeSet<Query> = slots.flat_map(|slot| Query::block(&slot)).collect();
            let blocks: Vec<Query> = blocks.into_iter().collect();
            let view = self.view(connection, &blocks)?;
            snapshot.extend(self.keys, &blocks, view)?;
            let unmarked = snapshot.facts().first_unmarked(&claim.held);
            Ok(Some(Inspected {
                unmarked: unmarked.map(|held| held.address),
                claim,
            }))
        })
    }

    async fn shortage(&self, wants: &[Want]) -> Result<Option<Shortage>, Failure> {
        let questions = allocator::block_questions(wants, Reach::OneDemand);
        let queries: Vec<Query> = questions.into_iter().map(Query::Blocks).collect();
        let snapshot = self.look(&queries)?;
        // An ADD writes. The question does not.
        file::expect_writable(self.store.path())?;
        Ok(allocator::shortage(snapshot.facts(), wants))
    }

    async fn page(
        &self,
        scope: Scope<'_>,
        after: Option<&Vec<u8>>,
    ) -> Result<Page<Vec<u8>>, Failure> {
        if !self.store.exists()? {
            return Ok(Page {
                claims: Vec::new(),
                next: None,
            });
        }
        let snapshot = self.look(&[Query::page(scope, after), Query::Cluster])?;
        snapshot.check_owner(self.keys, self.identity)?;
        if !matches!(scope, Scope::Node { .. }) {
            return Ok(snapshot.page());
        }
        let claims = match snapshot.claims_on_node().as_slice() {
            [] => Snapshot::default(),
            queries => self.look(queries)?,
        };
        Ok(snapshot.page_of_node(&claims))
    }

    async fn owners(
        &self,
        network: Option<&Name>,
        after: Option<&Vec<u8>>,
    ) -> Result<OwnerPage<Vec<u8>>, Failure> {
        if !self.store.exists()? {
            return Ok(Snapshot::default().owners());
        }
        let page = Query::Owners {
            network: network.cloned(),
            after: after.cloned(),
        };
        let snapshot = self.look(&[page, Query::Cluster])?;
        snapshot.check_owner(self.keys, self.identity)?;
        Ok(snapshot.owners())
    }

    async fn end(
        &self,
        owner: &DurableOwner,
        state: &Stored<OwnerState>,
    ) -> Result<Ended, Failure> {
        let OwnerState::Resting { held, .. } = &state.value else {
            return Ok(Ended::Changed(Some(state.clone())));
        };
        self.store.writing(|connection| {
            let plan = match self.plan_of_end(connection, owner, (held, state.modified))? {
                Ok(plan) => plan,
                Err(changed) => return Ok(Ended::Changed(changed)),
            };
            let mut draft = TxnBuilder::new(self.keys, self.identity);
            draft.plan(&plan, self.now);
            self.write(connection, draft)?;
            info!(%owner, "the durable owner has ended");
            Ok(Ended::Done)
        })
    }

    async fn claims_of_container(&self, attachment: &Attachment) -> Result<usize, Failure> {
        let (network, container) = (&attachment.network, &attachment.container);
        let (first, until) = self.keys.claims_of(network, container);
        let page = Query::Claims {
            network: Some(network.clone()),
            after: Some(first),
        };
        let page = self.look(&[page])?;
        let of_container = page.listed().iter().filter(|listed| listed.key < until);
        Ok(of_container.count())
    }

    /// Where there is no file, there is nothing to conclude anything of.
    async fn confirm(&self) -> Result<(), Failure> {
        if !self.store.exists()? {
            return Ok(());
        }
        match self
            .look(&[Query::Cluster])?
            .check_owner(self.keys, self.identity)
        {
            Err(Failure::NobodysStore { .. }) => {
                self.store.writing(|connection| self.own(connection))
            }
            checked => checked,
        }
    }
}
