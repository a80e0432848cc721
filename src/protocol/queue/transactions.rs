//! Everything that a request for addresses or a release commits. `docs/PROTOCOL.md` has the same as a table.
//!
//! A transaction has a [`Purpose`], by which spans, the simulator and its planted bugs know it.

use whereabouts_core::allocator::{Demand, Plan, Verdict};
use whereabouts_core::claim::Attachment;
use whereabouts_store::keys::{Key, QueuedVerb, Seat};
use whereabouts_store::record::{self, Lock, Ticket};
use whereabouts_store::snapshot::{Query, QueueEntry, Snapshot};
use whereabouts_store::txn_builder::TxnBuilder;
use whereabouts_store::{Compare, LeaseId, Purpose, Revision, Write};

use super::machine::Machine;
use super::place::Place;
use super::requester::Trial;

/// A demand in a batch, and its ticket. The holder's own demand has none here: its ticket is at a seat, if anywhere.
pub(super) type Served<'q> = (&'q Demand, Option<&'q QueueEntry>);

impl<'a> Machine<'a> {
    fn draft(&self, purpose: Purpose) -> TxnBuilder<'a> {
        let mut draft = TxnBuilder::new(self.keys, self.identity);
        draft.is_for(purpose);
        draft
    }

    /// The value of a lock that is this process's.
    fn own_lock(&self) -> Vec<u8> {
        record::encode_lock(&Lock::of(self.sender, self.demand))
    }

    /// Carries out the own demand, if nobody has the locks of its ranges. The second one, if it is refused although there
    /// is none of these locks, offers the first of them to this process. A move needs no lock: it touches no block.
    pub(super) fn claim(&self, trial: &Trial, plan: &Plan) -> TxnBuilder<'a> {
        let mut draft = self.draft(Purpose::Claim);
        let mut locks: Vec<Key> = self.ranges.iter().cloned().map(Key::Lock).collect();
        if plan.moves() {
            draft.is_for(Purpose::TakeOver);
            locks.clear();
        }
        for lock in &locks {
            draft.absent(lock);
        }
        draft.plan(plan, self.now.date);
        let whose = Query::whose_store(self.demand);
        if trial.is_refused && !locks.is_empty() {
            // A process that does not know its cluster gets nothing once the store has an identity: it would leave an
            // offered lock.
            let is_unknown = whose.is_some() && self.identity.is_none();
            let unless = is_unknown.then_some(&Key::Cluster);
            draft.put_otherwise(locks.iter().chain(unless), self.own_lock());
        }
        draft.read_otherwise(self.queries_of_requester(trial).into_iter().chain(whose));
        draft
    }

    /// Makes a claim impossible whose outcome is unknown.
    pub(super) fn fence_claim(&self, trial: &Trial, plan: &Plan) -> TxnBuilder<'a> {
        let mut draft = self.draft(Purpose::Fence);
        let whose = Query::whose_store(self.demand);
        draft.fence(plan);
        draft.read_anyway(self.queries_of_requester(trial).into_iter().chain(whose));
        draft
    }

    /// Puts the ticket, if the demand is still to be carried out, and the seats and the lock of another are as they were
    /// read. A ticket of another process of the attachment is taken over.
    pub(super) fn join(&self, place: &Place, seen: &Snapshot, lock: Revision) -> TxnBuilder<'a> {
        let mut draft = self.draft(Purpose::Join);
        let claim = Key::Claim(place.id.attachment.clone());
        match self.demand {
            Demand::Take(_) => draft.absent(&claim).in_own_cluster(),
            Demand::Release { modified, .. } => draft.modified(&claim, *modified),
        };
        let taken_at = |seat: &Seat| Some(seen.seat(seat).ok()??.modified);
        for seat in &place.seats {
            draft.as_read(&Key::Ticket(seat.clone()), taken_at(seat));
        }
        let is_free = |seat: &&Seat| taken_at(seat).is_none();
        let seat = place
            .mate(seen)
            .or_else(|| place.seats.iter().find(is_free));
        let seat = seat.expect("no other attachment has its own seat").clone();
        let here = || self.traces.here();
        let ticket = Ticket::Asks {
            sender: self.sender,
            demand: self.demand.clone(),
            trace: self.queue.as_ref().and_then(|span| span.in_scope(here)),
        };
        let ticket = record::encode_ticket(&place.id.attachment, &ticket);
        draft
            .modified(&place.lock_key(), lock)
            .put(&Key::Ticket(seat), ticket)
            .read_anyway(place.queries())
            .read_otherwise(Query::whose_store(self.demand));
        draft
    }

    /// Deletes the own ticket, which is as it was read.
    pub(super) fn withdraw(&self, place: &Place, ticket: (&Seat, Revision)) -> TxnBuilder<'a> {
        let mut draft = self.draft(Purpose::Withdraw);
        remove(&mut draft, ticket);
        draft.read_anyway(place.queries());
        draft
    }

    /// Serves a batch, if the lock, read at the revision `lock`, and each ticket are as they were read.
    pub(super) fn batch(
        &self,
        place: &Place,
        (seen, lock): (&Snapshot, Revision),
        plan: &Plan,
        served: &[Served<'_>],
    ) -> TxnBuilder<'a> {
        let mut draft = self.draft(Purpose::Batch);
        draft
            .modified(&place.lock_key(), lock)
            .plan(plan, self.now.date);
        for ((demand, ticket), verdict) in served.iter().zip(&plan.verdicts) {
            match (ticket, place.own(seen)) {
                (Some(ticket), _) => answer(&mut draft, ticket, verdict),
                (None, Some((seat, own))) => remove(&mut draft, (seat, own.modified)),
                (None, None) => {}
            }
            if let Demand::Release { attachment, .. } = demand
                && let others = place.others(seen)
                && let Some(add) = others.iter().find(|other| is_add_of(other, attachment))
            {
                draft
                    .compare(Compare::Modified(add.key.clone(), add.modified))
                    .write(Write::Delete(add.key.clone()));
            }
        }
        draft
    }

    /// Does with the lock what `becomes` says, if it is as it was read: last written at this revision, or free.
    pub(super) fn lock_becomes(
        &self,
        place: &Place,
        lock: Option<Revision>,
        becomes: Becomes<'_>,
        reads: impl IntoIterator<Item = Query>,
    ) -> TxnBuilder<'a> {
        let key = place.lock_key();
        let mut draft = self.draft(becomes.purpose());
        draft.as_read(&key, lock).read_anyway(reads);
        match becomes {
            Becomes::Bound(lease) => draft.put_leased(&key, self.own_lock(), lease),
            Becomes::Offered(ticket, next) => draft
                .compare(Compare::Modified(ticket.key.clone(), ticket.modified))
                .put(&key, record::encode_lock(&next))
                .write(Write::Touch(ticket.key.clone())),
            Becomes::Free(since) => draft.delete_lock_if_last(&place.id.queue, since),
            Becomes::Touched => draft.touch(&key),
        };
        draft
    }
}

