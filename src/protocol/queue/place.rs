//! A place in a queue: what a process has there, and what a snapshot tells of it.

use super::machine::Machine;
use whereabouts_core::allocator::Stored;
use whereabouts_core::allocator::{Demand, Verdict};
use whereabouts_core::claim::RangeId;
use whereabouts_core::limits;
use whereabouts_store::keys::{Key, QueuedVerb, Seat, TicketId};
use whereabouts_store::record::{Lock, Sender, Ticket};
use whereabouts_store::snapshot::{LockEntry, Query, QueueEntry, Snapshot, TicketEntry};
use whereabouts_store::trace_context::TraceContext;
use whereabouts_store::{Lease, LeaseId, Revision};

/// A place in a queue.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: TicketId,
    /// Where the ticket can be: the shared seat, and the attachment's own.
    pub(super) seats: [Seat; 2],
    /// The seat of the ticket, while it is there as far as is known.
    pub(super) ticket: Option<Seat>,
    /// A put of the ticket may still be on its way. It cannot arrive once the lock is not as at this revision any more.
    pub(super) late_put: Option<Revision>,
    /// The lease for the lock.
    pub(super) lease: Option<LeaseId>,
    /// Whether a put of the lock with that lease may still be on its way. The end of the lease makes it impossible.
    pub(super) has_late_lock: bool,
    /// How many of the oldest tickets are read at once: more, where some of them cannot be served.
    pub(super) page: u32,
    /// The span of the queue.
    pub(super) trace: Option<TraceContext>,
}

impl Place {
    pub(super) fn new(demand: &Demand, queue: RangeId) -> Self {
        let id = TicketId {
            queue,
            attachment: demand.attachment().clone(),
            verb: verb_of(demand),
        };
        Self {
            seats: id.seats(),
            id,
            ticket: None,
            late_put: None,
            lease: None,
            has_late_lock: false,
            page: limits::TICKETS_PER_READ,
            trace: None,
        }
    }

    pub(super) fn bound(mut self: Box<Self>, lease: Lease) -> Box<Self> {
        (self.lease, self.has_late_lock) = (Some(lease.id), false);
        self
    }

    pub(super) fn lock_key(&self) -> Key {
        Key::Lock(self.id.queue.clone())
    }

    pub(super) fn lock(&self, snapshot: &Snapshot) -> Option<LockEntry> {
        snapshot.lock(&self.id.queue).expect("the lock was read")
    }

    /// The ticket of this attachment at the seats, if another process than `sender` put it.
    pub(super) fn mate<'q>(
        &'q self,
        sender: Sender,
        snapshot: &'q Snapshot,
    ) -> Option<(&'q Seat, &'q Stored<TicketEntry>)> {
        let is_mates = |seated: &TicketEntry| {
            let ticket = seated.ticket.as_ref();
            seated.whose.as_ref() == Some(&self.id.attachment)
                && !ticket.is_ok_and(|ticket| ticket.sender() == sender)
        };
        self.seated(snapshot)
            .find(|(_, seated)| is_mates(&seated.value))
    }

    /// The seat of the ticket; while there is none, both where it can be.
    pub(super) fn seat_queries(&self) -> Vec<Query> {
        let seats = match &self.ticket {
            Some(seat) => std::slice::from_ref(seat),
            None => &self.seats[..],
        };
        seats.iter().cloned().map(Query::Seat).collect()
    }

    /// The questions that tell the state of the process.
    pub(super) fn queries(&self) -> Vec<Query> {
        let claim = Query::Claim(self.id.attachment.clone());
        let lock = Query::Lock(self.id.queue.clone());
        let seats = self.seat_queries();
        [claim, lock].into_iter().chain(seats).collect()
    }

    /// The lock, and a page of the oldest tickets.
    pub(super) fn queue_queries(&self) -> [Query; 2] {
        let (queue, limit) = (self.id.queue.clone(), self.page);
        [Query::Lock(queue.clone()), Query::Tickets { queue, limit }]
    }

    /// The tickets at the seats, as far as they were read.
    pub(super) fn seated<'q>(
        &'q self,
        snapshot: &'q Snapshot,
    ) -> impl Iterator<Item = (&'q Seat, &'q Stored<TicketEntry>)> {
        let at = |seat| Some((seat, snapshot.seat(seat).ok()??));
        self.seats.iter().filter_map(at)
    }

    /// The page to read instead, where a whole page has no ticket of another that asks: such tickets delay nobody.
    pub(super) fn larger_page(&self, others: &[&QueueEntry], read: usize) -> Option<u32> {
        let is_whole = u32::try_from(read).is_ok_and(|read| read >= self.page);
        let nobody_asks = others.iter().all(|other| asking(other).is_none());
        let larger = (4 * self.page).clamp(limits::TICKETS_PER_READ, limits::TICKETS_PER_LOOK);
        (is_whole && nobody_asks && self.page < larger).then_some(larger)
    }
}

impl Machine<'_> {
    /// The value of the lock while it is this process's.
    pub(super) fn lock(&self) -> Lock {
        Lock {
            sender: self.sender,
            attachment: self.demand.attachment().clone(),
            verb: verb_of(self.demand),
        }
    }

    pub(super) fn is_mine(&self, lock: &LockEntry) -> bool {
        lock.sender == Some(self.sender)
    }

    /// The own ticket, as far as the seats were read.
    pub(super) fn own<'q>(
        &self,
        place: &'q Place,
        snapshot: &'q Snapshot,
    ) -> Option<(&'q Seat, &'q Stored<TicketEntry>)> {
        let is_mine = |seated: &Stored<TicketEntry>| {
            let ticket = seated.value.ticket.as_ref();
            ticket.is_ok_and(|ticket| ticket.sender() == self.sender)
        };
        place.seated(snapshot).find(|(_, seated)| is_mine(seated))
    }

    /// The verdict, if the claim alone tells it.
    pub(super) fn verdict(&self, snapshot: &Snapshot) -> Option<Verdict> {
        let claim = snapshot.claim(self.demand.attachment());
        match (self.demand, claim.expect("the claim was read")) {
            (Demand::Take(ask), Some(claim)) => Some(Verdict::on_claim(ask, &claim.value)),
            (Demand::Take(_), None) => None,
            (Demand::Release { .. }, None) => Some(Verdict::Released),
            (Demand::Release { modified, .. }, Some(claim)) => {
                (claim.modified != *modified).then(|| Verdict::ClaimChanged(claim.clone()))
            }
        }
    }

    /// The value of the ticket.
    pub(super) fn ticket(&self, trace: Option<TraceContext>) -> Ticket {
        let sender = self.sender;
        match self.demand {
            Demand::Take(ask) => Ticket::Take {
                sender,
                wants: ask.wants.clone(),
                owner: ask.owner.clone(),
                trace,
            },
            Demand::Release {
                held,
                home,
                modified,
                ..
            } => Ticket::Release {
                sender,
                held: held.clone(),
                home: home.clone(),
                modified: *modified,
                trace,
            },
        }
    }
}

/// The lock of the process whose ticket it is, if the ticket can be read and has not been answered.
pub(super) fn asking(ticket: &QueueEntry) -> Option<Lock> {
    match &ticket.request {
        Ok((id, Ticket::Take { sender, .. } | Ticket::Release { sender, .. })) => {
            Some(Lock::of(*sender, id))
        }
        Ok((_, Ticket::Refused { .. })) | Err(_) => None,
    }
}

fn verb_of(demand: &Demand) -> QueuedVerb {
    match demand {
        Demand::Take(_) => QueuedVerb::Add,
        Demand::Release { .. } => QueuedVerb::Del,
    }
}
