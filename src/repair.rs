//! What can be done about the findings of an audit. Pure: it writes nothing.
//!
//! Claims are what counts; blocks are made to agree with them. Where it cannot be told what is
//! right, nothing is repaired: a value that this version cannot read stays, an address that is held
//! twice is for a person to decide, and while a claim cannot be read no address becomes free.

use std::collections::BTreeSet;
use std::fmt;

use crate::address::{Bitmap, Slot};
use crate::audit::{Auditor, Block, Finding, Holder};
use crate::draft::Draft;
use crate::limits;
use crate::store::Revision;
use crate::store::keys::Key;
use crate::store::record;

/// One repair: one transaction, which is refused if what it rests on has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// A block is written anew.
    Block(BlockRepair),
    /// A ticket that would never end by itself is deleted: its key.
    Ticket(String),
}

/// How a block is made to agree with the claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRepair {
    slot: Slot,
    was: Block,
    now: Bitmap,
    /// The claims whose addresses are marked by it.
    holders: Vec<Holder>,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ticket(key) => write!(f, "delete the ticket {key}"),
            Self::Block(repair) => repair.fmt(f),
        }
    }
}

impl fmt::Display for BlockRepair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.was.marks(self.slot.block.family());
        let count = |one: Bitmap, other: Bitmap| {
            let bits = one.bits().filter(|bit| !other.is_set(*bit));
            bits.count()
        };
        let place = if self.is_full() { "full" } else { "open" };
        let (taken, freed) = (count(self.now, before), count(before, self.now));
        let slot = &self.slot;
        write!(
            f,
            "write block {slot} as {place}: {taken} more marked as taken, {freed} freed"
        )
    }
}

/// What to do about the `findings` on what `auditor` has seen.
pub fn plan(auditor: &Auditor, findings: &[Finding]) -> Vec<Repair> {
    let mut slots = BTreeSet::new();
    let mut repairs = Vec::new();
    for finding in findings {
        match finding {
            Finding::Unreadable { .. } | Finding::HeldTwice { .. } => {}
            Finding::NotMarked { pool, address, .. } | Finding::NotHeld { pool, address } => {
                slots.insert(Slot::of(pool, *address));
            }
            Finding::OpenAndFull(slot) | Finding::NoFreeBit(slot) => {
                slots.insert(slot.clone());
            }
            Finding::NoSuccessor(slot) => slots.extend(slot.successor()),
            Finding::NoLease(key) => repairs.push(Repair::Ticket(key.clone())),
        }
    }
    let blocks = slots
        .into_iter()
        .filter_map(|slot| BlockRepair::of(auditor, slot));
    repairs.extend(blocks.map(Repair::Block));
    repairs
}

impl BlockRepair {
    /// `None` when the block is to be left as it is.
    fn of(auditor: &Auditor, slot: Slot) -> Option<Self> {
        if auditor.is_unreadable(&slot) {
            return None;
        }
        let was = auditor.block(&slot);
        let before = was.marks(slot.block.family());
        let mut now = if auditor.has_unreadable_claim() {
            before
        } else {
            Bitmap::EMPTY
        };
        let mut holders = Vec::new();
        for (address, holder) in auditor.holders(&slot) {
            let is_new = !before.is_set(address.bit());
            if is_new && holders.len() >= limits::CLAIMS_PER_REPAIR {
                continue;
            }
            now.set(address.bit());
            if is_new {
                holders.push(holder.clone());
            }
        }
        let repair = Self {
            slot,
            was,
            now,
            holders,
        };
        (!repair.changes_nothing()).then_some(repair)
    }

    fn is_full(&self) -> bool {
        self.now.is_full(self.slot.block.family())
    }

    fn changes_nothing(&self) -> bool {
        let open = self.was.open.map(|(bitmap, _)| bitmap);
        match (open, self.was.full) {
            (Some(bitmap), None) => !self.is_full() && bitmap == self.now,
            (None, Some(_)) => self.is_full(),
            (None, None) | (Some(_), Some(_)) => false,
        }
    }

