//! The holder of each busy range and the tickets of its queue, with the time since when they are seen: etcd keeps
//! none. Pure: the time is an argument.

use std::collections::BTreeMap;
use std::time::Instant;

use whereabouts_core::claim::{Attachment, RangeId};
use whereabouts_store::keys::Seat;
use whereabouts_store::record::{self, Lock, Ticket};
use whereabouts_store::{Entry, LeaseId, Revision};

/// All locks and queues.
#[derive(Default)]
pub(super) struct Lines {
    /// The locks that are not free.
    pub(super) locks: BTreeMap<RangeId, Locked>,
    /// The ticket at each seat of each queue.
    pub(super) queues: BTreeMap<RangeId, BTreeMap<Seat, Standing>>,
}

/// A lock that somebody holds, or that is offered to those who wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Locked {
    /// The value: its holder, or its last holder; `None` when that cannot be read.
    pub(super) holder: Option<Lock>,
    /// At which revision it was last written.
    pub(super) revision: Revision,
    /// The holder's lease; 0 when it is offered.
    lease: LeaseId,
    /// When this process first saw it held with this lease, or offered.
    pub(super) seen: Instant,
}

impl Locked {
    /// Whether it is offered to those who wait, and nobody has taken it yet.
    pub(super) fn is_offered(&self) -> bool {
        self.lease == 0
    }
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The attachment that waits; `None` when that cannot be read.
    pub(super) whose: Option<Attachment>,
    /// At which revision it was put.
    pub(super) created: Revision,
    /// Whether its holder has answered that it cannot be served.
    pub(super) refused: bool,
    /// When this process first saw it.
    pub(super) seen: Instant,
}

impl Lines {
    /// Takes a ticket in; whether it can be read. One that is only rewritten keeps its age.
    pub(super) fn enter_ticket(&mut self, seat: Seat, entry: &Entry, now: Instant) -> bool {
        let ticket = record::decode_ticket(&seat, &entry.value);
        let queue = self.queues.entry(seat.queue.clone()).or_default();
        let known = queue.get(&seat).filter(|one| one.created == entry.created);
        let standing = Standing {
            whose: record::decode_whose_ticket(&entry.value).ok(),
            created: entry.created,
            refused: matches!(ticket, Ok((_, Ticket::Refused { .. }))),
            seen: known.map_or(now, |known| known.seen),
        };
        queue.insert(seat, standing);
        ticket.is_ok()
    }

    /// Takes a lock in; whether it can be read. One that stays its holder's keeps its age.
    pub(super) fn enter_lock(&mut self, queue: RangeId, entry: &Entry, now: Instant) -> bool {
        let holder = record::decode_lock(&entry.value).ok();
        let is_read = holder.is_some();
        let known = self.locks.get(&queue);
        let known = known.filter(|known| known.lease == entry.lease);
        let locked = Locked {
            holder,
            revision: entry.modified,
            lease: entry.lease,
            seen: known.map_or(now, |known| known.seen),
        };
        self.locks.insert(queue, locked);
        is_read
    }

    /// A ticket is gone.
    pub(super) fn remove_ticket(&mut self, seat: &Seat) {
        if let Some(queue) = self.queues.get_mut(&seat.queue) {
            queue.remove(seat);
            if queue.is_empty() {
                self.queues.remove(&seat.queue);
            }
        }
    }

    /// A lock is free.
    pub(super) fn remove_lock(&mut self, queue: &RangeId) {
        self.locks.remove(queue);
    }

    /// Takes over since when each lock is seen that was its holder's before, and each ticket that
    /// stood in a queue before.
    pub(super) fn inherit(&mut self, before: &Self) {
        for (queue, lock) in &mut self.locks {
            let known = before.locks.get(queue);
            if let Some(known) = known.filter(|known| known.lease == lock.lease) {
                lock.seen = known.seen;
            }
        }
        for (queue, tickets) in &mut self.queues {
            for (seat, ticket) in tickets {
                let known = before.queues.get(queue).and_then(|queue| queue.get(seat));
                if let Some(known) = known.filter(|known| known.created == ticket.created) {
                    ticket.seen = known.seen;
                }
            }
        }
    }
}
