//! The registry in a store with transactions: what the verbs ask, in the terms of claims, blocks, locks and tickets.

use std::collections::BTreeSet;

use tracing::{info, warn};
use whereabouts_clock::Clock;
use whereabouts_core::address::Name;
use whereabouts_core::allocator::{self, Demand, Reach, Shortage, Stored};
use whereabouts_core::claim::{Ask, Attachment, Claim, Held, RangeId, Want};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::failure::Failure;
use whereabouts_core::registry::{
    Ended, Found, Inspected, OwnerPage, Page, Registry, Released, Renewed, Scope, Taken, Waiting,
};
use whereabouts_store::keys::{QueuedVerb, Seat, TicketId};
use whereabouts_store::record::Ticket;
use whereabouts_store::snapshot::{Query, QueueEntry, Snapshot, TicketEntry};
use whereabouts_store::{Revision, Store};

use crate::operation::perform;
use crate::queue::take_out;
use crate::session::Session;
use crate::{cluster, durable, renew};

impl<S: Store, C: Clock> Registry for Session<'_, S, C> {
    /// The seat of a ticket.
    type Waiting = Seat;

    /// The last key of a page.
    type Cursor = Vec<u8>;

    /// Takes what is asked for, if the store is this cluster's, or is no cluster's yet.
    async fn take(&self, ask: &Ask) -> Result<Taken, Failure> {
        let demand = Demand::Take(ask.clone());
        let verdict = match perform(self, &demand).await {
            // Once in the life of a store.
            Err(Failure::NobodysStore { .. }) => {
                cluster::found(self).await?;
                perform(self, &demand).await?
            }
            other => other?,
        };
        Ok(Taken::of(verdict))
    }

    async fn renew(&self, ask: &Ask) -> Result<Renewed, Failure> {
        renew::renew(self, ask).await
    }

    async fn release(
        &self,
        attachment: &Attachment,
        claim: &Stored<Claim>,
    ) -> Result<Released, Failure> {
        let demand = Demand::release(attachment, claim);
        perform(self, &demand).await.map(Released::of)
    }

    async fn find(
        &self,
        attachment: &Attachment,
        ranges: &[RangeId],
    ) -> Result<Found<Seat>, Failure> {
        let (adds, dels) = (
            seats(attachment, ranges, QueuedVerb::Add),
            seats(attachment, ranges, QueuedVerb::Del),
        );
        let nameless = attachment.without_interface();
        let claims = [attachment, &nameless].map(|attachment| Query::Claim(attachment.clone()));
        let tickets = adds.iter().chain(&dels).cloned().map(Query::Seat);
        let queries: Vec<Query> = claims.into_iter().chain(tickets).collect();
        let snapshot = self.snapshot(&queries).await?;
        let claim_of = |attachment| snapshot.claim(attachment).expect("the claim was read");
        Ok(Found {
            claim: claim_of(attachment).cloned(),
            nameless: claim_of(&nameless).cloned(),
            adds: those_of(attachment, &snapshot, adds),
            dels: those_of(attachment, &snapshot, dels),
        })
    }

    async fn cancel(&self, attachment: &Attachment, waiting: &[Seat]) -> Result<(), Failure> {
        for seat in waiting {
            take_out(self, seat, |seated| is_of(attachment, seated)).await?;
        }
        Ok(())
    }

    async fn cancel_abandoned(
        &self,
        network: &Name,
        waiting: Waiting,
        is_abandoned: impl Fn(&Attachment, Option<&str>) -> bool,
    ) -> Result<(), Failure> {
        let verb = match waiting {
            Waiting::Adds => QueuedVerb::Add,
            Waiting::Dels => QueuedVerb::Del,
        };
        let mut after = None;
        loop {
            let page = [Query::Waiting { after }, Query::Cluster];
            let page = self.snapshot(&page).await?;
            let Some(last) = page.waiting().last() else {
                return Ok(());
            };
            for queued in page.waiting() {
                let Ok((id, ticket)) = &queued.request else {
                    continue;
                };
                let is_needless = id.verb == verb
                    && id.attachment.network == *network
                    && self.is_needless(id, ticket, &is_abandoned).await?;
                if is_needless {
                    self.collect(id, queued).await?;
                }
            }
            after = Some(last.key.clone());
        }
    }

    async fn inspect(&self, attachment: &Attachment) -> Result<Option<Inspected>, Failure> {
        let own = [Query::Claim(attachment.clone())];
        let mut snapshot = self.snapshot(&own).await?;
        let claim = snapshot.claim(attachment).expect("the claim was read");
        let Some(claim) = claim.map(|claim| claim.value.clone()) else {
            return Ok(None);
        };
        let slots = claim.held.iter().map(Held::slot);
        let blocks: BTreeSet<Query> = slots.flat_map(|slot| Query::block(&slot)).collect();
        let blocks: Vec<Query> = blocks.into_iter().collect();
        self.extend(&mut snapshot, &blocks).await?;
        let unmarked = snapshot.facts().first_unmarked(&claim.held);
        let unmarked = unmarked.map(|held| held.address);
        Ok(Some(Inspected { claim, unmarked }))
    }

    /// Asks any member once, which may answer with what it knew a moment ago: no lock, no quorum.
    async fn shortage(&self, wants: &[Want]) -> Result<Option<Shortage>, Failure> {
        let questions = allocator::block_questions(wants, Reach::OneDemand);
        let queries: Vec<Query> = questions.into_iter().map(Query::Blocks).collect();
        let snapshot = self.stale_snapshot(&queries).await?;
        Ok(allocator::shortage(snapshot.facts(), wants))
    }

    async fn page(
        &self,
        scope: Scope<'_>,
        after: Option<&Vec<u8>>,
    ) -> Result<Page<Vec<u8>>, Failure> {
        let snapshot = self
            .snapshot(&[Query::page(scope, after), Query::Cluster])
            .await?;
        if !matches!(scope, Scope::Node { .. }) {
            return Ok(snapshot.page());
        }
        let claims = match snapshot.claims_on_node().as_slice() {
            [] => Snapshot::default(),
            queries => self.snapshot(queries).await?,
        };
        Ok(snapshot.page_of_node(&claims))
    }

    async fn owners(
        &self,
        network: Option<&Name>,
        after: Option<&Vec<u8>>,
    ) -> Result<OwnerPage<Vec<u8>>, Failure> {
        let page = Query::Owners {
            network: network.cloned(),
            after: after.cloned(),
        };
        let snapshot = self.snapshot(&[page, Query::Cluster]).await?;
        Ok(snapshot.owners())
    }

    async fn end(
        &self,
        owner: &DurableOwner,
        state: &Stored<OwnerState>,
    ) -> Result<Ended, Failure> {
        durable::end(self, owner, state).await
    }

    /// Claims of other containers may be on the page that is read, and do not matter.
    async fn claims_of_container(&self, attachment: &Attachment) -> Result<usize, Failure> {
        let (network, container) = (&attachment.network, &attachment.container);
        let (first, until) = self.keys().claims_of(network, container);
        let page = Query::Claims {
            network: Some(network.clone()),
            after: Some(first),
        };
        let page = self.snapshot(&[page]).await?;
        let of_container = page.listed().iter().filter(|listed| listed.key < until);
        Ok(of_container.count())
    }

    async fn confirm(&self) -> Result<(), Failure> {
        cluster::confirm(self).await
    }
}

