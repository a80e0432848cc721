//! A place in a queue: what a process has there, and what a snapshot tells of it.

use super::holder::Hold;
use whereabouts_core::allocator::{Demand, Stored, Verdict};
use whereabouts_core::claim::RangeId;
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::keys::{Key, QueuedVerb, Seat, TicketId};
use whereabouts_store::record::Sender;
use whereabouts_store::snapshot::{LockEntry, Query, QueueEntry, Snapshot, TicketEntry};
use whereabouts_store::{LeaseId, Revision};

/// A ticket, and where it is.
type Seated<'q> = (&'q Seat, &'q Stored<TicketEntry>);

/// A place in a queue.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: TicketId,
    /// The name of the process in its lock and its ticket.
    pub(super) sender: Sender,
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
    /// Whether the slow timer has run out since the last look: the process to which the lock is offered may be dead.
    pub(super) is_overdue: bool,
    /// How many of the oldest tickets are read at once: more, where some of them cannot be served.
    pub(super) page: u32,
    /// The result, once it is known: from then on the process serves others, or leaves.
    pub(super) result: Option<Result<Verdict, Failure>>,
    /// How the holding of the lock goes.
    pub(super) hold: Hold,
}

impl Place {
    pub(super) fn new(demand: &Demand, sender: Sender, queue: RangeId) -> Self {
        let id = TicketId {
            queue,
            attachment: demand.attachment().clone(),
            verb: QueuedVerb::of(demand),
        };
        Self {
            seats: id.seats(),
            id,
            sender,
            ticket: None,
            late_put: None,
            lease: None,
            has_late_lock: false,
            is_overdue: false,
            page: limits::TICKETS_PER_READ,
            result: None,
            hold: Hold::default(),
        }
    }

    pub(super) fn lock_key(&self) -> Key {
        Key::Lock(self.id.queue.clone())
    }

    /// The seat of the ticket; while there is none, both where it can be.
    pub(super) fn seat_queries(&self) -> impl Iterator<Item = Query> {
        let ticket = self.ticket.as_ref();
        let seats = ticket.map_or(&self.seats[..], std::slice::from_ref);
        seats.iter().cloned().map(Query::Seat)
    }

    /// The questions that tell the state of the process.
    pub(super) fn queries(&self) -> Vec<Query> {
        let claim = Query::Claim(self.id.attachment.clone());
        let lock = Query::Lock(self.id.queue.clone());
        let own = [claim, lock].into_iter();
        own.chain(self.seat_queries()).collect()
    }

    /// A page of the oldest tickets.
    pub(super) fn tickets(&self) -> Query {
        let (queue, limit) = (self.id.queue.clone(), self.page);
        Query::Tickets { queue, limit }
    }

    pub(super) fn queue_queries(&self) -> [Query; 2] {
        [Query::Lock(self.id.queue.clone()), self.tickets()]
    }

    pub(super) fn lock(&self, snapshot: &Snapshot) -> Option<LockEntry> {
        snapshot.lock(&self.id.queue).expect("the lock was read")
    }

    pub(super) fn is_mine(&self, lock: &LockEntry) -> bool {
        lock.sender == Some(self.sender)
    }

    /// The own ticket, as far as the seats were read.
    pub(super) fn own<'q>(&'q self, snapshot: &'q Snapshot) -> Option<Seated<'q>> {
        self.seated(snapshot)
            .find(|(_, seated)| seated.value.sender() == Some(self.sender))
    }

    /// The seat of the ticket of this attachment that another process put.
    pub(super) fn mate<'q>(&'q self, snapshot: &'q Snapshot) -> Option<&'q Seat> {
        let is_mates = |seated: &TicketEntry| {
            seated.whose.as_ref() == Some(&self.id.attachment)
                && seated.sender() != Some(self.sender)
        };
        let mut seated = self.seated(snapshot);
        Some(seated.find(|(_, seated)| is_mates(&seated.value))?.0)
    }

    fn seated<'q>(&'q self, snapshot: &'q Snapshot) -> impl Iterator<Item = Seated<'q>> {
        let at = |seat| Some((seat, snapshot.seat(seat).ok()??));
        self.seats.iter().filter_map(at)
    }

    /// The tickets of other processes, oldest first.
    pub(super) fn others<'q>(&self, snapshot: &'q Snapshot) -> Vec<&'q QueueEntry> {
        let waiting = snapshot.queue(&self.id.queue).expect("the queue was read");
        let is_others = |one: &&QueueEntry| one.sender() != Some(self.sender);
        waiting.iter().filter(is_others).collect()
    }

    /// Makes the page larger by the tickets that do not ask: such tickets delay nobody. Tells whether that page is to be
    /// read at once, as nobody asks on this one, which is whole.
    pub(super) fn turn_page(&mut self, snapshot: &Snapshot) -> bool {
        let waiting = snapshot.queue(&self.id.queue).expect("the queue was read");
        let passed = waiting.iter().filter(|one| one.demand().is_none()).count();
        let is_whole = waiting.len() >= self.page as usize;
        let passed_over = u32::try_from(passed).expect("a page is bounded");
        let page = limits::TICKETS_PER_READ + 3 * passed_over;
        let turned = std::mem::replace(&mut self.page, page.min(limits::TICKETS_PER_LOOK));
        is_whole && passed == waiting.len() && self.page > turned
    }
}