/// The future of a lock that is as it was read.
pub(super) enum Becomes<'q> {
    /// This process's, bound to a lease.
    Bound(LeaseId),
    /// Offered to the process of a ticket, which is touched.
    Offered(&'q QueueEntry, Lock),
    /// Free, if no ticket was written since this revision.
    Free(Revision),
    /// As it is: a commit that relies on it, and whose outcome is unknown, is impossible from now on.
    Touched,
}

impl Becomes<'_> {
    fn purpose(&self) -> Purpose {
        match self {
            Self::Bound(_) => Purpose::Acquire,
            Self::Offered(..) => Purpose::HandOver,
            Self::Free(_) => Purpose::StepDown,
            Self::Touched => Purpose::Fence,
        }
    }
}

/// Answers a ticket that is served: deletes it, or writes the reason why there is no address.
fn answer(draft: &mut TxnBuilder<'_>, ticket: &QueueEntry, verdict: &Verdict) {
    let key = ticket.key.clone();
    draft.compare(Compare::Modified(key.clone(), ticket.modified));
    draft.write(match (verdict, ticket.demand()) {
        (Verdict::Short(shortage), Some(Demand::Take(ask))) => {
            let refused = Ticket::Refused {
                sender: ticket.sender().expect("it can be read"),
                node: ask.owner.node.clone(),
                shortage: shortage.clone(),
            };
            let value = record::encode_ticket(&ask.attachment, &refused);
            Write::Rewrite { key, value }
        }
        _ => Write::Delete(key),
    });
}

/// Whether a ticket is an ADD of `attachment`: a DEL of it takes the ticket along.
fn is_add_of(queued: &QueueEntry, attachment: &Attachment) -> bool {
    let request = queued.request.as_ref();
    request.is_ok_and(|(id, _)| id.attachment == *attachment && id.verb == QueuedVerb::Add)
}

/// Deletes a ticket, which is as it was read.
pub(super) fn remove(draft: &mut TxnBuilder<'_>, (seat, modified): (&Seat, Revision)) {
    let key = Key::Ticket(seat.clone());
    draft.modified(&key, modified).delete(&key);
}
