//! The books: what the store holds at each revision, decoded, with what it held before.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::address::{Address, Bitmap, Interval, Pool, Slot};
use whereabouts_core::claim::{Attachment, Claim, Held, QueueId};
use whereabouts_core::identity::Identity;
use whereabouts_store::keys::{Key, Keys, Seat, Spot, TicketId};
use whereabouts_store::record::{self, Lock, Sender, Ticket};
use whereabouts_store::{Event, LeaseId, Revision};

use crate::versions;

/// The states that something had, each from a revision on.
type Past<T> = Vec<(Revision, T)>;

/// A ticket in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketAt {
    /// Who waits for what.
    pub id: TicketId,
    /// Where in its queue.
    pub spot: Spot,
    /// The revision that gives its place.
    pub created: Revision,
    /// Who put it; of one that cannot be read, that is not known.
    pub sender: Option<Sender>,
    /// Whether it has been answered.
    pub is_answered: bool,
    /// Whether its owner was woken, and nobody has had the lock since.
    pub is_woken: bool,
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
    /// Who has it, or had it last.
    pub holder: Lock,
    /// The holder's lease; 0 when it is offered.
    pub lease: LeaseId,
    /// To whom it is offered, who may use it until another writes it: to those whose tickets were touched with it,
    /// or to the one who was refused.
    pub offered: Vec<Attachment>,
}

impl LockAt {
    /// Whether somebody has it by a lease.
    pub fn is_held(&self) -> bool {
        self.lease != 0
    }
}

/// A claim, and whose it is.
type Claimed = (Attachment, Claim);

/// What one revision changed.
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
    /// Blocks that were written, moved or deleted, or that those claims are about.
    pub slots: BTreeSet<Slot>,
    /// Whether any block was written, moved or deleted.
    pub writes_blocks: bool,
    /// Tickets that went, oldest first.
    pub left: Vec<TicketAt>,
    /// Tickets that were written and were there before.
    pub touched: Vec<TicketId>,
    /// Tickets that were rewritten with an answer.
    pub answered: Vec<TicketId>,
    /// Tickets that were put in the place of another process's.
    pub replaced: Vec<TicketId>,
    /// The queues of those tickets as they were before, oldest first.
    pub queues_before: BTreeMap<QueueId, Vec<TicketAt>>,
    /// The locks that were written or went, as they were before.
    pub locks_before: BTreeMap<QueueId, Option<LockAt>>,
    /// Addresses that were given while another claim held them.
    pub given_twice: Vec<(Pool, Address)>,
    /// Whether the store was one cluster's, and is not any more; or is that of one that came to others' claims.
    pub renamed: bool,
}

impl Change {
    /// The claim that went, and the one that came in its place: where no block is written, those who wait for a free
    /// address are not concerned.
    pub(super) fn taken_over(&self) -> Option<(&Claimed, &Claimed)> {
        match (&self.taken[..], &self.given[..]) {
            ([old], [new]) if !self.writes_blocks => Some((old, new)),
            _ => None,
        }
    }
}

/// What the store holds, and held.
#[derive(Debug)]
pub struct Ledger {
    keys: Keys,
    revision: Revision,
    cluster: Option<Identity>,
    /// Whether there were claims while the store was nobody's.
    was_nobodys: bool,
    claims: BTreeMap<Attachment, Claim>,
    open: BTreeMap<Slot, Bitmap>,
    full: BTreeMap<Slot, Bitmap>,
    queues: BTreeMap<QueueId, Vec<TicketAt>>,
    locks: BTreeMap<QueueId, LockAt>,
    /// The addresses of all claims, as blocks would have them.
    held: BTreeMap<Slot, Bitmap>,
    /// The bitmaps that each block had, by revision.
    past: BTreeMap<Slot, Past<Bitmap>>,
    /// What each attachment held, by revision.
    past_claims: BTreeMap<Attachment, Past<Option<Vec<Held>>>>,
}

impl Ledger {
    pub(super) fn new(keys: Keys) -> Self {
        Self {
            keys,
            revision: 1,
            cluster: None,
            was_nobodys: false,
            claims: BTreeMap::new(),
            open: BTreeMap::new(),
            full: BTreeMap::new(),
            queues: BTreeMap::new(),
            locks: BTreeMap::new(),
            held: BTreeMap::new(),
            past: BTreeMap::new(),
            past_claims: BTreeMap::new(),
        }
    }

