//! Everything that the protocol commits, a function each. `docs/PROTOCOL.md` has the same as a table.
//!
//! A transaction has a [`Purpose`], by which spans, the simulator and its planted bugs know it.

use std::collections::BTreeSet;
use std::time::Duration;

use whereabouts_core::allocator::{Demand, Plan, Stored, Verdict};
use whereabouts_core::claim::{Attachment, Claim, RangeId};
use whereabouts_core::identity::Identity;
use whereabouts_store::keys::{Key, QueuedVerb, Seat, TicketId};
use whereabouts_store::record::{self, Lock, Ticket};
use whereabouts_store::snapshot::QueueEntry;
use whereabouts_store::txn_builder::TxnBuilder;
use whereabouts_store::{Compare, LeaseId, Purpose, Revision, Write};

/// Carries out a requester's own demand, if nobody has the locks of its ranges. A take-over needs no lock: it touches
/// no block.
pub(crate) fn claim(
    draft: &mut TxnBuilder<'_>,
    ranges: &BTreeSet<RangeId>,
    plan: &Plan,
    date: Duration,
) {
    if plan.takes_over() {
        draft.is_for(Purpose::TakeOver);
    } else {
        draft.is_for(Purpose::Claim);
        for range in ranges {
            draft.absent(&Key::Lock(range.clone()));
        }
    }
    draft.plan(plan, date);
}

/// If that is refused: offers the first of the locks to its sender, if there is none of them, and no `unless`.
pub(crate) fn offer(
    draft: &mut TxnBuilder<'_>,
    ranges: &BTreeSet<RangeId>,
    unless: Option<Key>,
    lock: &Lock,
) {
    let locks = ranges.iter().cloned().map(Key::Lock);
    let keys: Vec<Key> = locks.chain(unless).collect();
    draft.put_otherwise(&keys, record::encode_lock(lock));
}

/// Where a ticket is put.
#[derive(Clone, Debug)]
pub(crate) enum At {
    /// At the first of these seats: both are free.
    Shared([Seat; 2]),
    /// At the second: it is free, and the first is another attachment's, last written at this revision.
    Own([Seat; 2], Revision),
    /// Over the ticket at this seat, last written at this revision, of another process of the attachment.
    Mate(Seat, Revision),
}

/// Puts a ticket, if another process has the lock, and the demand is still to be carried out.
pub(crate) fn join(
    draft: &mut TxnBuilder<'_>,
    demand: &Demand,
    at: &At,
    (lock, revision): (&Key, Revision),
    ticket: &Ticket,
) {
    draft.is_for(Purpose::Join);
    let claim = Key::Claim(demand.attachment().clone());
    match demand {
        Demand::Take(_) => draft.absent(&claim).in_own_cluster(),
        Demand::Release { modified, .. } => draft.modified(&claim, *modified),
    };
    let key = |seat: &Seat| Key::Ticket(seat.clone());
    let seat = match at {
        At::Shared([shared, own]) => {
            draft.absent(&key(shared)).absent(&key(own));
            shared
        }
        At::Own([shared, own], others) => {
            draft.modified(&key(shared), *others).absent(&key(own));
            own
        }
        At::Mate(seat, mates) => {
            draft.modified(&key(seat), *mates);
            seat
        }
    };
    draft.modified(lock, revision).put(
        &key(seat),
        record::encode_ticket(demand.attachment(), ticket),
    );
}

/// Puts the lock, bound to a lease, if it is free, or still as at the revision `offered`.
pub(crate) fn acquire(
    draft: &mut TxnBuilder<'_>,
    key: &Key,
    offered: Option<Revision>,
    lock: &Lock,
    lease: LeaseId,
) {
    draft.is_for(Purpose::Acquire);
    match offered {
        Some(revision) => draft.modified(key, revision),
        None => draft.absent(key),
    };
    draft.put_leased(key, record::encode_lock(lock), lease);
}

/// A demand in a batch.
#[derive(Debug)]
pub(crate) enum Served {
    /// The holder's own, and its ticket, if it has one: where, and at which revision.
    Own(Demand, Option<(Seat, Revision)>),
    /// That of a ticket.
    Other(Demand, Box<QueueEntry>),
}

impl Served {
    pub(crate) fn demand(&self) -> &Demand {
        match self {
            Self::Own(demand, _) | Self::Other(demand, _) => demand,
        }
    }
}

/// Serves a batch, if the lock and each ticket are as they were read. `waiting` are the other tickets that were read.
pub(crate) fn batch(
    draft: &mut TxnBuilder<'_>,
    queue: &RangeId,
    lock: Revision,
    (plan, served): (&Plan, &[Served]),
    waiting: &[QueueEntry],
    date: Duration,
) {
    draft.is_for(Purpose::Batch);
    draft.modified(&Key::Lock(queue.clone()), lock);
    draft.plan(plan, date);
    for (one, verdict) in served.iter().zip(&plan.verdicts) {
        match one {
            Served::Own(_, Some((seat, modified))) => {
                let key = Key::Ticket(seat.clone());
                draft.modified(&key, *modified).delete(&key);
            }
            Served::Own(_, None) => {}
            Served::Other(_, ticket) => answer(draft, ticket, verdict),
        }
        if let Demand::Release { attachment, .. } = one.demand() {
            let cancelled = waiting.iter().find(|other| is_add_of(other, attachment));
            if let Some(cancelled) = cancelled {
                draft
                    .compare(Compare::Modified(cancelled.key.clone(), cancelled.modified))
                    .write(Write::Delete(cancelled.key.clone()));
            }
        }
    }
}