impl<S: Store, C: Clock> Session<'_, S, C> {
    /// Whether nobody waits with a ticket. A DEL is needless once the claim that it is to release is gone.
    async fn is_needless(
        &self,
        id: &TicketId,
        ticket: &Ticket,
        is_abandoned: &impl Fn(&Attachment, Option<&str>) -> bool,
    ) -> Result<bool, Failure> {
        let node = match ticket {
            Ticket::Refused { node, .. } => node,
            Ticket::Asks { demand, .. } => match demand {
                Demand::Take(ask) => &ask.owner.node,
                Demand::Release { modified, .. } => {
                    return self.is_released(&id.attachment, *modified).await;
                }
            },
        };
        Ok(is_abandoned(&id.attachment, node.as_deref()))
    }

    /// Whether the claim of `attachment` that was last written at `modified` is gone. One that cannot be read is not.
    async fn is_released(
        &self,
        attachment: &Attachment,
        modified: Revision,
    ) -> Result<bool, Failure> {
        let query = Query::Claim(attachment.clone());
        let snapshot = match self.snapshot(&[query]).await {
            Err(Failure::Corrupt(corrupt)) => {
                warn!(%corrupt, "a ticket stays");
                return Ok(false);
            }
            snapshot => snapshot?,
        };
        let claim = snapshot.claim(attachment).expect("the claim was read");
        Ok(claim.is_none_or(|claim| claim.modified != modified))
    }

    async fn collect(&self, id: &TicketId, queued: &QueueEntry) -> Result<(), Failure> {
        info!(attachment = %id.attachment, queue = %id.queue, "a ticket is collected");
        let is_it = |one: &Stored<TicketEntry>| one.created == queued.created;
        for seat in id.seats() {
            take_out(self, &seat, is_it).await?;
        }
        Ok(())
    }
}

/// Where tickets of `attachment` can be.
fn seats(attachment: &Attachment, ranges: &[RangeId], verb: QueuedVerb) -> Vec<Seat> {
    let of = |queue: &RangeId| {
        let id = TicketId {
            queue: queue.clone(),
            attachment: attachment.clone(),
            verb,
        };
        id.seats()
    };
    ranges.iter().flat_map(of).collect()
}

/// The seats at which there are tickets of `attachment`.
fn those_of(attachment: &Attachment, snapshot: &Snapshot, seats: Vec<Seat>) -> Vec<Seat> {
    let has_one = |seat: &Seat| {
        let seated = snapshot.seat(seat).expect("the seat was read");
        seated.is_some_and(|seated| is_of(attachment, seated))
    };
    seats.into_iter().filter(has_one).collect()
}

fn is_of(attachment: &Attachment, seated: &Stored<TicketEntry>) -> bool {
    seated.value.whose.as_ref() == Some(attachment)
}