    /// The last revision that was taken in.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whose the store is.
    pub fn cluster(&self) -> Option<&Identity> {
        self.cluster.as_ref()
    }

    /// Whether there ever were claims while the store was nobody's.
    pub fn was_nobodys(&self) -> bool {
        self.was_nobodys
    }

    /// The claims.
    pub fn claims(&self) -> &BTreeMap<Attachment, Claim> {
        &self.claims
    }

    /// The claim of an attachment.
    pub fn claim(&self, attachment: &Attachment) -> Option<&Claim> {
        self.claims.get(attachment)
    }

    /// All tickets.
    pub fn tickets(&self) -> impl Iterator<Item = &TicketAt> {
        self.queues.values().flatten()
    }

    /// All locks that are not free.
    pub fn locks(&self) -> &BTreeMap<QueueId, LockAt> {
        &self.locks
    }

    /// The lock of a queue before `change`.
    pub(super) fn lock_before<'l>(
        &'l self,
        queue: &QueueId,
        change: &'l Change,
    ) -> Option<&'l LockAt> {
        match change.locks_before.get(queue) {
            Some(before) => before.as_ref(),
            None => self.locks.get(queue),
        }
    }

    /// The tickets of a queue, oldest first.
    pub fn queue(&self, queue: &QueueId) -> &[TicketAt] {
        self.queues.get(queue).map_or(&[][..], Vec::as_slice)
    }

    /// Bits set in all blocks.
    pub fn set_bits(&self) -> u32 {
        self.open
            .values()
            .chain(self.full.values())
            .map(Bitmap::count)
            .sum()
    }

    /// The bitmaps under the two keys of a block.
    pub(super) fn block(&self, slot: &Slot) -> (Option<&Bitmap>, Option<&Bitmap>) {
        (self.open.get(slot), self.full.get(slot))
    }

    /// What the claims say that a block's bitmap should be.
    pub(super) fn held(&self, slot: &Slot) -> Bitmap {
        self.held.get(slot).copied().unwrap_or_default()
    }

    /// A block's bitmap at a past revision.
    pub(super) fn bitmap_at(&self, slot: &Slot, revision: Revision) -> Bitmap {
        let past = self.past.get(slot).map_or(&[][..], Vec::as_slice);
        let count = past.partition_point(|(at, _)| *at <= revision);
        count
            .checked_sub(1)
            .map_or(Bitmap::EMPTY, |last| past[last].1)
    }

    /// What an attachment held from `from` through `until`: each state it had.
    pub(super) fn held_between(
        &self,
        attachment: &Attachment,
        from: Revision,
        until: Revision,
    ) -> impl Iterator<Item = Option<&Vec<Held>>> {
        let past = self
            .past_claims
            .get(attachment)
            .map_or(&[][..], Vec::as_slice);
        let before = past.partition_point(|(at, _)| *at <= from).checked_sub(1);
        let first = before.map_or(Some(None), |index| Some(past[index].1.as_ref()));
        let later = past
            .iter()
            .filter(move |(at, _)| *at > from && *at <= until);
        first
            .into_iter()
            .chain(later.map(|(_, held)| held.as_ref()))
    }

    /// The lowest address of `intervals` that was free at `revision`, `taken` and `freed` being
    /// what changed since.
    pub(super) fn lowest_free_at(
        &self,
        pool: &Pool,
        intervals: &[Interval],
        revision: Revision,
        since: &Since,
    ) -> Option<Address> {
        intervals.iter().find_map(|interval| {
            let (mut block, last) = interval.blocks();
            loop {
                let slot = Slot {
                    pool: pool.clone(),
                    block,
                };
                let mut bitmap = self.bitmap_at(&slot, revision);
                since.apply(&slot, &mut bitmap);
                let free = block
                    .window(*interval)
                    .and_then(|window| bitmap.lowest_free(window));
                if let Some(bit) = free {
                    return Some(block.address(bit));
                }
                block = block.successor().filter(|next| *next <= last)?;
            }
        })
    }

    /// Takes in the events of one revision.
    pub(super) fn apply(&mut self, events: &[&Event]) -> Result<Change, String> {
        let mut change = Change::default();
        for event in events {
            change.revision = event.revision();
            self.revision = event.revision();
            let key = self
                .keys
                .decode(event.key())
                .map_err(|error| error.to_string())?;
            match (key, event) {
                (Key::Open(slot), event) => {
                    self.apply_block(slot, event, Place::Open, &mut change)?;
                }
                (Key::Full(slot), event) => {
                    self.apply_block(slot, event, Place::Full, &mut change)?;
                }
                (Key::Claim(attachment), event) => {
                    self.apply_claim(attachment, event, &mut change)?;
                }
                (Key::Lock(queue), event) => self.apply_lock(queue, event, &mut change)?,
                (Key::Ticket(seat), event) => self.apply_ticket(&seat, event, &mut change)?,
                (Key::Cluster, event) => self.apply_cluster(event, &mut change)?,
            }
        }
        for (attachment, claim) in &change.taken {
            self.let_go(claim);
            self.remember_claim(attachment, None);
        }
        for (attachment, before, after) in &change.rewritten {
            self.let_go(before);
            self.hold(after, &mut change.given_twice);
            self.remember_claim(attachment, Some(after));
        }
        for (attachment, claim) in &change.given {
            self.hold(claim, &mut change.given_twice);
            self.remember_claim(attachment, Some(claim));
        }
        for slot in &change.slots {
            let now = self.open.get(slot).or_else(|| self.full.get(slot)).copied();
            let past = self.past.entry(slot.clone()).or_default();
            past.push((self.revision, now.unwrap_or_default()));
        }
        change.left.sort_by_key(|ticket| ticket.created);
        self.note_offers(&change);
        self.was_nobodys |= self.cluster.is_none() && !change.given.is_empty();
        Ok(change)
    }

    fn note_offers(&mut self, change: &Change) {
        for (queue, before) in &change.locks_before {
            let Some(lock) = self.locks.get_mut(queue).filter(|lock| !lock.is_held()) else {
                continue;
            };
            let touched = change.touched.iter().filter(|id| id.queue == *queue);
            lock.offered = touched.map(|id| id.attachment.clone()).collect();
            if lock.offered.is_empty() {
                lock.offered = match before {
                    None => vec![lock.holder.attachment.clone()],
                    Some(before) => before.offered.clone(),
                };
            }
        }
    }

    fn apply_cluster(&mut self, event: &Event, change: &mut Change) -> Result<(), String> {
        change.renamed = self.cluster.is_some() || !self.claims.is_empty();
        self.cluster = match event {
            Event::Put(entry) => {
                Some(record::decode_cluster(&entry.value).map_err(|error| error.to_string())?)
            }
            Event::Deleted { .. } => None,
        };
        Ok(())
    }

    fn apply_block(
        &mut self,
        slot: Slot,
        event: &Event,
        place: Place,
        change: &mut Change,
    ) -> Result<(), String> {
        let blocks = match place {
            Place::Open => &mut self.open,
            Place::Full => &mut self.full,
        };
        match event {
            Event::Put(entry) => {
                let bitmap = match place {
                    Place::Open => record::decode_block(&entry.value),
                    Place::Full => record::decode_full(&entry.value)
                        .map(|()| Bitmap::full(slot.block.family())),
                };
                blocks.insert(slot.clone(), bitmap.map_err(|error| error.to_string())?);
            }
            Event::Deleted { .. } => drop(blocks.remove(&slot)),
        }
        change.slots.insert(slot);
        change.writes_blocks = true;
        Ok(())
    }

    fn apply_claim(
        &mut self,
        attachment: Attachment,
        event: &Event,
        change: &mut Change,
    ) -> Result<(), String> {
        let before = self.claims.remove(&attachment);
        let now = match event {
            Event::Put(entry) => {
                Some(record::decode_claim(&entry.value).map_err(|error| error.to_string())?)
            }
            Event::Deleted { .. } => None,
        };
        for claim in [&before, &now].into_iter().flatten() {
            change.slots.extend(claim.held.iter().map(Held::slot));
        }
        match (before, now) {
            (None, Some(now)) => {
                self.claims.insert(attachment.clone(), now.clone());
                change.given.push((attachment, now));
            }
            (Some(before), Some(now)) => {
                self.claims.insert(attachment.clone(), now.clone());
                change.rewritten.push((attachment, before, now));
            }
            (Some(before), None) => change.taken.push((attachment, before)),
            (None, None) => {}
        }
        Ok(())
    }

    fn apply_lock(
        &mut self,
        queue: QueueId,
        event: &Event,
        change: &mut Change,
    ) -> Result<(), String> {
        let before = self.locks.remove(&queue);
        change
            .locks_before
            .entry(queue.clone())
            .or_insert_with(|| before.clone());
        if let Event::Put(entry) = event {
            let holder = record::decode_lock(&entry.value).map_err(|error| error.to_string())?;
            let lease = entry.lease;
            if lease != 0 {
                let waiting = self.queues.get_mut(&queue).into_iter().flatten();
                waiting.for_each(|ticket| ticket.is_woken = false);
            }
            let offered = Vec::new();
            let lock = LockAt {
                holder,
                lease,
                offered,
            };
            self.locks.insert(queue, lock);
        }
        Ok(())
    }

    fn apply_ticket(
        &mut self,
        seat: &Seat,
        event: &Event,
        change: &mut Change,
    ) -> Result<(), String> {
        let queue = self.queues.entry(seat.queue.clone()).or_default();
        change
            .queues_before
            .entry(seat.queue.clone())
            .or_insert_with(|| queue.clone());
        let index = queue.iter().position(|ticket| ticket.is_at(seat));
        let Event::Put(entry) = event else {
            change.left.extend(index.map(|index| queue.remove(index)));
            return Ok(());
        };
        let attachment =
            record::decode_whose_ticket(&entry.value).map_err(|error| error.to_string())?;
        let id = TicketId {
            queue: seat.queue.clone(),
            attachment,
            verb: seat.verb,
        };
        let ticket = record::decode_ticket(seat, &versions::readable(&entry.value));
        let ticket = ticket.map(|(_, ticket)| ticket).ok();
        let is_answered = matches!(ticket, Some(Ticket::Refused { .. }));
        // Who is touched while somebody has the lock has nothing to take.
        let is_free = self
            .locks
            .get(&seat.queue)
            .is_none_or(|lock| !lock.is_held());
        let ticket = TicketAt {
            id: id.clone(),
            spot: seat.spot.clone(),
            created: entry.created,
            sender: ticket.as_ref().map(Ticket::sender),
            is_answered,
            is_woken: index.is_some() && !is_answered && is_free,
        };
        let before = index.map(|index| std::mem::replace(&mut queue[index], ticket.clone()));
        match &before {
            Some(before) => {
                change.touched.push(id.clone());
                if (&before.id, before.sender) != (&ticket.id, ticket.sender) {
                    change.replaced.push(id.clone());
                }
            }
            None => queue.push(ticket),
        }
        if is_answered && before.is_none_or(|before| !before.is_answered) {
            change.answered.push(id);
        }
        Ok(())
    }

    fn hold(&mut self, claim: &Claim, given_twice: &mut Vec<(Pool, Address)>) {
        for held in &claim.held {
            let bitmap = self.held.entry(held.slot()).or_default();
            if bitmap.is_set(held.address.bit()) {
                given_twice.push((held.range.pool.clone(), held.address));
            }
            bitmap.set(held.address.bit());
        }
    }

    fn let_go(&mut self, claim: &Claim) {
        for held in &claim.held {
            self.held
                .entry(held.slot())
                .or_default()
                .clear(held.address.bit());
        }
    }

    fn remember_claim(&mut self, attachment: &Attachment, claim: Option<&Claim>) {
        let held = claim.map(|claim| claim.held.clone());
        self.past_claims
            .entry(attachment.clone())
            .or_default()
            .push((self.revision, held));
    }
}

/// Which of its two keys a block has.
#[derive(Clone, Copy)]
enum Place {
    Open,
    Full,
}

/// What has changed in blocks since some revision.
#[derive(Clone, Debug, Default)]
pub(super) struct Since {
    taken: BTreeMap<Slot, Vec<u8>>,
    freed: BTreeMap<Slot, Vec<u8>>,
}

impl Since {
    pub(super) fn take(&mut self, held: &Held) {
        let bits = self.freed.entry(held.slot()).or_default();
        bits.retain(|bit| *bit != held.address.bit());
        self.taken
            .entry(held.slot())
            .or_default()
            .push(held.address.bit());
    }

    pub(super) fn free(&mut self, held: &Held) {
        let bits = self.taken.entry(held.slot()).or_default();
        bits.retain(|bit| *bit != held.address.bit());
        self.freed
            .entry(held.slot())
            .or_default()
            .push(held.address.bit());
    }

    fn apply(&self, slot: &Slot, bitmap: &mut Bitmap) {
        for bit in self.taken.get(slot).into_iter().flatten() {
            bitmap.set(*bit);
        }
        for bit in self.freed.get(slot).into_iter().flatten() {
            bitmap.clear(*bit);
        }
    }
}
