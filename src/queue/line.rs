//! One process in line: its ticket, the lease it lives by, and the watch that tells of it.

use std::time::Instant;

use tracing::debug;

use crate::allocator::{Demand, Verdict};
use crate::claim::QueueId;
use crate::clock::Clock;
use crate::session::{Commit, Failure, Session};
use crate::snapshot::{Query, Snapshot};
use crate::store::keys::{Key, QueuedVerb, TicketId};
use crate::store::record::{self, Ticket};
use crate::store::{Lease, Revision, Store, Unavailable};
use crate::telemetry;

/// Where a process stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// Others are before it.
    Waiting,
    /// It has the oldest ticket, and so the lock.
    First,
    /// Its demand is decided.
    Ended(Verdict),
    /// Its ticket is gone, and its demand was not carried out.
    Lost,
}

/// One process in line.
pub(super) struct Line<'s, 'a, S: Store, C> {
    pub(super) session: &'s Session<'a, S, C>,
    pub(super) demand: &'s Demand,
    pub(super) watch: S::Watch,
    pub(super) lease: Lease,
    /// When the lease must be kept alive next.
    pub(super) renew_at: Instant,
    /// The ticket's create revision, as long as it may exist: the place in the queue.
    pub(super) place: Option<Revision>,
    /// Whether a put of the ticket may still be on its way: the end of the lease makes it
    /// impossible.
    pub(super) put_unknown: bool,
    id: TicketId,
    key: Vec<u8>,
}

impl<'s, 'a, S: Store, C: Clock> Line<'s, 'a, S, C> {
    /// Prepares to join `queue`: the watch is there before the ticket, so that it tells of
    /// everything that happens to it.
    pub(super) async fn new(
        session: &'s Session<'a, S, C>,
        demand: &'s Demand,
        queue: &QueueId,
    ) -> Result<Self, Failure> {
        let verb = match demand {
            Demand::Take(_) => QueuedVerb::Add,
            Demand::Release { .. } => QueuedVerb::Del,
        };
        let id = TicketId {
            queue: queue.clone(),
            attachment: demand.attachment().clone(),
            verb,
        };
        let key = session.keys().encode(&Key::Ticket(id.clone()));
        let watch = session.watch(std::slice::from_ref(&key)).await?;
        let lease = session.grant().await?;
        let renew_at = session.clock().now() + lease.ttl / 3;
        Ok(Self {
            session,
            demand,
            watch,
            lease,
            renew_at,
            place: None,
            put_unknown: false,
            id,
            key,
        })
    }

