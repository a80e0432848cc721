//! The writes of a plan, and the fence that makes them impossible.

use std::time::Duration;

use whereabouts_core::address::Bitmap;
use whereabouts_core::allocator::{BlockState, End, Grant, OwnerGuard, Plan, Release};
use whereabouts_core::claim::Ask;
use whereabouts_core::durable::OwnerState;

use super::TxnBuilder;
use crate::keys::Key;
use crate::record;

impl TxnBuilder<'_> {
    /// Adds the plan's conditions and writes to a transaction. `created` is the time for its claims.
    pub fn plan(&mut self, plan: &Plan, created: Duration) {
        for (slot, change) in &plan.blocks {
            let (open, full) = (Key::Open(slot.clone()), Key::Full(slot.clone()));
            let now_full = change.now.is_full(slot.block.family());
            let (key, other) = if now_full {
                (&full, &open)
            } else {
                (&open, &full)
            };
            match change.was {
                BlockState::Absent => self.absent(&open).absent(&full),
                BlockState::Open(_, revision) => self.modified(&open, revision),
                BlockState::Full(_, revision) => self.modified(&full, revision),
            };
            let moves = match change.was {
                BlockState::Absent => false,
                BlockState::Open(..) => now_full,
                BlockState::Full(..) => !now_full,
            };
            if moves {
                self.delete(other);
            }
            let value = if now_full {
                record::encode_full()
            } else {
                record::encode_block(&change.now)
            };
            self.put(key, value);
        }
        for slot in &plan.ensured {
            let (open, full) = (Key::Open(slot.clone()), Key::Full(slot.clone()));
            self.ensure(&open, &full, record::encode_block(&Bitmap::EMPTY));
        }
        if !plan.given.is_empty() {
            self.in_own_cluster();
        }
        for Grant { ask, held, owner } in &plan.given {
            let key = Key::Claim(ask.attachment.clone());
            let claim = ask.claim(held.clone(), created);
            self.absent(&key);
            if let Some(guard) = owner {
                self.guard_owner(ask, *guard);
            }
            self.put_claim(&ask.attachment, &claim);
        }
        for Release {
            attachment,
            home,
            rests,
            modified,
        } in &plan.released
        {
            self.modified(&Key::Claim(attachment.clone()), *modified)
                .delete_claim(attachment, home.as_ref());
            if let Some((owner, held)) = rests {
                let state = OwnerState::Resting {
                    held: held.clone(),
                    since: created,
                };
                self.put(&Key::Owner(owner.clone()), record::encode_owner(&state));
            }
        }
        for End { owner, modified } in &plan.ended {
            let key = Key::Owner(owner.clone());
            self.modified(&key, *modified).delete(&key);
        }
    }

    /// Adds what must hold of the durable owner of `ask`.
    fn guard_owner(&mut self, ask: &Ask, guard: OwnerGuard) {
        let owner = ask.durable_owner().expect("a guard is of a durable owner");
        let key = Key::Owner(owner);
        match guard {
            OwnerGuard::Absent => self.absent(&key),
            OwnerGuard::Modified(revision) => self.modified(&key, revision),
            OwnerGuard::Covered => self,
        };
    }

    /// Adds what makes this plan, which writes something, impossible to commit ever after: a claim
    /// a durable owner or a block that it relies on is written with the value it had, and so has a new revision.
    pub fn fence(&mut self, plan: &Plan) {
        if let Some(release) = plan.released.first() {
            let key = Key::Claim(release.attachment.clone());
            self.modified(&key, release.modified).touch(&key);
            return;
        }
        if let Some(End { owner, modified }) = plan.ended.first() {
            let key = Key::Owner(owner.clone());
            self.modified(&key, *modified).touch(&key);
            return;
        }
        let revived = plan.given.iter().find_map(|grant| match grant.owner? {
            OwnerGuard::Modified(revision) => Some((grant.ask.durable_owner()?, revision)),
            OwnerGuard::Absent | OwnerGuard::Covered => None,
        });
        if let Some((owner, revision)) = revived {
            let key = Key::Owner(owner);
            self.modified(&key, revision).touch(&key);
            return;
        }
        let (slot, change) = plan
            .blocks
            .first_key_value()
            .expect("a plan that moves nothing takes bits of a block");
        let (open, full) = (Key::Open(slot.clone()), Key::Full(slot.clone()));
        match change.was {
            BlockState::Absent => self
                .absent(&open)
                .absent(&full)
                .put(&open, record::encode_block(&Bitmap::EMPTY)),
            BlockState::Open(_, revision) => self.modified(&open, revision).touch(&open),
            BlockState::Full(_, revision) => self.modified(&full, revision).touch(&full),
        };
    }
}