/// Adds that the lock goes with the batch, if no ticket was written after `revision`.
pub(crate) fn last_batch(draft: &mut TxnBuilder<'_>, queue: &RangeId, revision: Revision) {
    draft.delete_lock_if_last(queue, revision);
}

/// Answers a ticket that is served: deletes it, or writes the reason why there is no address.
fn answer(draft: &mut TxnBuilder<'_>, ticket: &QueueEntry, verdict: &Verdict) {
    let key = ticket.key.clone();
    draft.compare(Compare::Modified(key.clone(), ticket.modified));
    draft.write(match (verdict, &ticket.request) {
        (Verdict::Short(shortage), Ok((id, Ticket::Take { sender, owner, .. }))) => {
            let refused = Ticket::Refused {
                sender: *sender,
                node: owner.node.clone(),
                shortage: shortage.clone(),
            };
            Write::Rewrite {
                key,
                value: record::encode_ticket(&id.attachment, &refused),
            }
        }
        (_, Ok(_) | Err(_)) => Write::Delete(key),
    });
}

/// Whether a ticket is an ADD of `attachment`: a DEL of it takes the ticket along.
fn is_add_of(queued: &QueueEntry, attachment: &Attachment) -> bool {
    matches!(
        &queued.request,
        Ok((TicketId { attachment: other, verb: QueuedVerb::Add, .. }, _)) if other == attachment
    )
}

/// Deletes the lock, if it is as it was read and no ticket was written after `revision`.
pub(crate) fn step_down(
    draft: &mut TxnBuilder<'_>,
    queue: &RangeId,
    lock: Revision,
    revision: Revision,
) {
    draft
        .is_for(Purpose::StepDown)
        .modified(&Key::Lock(queue.clone()), lock)
        .delete_lock_if_last(queue, revision);
}

/// Offers the lock, which is as it was read or free, to the process of a ticket, and touches that ticket.
pub(crate) fn hand_over(
    draft: &mut TxnBuilder<'_>,
    key: &Key,
    lock: Option<Revision>,
    ticket: &QueueEntry,
    next: &Lock,
) {
    draft.is_for(Purpose::HandOver);
    match lock {
        Some(revision) => draft.modified(key, revision),
        None => draft.absent(key),
    };
    draft
        .compare(Compare::Modified(ticket.key.clone(), ticket.modified))
        .put(key, record::encode_lock(next))
        .write(Write::Touch(ticket.key.clone()));
}

/// Deletes a ticket that nobody is to serve.
pub(crate) fn withdraw(draft: &mut TxnBuilder<'_>, seat: &Seat, modified: Revision) {
    let key = Key::Ticket(seat.clone());
    draft
        .is_for(Purpose::Withdraw)
        .modified(&key, modified)
        .delete(&key);
}

/// Makes a claim impossible whose outcome is unknown.
pub(crate) fn fence_claim(draft: &mut TxnBuilder<'_>, plan: &Plan) {
    draft.is_for(Purpose::Fence);
    draft.fence(plan);
}

/// Makes the put of a ticket impossible, which checked that the lock was as at `revision`.
pub(crate) fn fence_join(draft: &mut TxnBuilder<'_>, lock: &Key, revision: Revision) {
    draft
        .is_for(Purpose::Fence)
        .modified(lock, revision)
        .touch(lock);
}

/// Makes a batch impossible, which relies on a lock that exists since `created`.
pub(crate) fn fence_batch(draft: &mut TxnBuilder<'_>, lock: &Key, created: Revision) {
    draft
        .is_for(Purpose::Fence)
        .created(lock, created)
        .touch(lock);
}

/// Writes `renewed` in the place of the claim `old` of `attachment`.
pub(crate) fn renew(
    draft: &mut TxnBuilder<'_>,
    attachment: &Attachment,
    old: &Stored<Claim>,
    renewed: &Claim,
) {
    draft
        .is_for(Purpose::Renew)
        .modified(&Key::Claim(attachment.clone()), old.modified)
        .in_own_cluster()
        .renew_claim(attachment, &old.value, renewed);
}

/// Makes a renewal impossible whose outcome is unknown: it relies on the claim of `renewed`.
pub(crate) fn fence_renewal(draft: &mut TxnBuilder<'_>, renewed: &Attachment, modified: Revision) {
    let old = Key::Claim(renewed.clone());
    draft
        .is_for(Purpose::Fence)
        .modified(&old, modified)
        .touch(&old);
}

/// Notes whose the store is, if nobody has noted it, nothing is claimed and nobody waits.
pub(crate) fn note(draft: &mut TxnBuilder<'_>, identity: &Identity) {
    draft
        .is_for(Purpose::Note)
        .absent(&Key::Cluster)
        .unclaimed()
        .put(&Key::Cluster, record::encode_cluster(identity));
}