    pub(super) fn id(&self) -> &TicketId {
        &self.id
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Puts the ticket, unless the demand is met already or another process of the same attachment
    /// is in line: then that one's end is awaited first.
    pub(super) async fn join(&mut self) -> Result<Standing, Failure> {
        let mut pauses = self.session.pauses();
        loop {
            let mut draft = self.session.draft();
            let claim = Key::Claim(self.id.attachment.clone());
            match self.demand {
                Demand::Take(_) => draft.absent(&claim),
                Demand::Release { modified, .. } => draft.modified(&claim, *modified),
            };
            let ticket = Key::Ticket(self.id.clone());
            draft.absent(&ticket).put_leased(
                &ticket,
                record::encode_ticket(&ticket_of(self.demand)),
                self.lease.id,
            );
            draft.read_anyway(self.queries());
            match self.session.commit(draft).await {
                Ok(Commit::Done(snapshot) | Commit::Conflict(snapshot)) => {
                    let ticket = snapshot.ticket(&self.id).expect("the ticket was read");
                    if ticket.is_some_and(|ticket| ticket.lease == self.lease.id) {
                        self.place = ticket.map(|ticket| ticket.created);
                        if self.put_unknown {
                            return self.change_lease(snapshot).await;
                        }
                    } else if let Some(verdict) = self.verdict(&snapshot) {
                        return Ok(Standing::Ended(verdict));
                    } else if ticket.is_some() {
                        self.await_other().await?;
                        continue;
                    } else {
                        // Gone between the two reads: try again.
                        self.session
                            .pause(&mut pauses, "the queue has changed")
                            .await?;
                        continue;
                    }
                    return Ok(self.standing(&snapshot));
                }
                Ok(Commit::DoneUnread(corrupt)) => return Err(corrupt.into()),
                // The next try finds out whether it was done: the ticket names its lease.
                Ok(Commit::Unknown(reason)) => {
                    self.put_unknown = true;
                    self.session.pause(&mut pauses, &reason).await?;
                }
                Err(Failure::Unavailable(Unavailable::LeaseNotFound)) => {
                    debug!("the lease ended before the ticket was there");
                    self.lease = self.session.grant().await?;
                    self.renew_at = self.session.clock().now() + self.lease.ttl / 3;
                    self.put_unknown = false;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Binds the ticket, which keeps its place, to a new lease and ends the old one for certain: a
    /// put that names the old one may still be on its way, and would bring the ticket back once its
    /// demand is decided and it is deleted.
    async fn change_lease(&mut self, mut snapshot: Snapshot) -> Result<Standing, Failure> {
        let new = self.session.grant().await?;
        loop {
            let ticket = snapshot.ticket(&self.id).expect("the ticket was read");
            let mine = ticket.filter(|ticket| ticket.lease == self.lease.id);
            let Some((Ok(value), modified)) = mine.map(|ticket| (&ticket.value, ticket.modified))
            else {
                break;
            };
            let key = Key::Ticket(self.id.clone());
            let mut draft = self.session.draft();
            draft
                .modified(&key, modified)
                .put_leased(&key, record::encode_ticket(value), new.id)
                .read_anyway(self.queries());
            snapshot = self.session.settle(&draft).await?;
        }
        let old = std::mem::replace(&mut self.lease, new);
        self.renew_at = self.session.clock().now() + self.lease.ttl / 3;
        self.session.end_lease(old.id).await?;
        self.put_unknown = false;
        Ok(self.standing(&snapshot))
    }

    /// Reads where this process stands.
    pub(super) async fn look(&mut self) -> Result<Standing, Failure> {
        let snapshot = self.session.snapshot(&self.queries()).await?;
        Ok(self.standing(&snapshot))
    }

    /// What tells where this process stands, and who comes after it.
    pub(super) fn queries(&self) -> [Query; 3] {
        [
            Query::Claim(self.id.attachment.clone()),
            Query::Ticket(self.id.clone()),
            Query::Tickets {
                queue: self.id.queue.clone(),
                limit: 2,
            },
        ]
    }

    /// Where this process stands, by the answers to [`Line::queries`].
    pub(super) fn standing(&mut self, snapshot: &Snapshot) -> Standing {
        let ticket = snapshot.ticket(&self.id).expect("the ticket was read");
        let mine = ticket.filter(|ticket| ticket.lease == self.lease.id);
        self.place = mine.map(|ticket| ticket.created);
        if let Some(verdict) = self.verdict(snapshot) {
            return Standing::Ended(verdict);
        }
        match mine.map(|ticket| &ticket.value) {
            Some(Ok(Ticket::Refused(shortage))) => {
                Standing::Ended(Verdict::Short(shortage.clone()))
            }
            Some(Ok(Ticket::Take { .. } | Ticket::Release { .. }) | Err(_)) => {
                let queue = snapshot.queue(&self.id.queue).expect("the queue was read");
                let first = queue.first().map(|first| first.created);
                if first == self.place {
                    Standing::First
                } else {
                    Standing::Waiting
                }
            }
            None => Standing::Lost,
        }
    }

    /// The verdict, if the claim alone tells it.
    pub(super) fn verdict(&self, snapshot: &Snapshot) -> Option<Verdict> {
        let claim = snapshot
            .claim(&self.id.attachment)
            .expect("the claim was read");
        match (self.demand, claim) {
            (Demand::Take(ask), Some(claim)) => Some(Verdict::on_claim(ask, &claim.value)),
            (Demand::Take(_), None) => None,
            (Demand::Release { .. }, None) => Some(Verdict::Released),
            (Demand::Release { modified, .. }, Some(claim)) => {
                (claim.modified != *modified).then(|| Verdict::ClaimChanged(claim.clone()))
            }
        }
    }

    /// Keeps the lease alive when that is due. `Err` tells that it has ended.
    pub(super) async fn renew(&mut self) -> Result<(), LeaseEnded> {
        let now = self.session.clock().now();
        if now < self.renew_at {
            return Ok(());
        }
        match self.session.keep_alive(self.lease.id).await {
            Ok(()) => self.renew_at = now + self.lease.ttl / 3,
            Err(Unavailable::LeaseNotFound) => return Err(LeaseEnded),
            Err(error) => {
                debug!(%error, "the lease could not be kept alive this time");
                self.renew_at = self.session.clock().now() + self.lease.ttl / 12;
            }
        }
        Ok(())
    }
}

/// The lease has ended, and the ticket with it.
#[derive(Debug)]
pub(super) struct LeaseEnded;

fn ticket_of(demand: &Demand) -> Ticket {
    match demand {
        Demand::Take(ask) => Ticket::Take {
            wants: ask.wants.clone(),
            owner: ask.owner.clone(),
            trace: telemetry::here(),
        },
        Demand::Release { held, modified, .. } => Ticket::Release {
            held: held.clone(),
            modified: *modified,
            trace: telemetry::here(),
        },
    }
}
