//! The events of a revision, entered in the books one by one.

use whereabouts_core::address::{Bitmap, BlockKey};
use whereabouts_core::claim::{Attachment, Held, RangeId};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_store::Event;
use whereabouts_store::keys::{Key, Seat, TicketId};
use whereabouts_store::record::{self, Ticket};

use super::change::{Change, LockAt, TicketAt};
use super::ledger::Ledger;
use crate::setup::versions;

/// Which of its two keys a block has.
#[derive(Clone, Copy)]
enum Place {
    Open,
    Full,
}

impl Ledger {
    /// Takes in one event of a revision.
    pub(super) fn enter(&mut self, event: &Event, change: &mut Change) -> Result<(), String> {
        change.revision = event.revision();
        self.revision = event.revision();
        let key = self
            .keys
            .decode(event.key())
            .map_err(|error| error.to_string())?;
        match (key, event) {
            (Key::Open(slot), event) => {
                self.apply_block(slot, event, Place::Open, change)?;
            }
            (Key::Full(slot), event) => {
                self.apply_block(slot, event, Place::Full, change)?;
            }
            (Key::Claim(attachment), event) => {
                self.apply_claim(attachment, event, change)?;
            }
            (Key::OnNode(home, attachment), event) => {
                let homes = self.homes.entry(attachment.clone()).or_default();
                match event {
                    Event::Put(_) => homes.insert(home),
                    Event::Deleted { .. } => homes.remove(&home),
                };
                change.placed.insert(attachment);
            }
            (Key::Owner(owner), event) => self.apply_owner(owner, event, change)?,
            (Key::Lock(queue), event) => self.apply_lock(queue, event, change)?,
            (Key::Ticket(seat), event) => self.apply_ticket(&seat, event, change)?,
            (Key::Cluster, event) => self.apply_cluster(event, change)?,
            (Key::Network(name), _) => return Err(format!("no verb states the network {name}")),
        }
        Ok(())
    }

    fn apply_cluster(&mut self, event: &Event, change: &mut Change) -> Result<(), String> {
        let is_used = !(self.claims.is_empty() && self.owners.is_empty());
        change.renamed = self.cluster.is_some() || is_used;
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
        slot: BlockKey,
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
        change.placed.insert(attachment.clone());
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

    fn apply_owner(
        &mut self,
        owner: DurableOwner,
        event: &Event,
        change: &mut Change,
    ) -> Result<(), String> {
        let now = match event {
            Event::Put(entry) => {
                Some(record::decode_owner(&entry.value).map_err(|error| error.to_string())?)
            }
            Event::Deleted { .. } => None,
        };
        let before = self.owners.remove(&owner);
        for state in [&before, &now].into_iter().flatten() {
            match state {
                OwnerState::Attached(container) => {
                    change.placed.insert(owner.attachment(container));
                }
                OwnerState::Resting { held, .. } => {
                    change.slots.extend(held.iter().map(Held::slot));
                }
            }
        }
        if let Some(now) = &now {
            self.owners.insert(owner.clone(), now.clone());
        }
        change.owners.push((owner, before, now));
        Ok(())
    }

    fn apply_lock(
        &mut self,
        queue: RangeId,
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
            self.locks.insert(queue, LockAt { holder, lease });
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
        let ticket = TicketAt {
            id: id.clone(),
            spot: seat.spot.clone(),
            created: entry.created,
            sender: ticket.as_ref().map(Ticket::sender),
            is_answered,
            is_newer: versions::readable(&entry.value) != entry.value,
        };
        let before = index.map(|index| std::mem::replace(&mut queue[index], ticket.clone()));
        match &before {
            Some(before) => {
                change.touched.push(id.clone());
                if before.id != ticket.id {
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
}