    /// Adds conditions and writes to a transaction. Whoever gives or frees an address of the block
    /// writes the block, so its revision stands for all claims but those whose address it does not
    /// mark yet.
    pub(crate) fn write(&self, draft: &mut Draft<'_>) {
        let (open, full) = (Key::Open(self.slot.clone()), Key::Full(self.slot.clone()));
        let opened = self.was.open.map(|(_, modified)| modified);
        for (key, modified) in [(&open, opened), (&full, self.was.full)] {
            match modified {
                Some(modified) => draft.modified(key, modified),
                None => draft.absent(key),
            };
        }
        let claims: BTreeSet<(Key, Revision)> = self
            .holders
            .iter()
            .map(|holder| (Key::Claim(holder.attachment.clone()), holder.modified))
            .collect();
        for (claim, modified) in claims {
            draft.modified(&claim, modified);
        }
        if self.is_full() {
            draft.put(&full, record::encode_full());
            if opened.is_some() {
                draft.delete(&open);
            }
            if let Some(next) = self.slot.successor() {
                let (open, full) = (Key::Open(next.clone()), Key::Full(next));
                draft.ensure(&open, &full, record::encode_block(&Bitmap::EMPTY));
            }
        } else {
            draft.put(&open, record::encode_block(&self.now));
            if self.was.full.is_some() {
                draft.delete(&full);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::executor::block_on;
    use proptest::prelude::*;

    use super::*;
    use crate::address::{Address, BlockId, Family, Name, Pool};
    use crate::audit::audit;
    use crate::claim::{Attachment, Claim, Held, Owner, QueueId};
    use crate::clock::{Chance, SystemClock};
    use crate::commands::{self, Repaired};
    use crate::session::Session;
    use crate::store::keys::Keys;
    use crate::store::memory::MemoryStore;
    use crate::store::{Entry, Outcome, Store, Txn, Write};

    /// Blocks that a claim may be of, and one more, which may have to be made.
    const BLOCKS: u128 = 3;

    fn address(number: u128) -> Address {
        Address::new(Family::V4, (10 << 24) + number).expect("inside the family")
    }

    fn put(store: &MemoryStore, key: Vec<u8>, value: Vec<u8>) {
        let write = Write::Put {
            key,
            value,
            lease: 0,
        };
        let txn = Txn {
            writes: vec![write],
            ..Txn::default()
        };
        let outcome = block_on(store.commit(&txn)).expect("memory");
        assert!(matches!(outcome, Outcome::Done(_)));
    }

    fn claim_key(number: u128) -> Key {
        Key::Claim(Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(&format!("c{number}")).expect("a name"),
            interface: "eth0".to_owned(),
        })
    }

    fn claim(number: u128) -> Vec<u8> {
        record::encode_claim(&Claim {
            held: vec![Held {
                range: QueueId {
                    pool: Pool::default(),
                    cidr: "10.0.0.0/8".parse().expect("a CIDR"),
                },
                address: address(number),
            }],
            owner: Owner::default(),
            created: Duration::ZERO,
        })
    }

    /// What may stand under the two keys of a block.
    fn blocks() -> impl Strategy<Value = Vec<(Option<[u8; 32]>, bool)>> {
        let open = proptest::option::of(prop_oneof![
            Just([0; 32]),
            Just([255; 32]),
            proptest::array::uniform32(any::<u8>()),
        ]);
        let block = (open, proptest::bool::weighted(0.3));
        proptest::collection::vec(block, BLOCKS as usize)
    }

    /// A store of these claims and blocks, whatever they have to do with each other.
    fn stored(
        keys: &Keys,
        claims: &BTreeSet<u128>,
        blocks: &[(Option<[u8; 32]>, bool)],
    ) -> MemoryStore {
        let store = MemoryStore::default();
        for number in claims {
            put(&store, keys.encode(&claim_key(*number)), claim(*number));
        }
        for (number, (open, full)) in (0..).zip(blocks) {
            let slot = Slot {
                pool: Pool::default(),
                block: BlockId::of(address(number << 8)),
            };
            if let Some(bits) = open {
                let mut bitmap = Bitmap::from_bytes(bits);
                bitmap.clear(0);
                let key = keys.encode(&Key::Open(slot.clone()));
                put(&store, key, record::encode_block(&bitmap));
            }
            if *full {
                put(&store, keys.encode(&Key::Full(slot)), record::encode_full());
            }
        }
        store
    }

    fn look(keys: &Keys, store: &MemoryStore) -> Vec<Repair> {
        let mut auditor = Auditor::default();
        for entry in store.entries() {
            auditor.enter(keys, &entry);
        }
        plan(&auditor, &auditor.audit().findings)
    }

    /// Repairs until nothing is left to repair.
    fn repair_all(keys: &Keys, store: &MemoryStore) {
        let chance = Chance::new(1);
        let deadline = Duration::from_mins(1);
        let session = Session::new(store, &SystemClock, &chance, keys, deadline);
        for _ in 0..limits::REPAIR_PASSES {
            for repair in look(keys, store) {
                let repaired = block_on(commands::repair(&session, &repair)).expect("memory");
                // A block may have been made by the repair of the one before it.
                assert!(matches!(repaired, Repaired::Done | Repaired::Changed));
            }
        }
        assert_eq!(look(keys, store), [], "a few passes are enough");
    }

    fn claims_of(keys: &Keys, store: &MemoryStore) -> Vec<Entry> {
        let (from, until) = keys.claims(None);
        let mut entries = store.entries();
        entries.retain(|entry| from <= entry.key && entry.key < until);
        entries
    }

    fn marked(keys: &Keys, store: &MemoryStore) -> BTreeSet<Address> {
        let mut auditor = Auditor::default();
        for entry in store.entries() {
            auditor.enter(keys, &entry);
        }
        let slots = (0..BLOCKS).map(|number| Slot {
            pool: Pool::default(),
            block: BlockId::of(address(number << 8)),
        });
        let bits = slots.flat_map(|slot| {
            let marks = auditor.block(&slot).marks(Family::V4);
            let addresses: Vec<Address> = marks.bits().map(|bit| slot.block.address(bit)).collect();
            addresses
        });
        bits.collect()
    }

    fn numbers() -> impl Strategy<Value = BTreeSet<u128>> {
        let number = (0..BLOCKS, 1_u128..256).prop_map(|(block, bit)| (block << 8) + bit);
        let some = proptest::collection::btree_set(number, 0..40);
        // All of the first block, which no single transaction can mark.
        let all = (1_u128..256).collect::<BTreeSet<_>>();
        prop_oneof![4 => some, 1 => Just(all)]
    }

    /// What `act` does between the plan and its one repair, which is refused then.
    #[track_caller]
    fn check_refused(
        claims: &[u128],
        blocks: &[(Option<[u8; 32]>, bool)],
        act: impl FnOnce(&Keys, &MemoryStore),
    ) {
        let keys = Keys::new("/x/");
        let store = stored(&keys, &claims.iter().copied().collect(), blocks);
        let repairs = look(&keys, &store);
        let [repair] = repairs.as_slice() else {
            panic!("not one repair: {repairs:?}");
        };
        act(&keys, &store);
        let before = store.entries();
        let chance = Chance::new(1);
        let session = Session::new(&store, &SystemClock, &chance, &keys, Duration::from_mins(1));
        let repaired = block_on(commands::repair(&session, repair)).expect("memory");
        assert_eq!(repaired, Repaired::Changed);
        assert_eq!(store.entries(), before);
    }

    #[test]
    fn a_repair_is_refused_when_the_block_or_a_claim_it_marks_has_changed() {
        let mut leaked = [0; 32];
        leaked[0] = 0b110;
        let open = |number: u128| {
            let block = BlockId::of(address(number << 8));
            let pool = Pool::default();
            Key::Open(Slot { pool, block })
        };
        check_refused(&[1], &[(Some(leaked), false)], |keys, store| {
            let mut bitmap = Bitmap::from_bytes(&leaked);
            bitmap.set(3);
            put(store, keys.encode(&open(0)), record::encode_block(&bitmap));
        });
        check_refused(&[1], &[], |keys, store| {
            put(store, keys.encode(&claim_key(1)), claim(1));
        });
        check_refused(&[1], &[], |keys, store| {
            put(
                store,
                keys.encode(&open(0)),
                record::encode_block(&Bitmap::EMPTY),
            );
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever blocks say, after the repairs they say what the claims do, which are untouched.
        #[test]
        fn repaired_blocks_agree_with_claims(claims in numbers(), blocks in blocks()) {
            let keys = Keys::new("/x/");
            let store = stored(&keys, &claims, &blocks);
            let before = claims_of(&keys, &store);
            repair_all(&keys, &store);
            prop_assert_eq!(claims_of(&keys, &store), before);
            prop_assert_eq!(audit(&keys, &store.entries()).findings, []);
        }

        /// While a claim cannot be read, what is marked stays so, as it may be what that claim holds.
        #[test]
        fn no_bit_is_cleared_while_a_claim_cannot_be_read(
            claims in numbers(),
            blocks in blocks(),
        ) {
            let keys = Keys::new("/x/");
            let store = stored(&keys, &claims, &blocks);
            put(&store, keys.encode(&claim_key(9_999)), vec![9]);
            let before = marked(&keys, &store);
            repair_all(&keys, &store);
            let after = marked(&keys, &store);
            prop_assert!(after.is_superset(&before));
            prop_assert!(claims.iter().all(|number| after.contains(&address(*number))));
        }
    }
}
