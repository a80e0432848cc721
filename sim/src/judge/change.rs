//! The changes of one revision.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::address::{Address, BlockKey, Pool};
use whereabouts_core::claim::{Attachment, Claim, RangeId};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_store::keys::{Seat, Spot, TicketId};
use whereabouts_store::record::{Lock, Sender};
use whereabouts_store::{LeaseId, Revision};

/// A ticket in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketAt {
    /// The waiter, and its range.
    pub id: TicketId,
    /// Where in its queue.
    pub spot: Spot,
    /// The revision that gives its place.
    pub created: Revision,
    /// The sender. The sender of a ticket that cannot be read is not known.
    pub sender: Option<Sender>,
    /// Whether it has been answered.
    pub is_answered: bool,
    /// Whether a newer version has put it, which this one cannot read.
    pub is_newer: bool,
}

impl TicketAt {
    /// Whether it is at this seat of its queue.
    pub fn is_at(&self, seat: &Seat) -> bool {
        (&self.spot, self.id.verb) == (&seat.spot, seat.verb)
    }
}

/// A lock that is not free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockAt {
    /// The process that has it, or to which it is offered.
    pub holder: Lock,
    /// The holder's lease; 0 when it is offered.
    pub lease: LeaseId,
}

impl LockAt {
    /// Whether somebody has it by a lease.
    pub fn is_held(&self) -> bool {
        self.lease != 0
    }
}

/// A claim, and whose it is.
type Claimed = (Attachment, Claim);

/// The changes of one revision.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The revision.
    pub revision: Revision,
    /// Claims that came into being.
    pub given: Vec<(Attachment, Claim)>,
    /// Claims that were written again: what they held before, and hold now.
    pub rewritten: Vec<(Attachment, Claim, Claim)>,
    /// Claims that went.
    pub taken: Vec<(Attachment, Claim)>,
    /// Durable owners that were written or went: what they were before, and are now.
    pub owners: Vec<(DurableOwner, Option<OwnerState>, Option<OwnerState>)>,
    /// Attachments whose claim, or whose entry by its node, was written or went.
    pub placed: BTreeSet<Attachment>,
    /// Blocks that were written, moved or deleted, or that those claims are about.
    pub slots: BTreeSet<BlockKey>,
    /// Whether any block was written, moved or deleted.
    pub writes_blocks: bool,
    /// Tickets that went, oldest first.
    pub left: Vec<TicketAt>,
    /// Tickets that were written and were there before.
    pub touched: Vec<TicketId>,
    /// Tickets that were rewritten with an answer.
    pub answered: Vec<TicketId>,
    /// Tickets that were put in the place of another attachment's.
    pub replaced: Vec<TicketId>,
    /// The queues of those tickets as they were before, oldest first.
    pub queues_before: BTreeMap<RangeId, Vec<TicketAt>>,
    /// The locks that were written or went, as they were before.
    pub locks_before: BTreeMap<RangeId, Option<LockAt>>,
    /// Addresses that were given while another claim held them.
    pub given_twice: Vec<(Pool, Address)>,
    /// Whether the store was one cluster's, and is not any more; or is that of one that came to others' claims.
    pub renamed: bool,
}

impl Change {
    /// Whether addresses went from one record to another: where no block is written, those who wait for a free address are
    /// not concerned.
    pub(super) fn moves(&self) -> bool {
        self.taken_over().is_some() || !(self.owners.is_empty() || self.writes_blocks)
    }

    /// The claim that went, and the one that came in its place: where no block is written, those who wait for a free
    /// address are not concerned.
    pub(super) fn taken_over(&self) -> Option<(&Claimed, &Claimed)> {
        match (&self.taken[..], &self.given[..]) {
            ([old], [new]) if !self.writes_blocks => Some((old, new)),
            _ => None,
        }
    }
}
