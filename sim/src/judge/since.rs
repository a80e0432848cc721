//! The changes of blocks since some revision.

use std::collections::BTreeMap;

use whereabouts_core::address::{Bitmap, BlockKey};
use whereabouts_core::claim::Held;

/// The changes of blocks since some revision.
#[derive(Clone, Debug, Default)]
pub(super) struct Since {
    taken: BTreeMap<BlockKey, Vec<u8>>,
    freed: BTreeMap<BlockKey, Vec<u8>>,
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

    pub(super) fn apply(&self, slot: &BlockKey, bitmap: &mut Bitmap) {
        for bit in self.taken.get(slot).into_iter().flatten() {
            bitmap.set(*bit);
        }
        for bit in self.freed.get(slot).into_iter().flatten() {
            bitmap.clear(*bit);
        }
    }
}
