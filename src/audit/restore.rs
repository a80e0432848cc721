//! The steps from the stored entries to those of a backup. Pure: it decides the writes and the
//! conditions of each step.
//!
//! A restore may be interrupted at any point; a second run completes it. So an address that was
//! taken stays taken until the end proves it free.
//!
//! 1. Blocks mark the addresses that they mark now and those that the backup marks.
//! 2. The claims of the backup are put, then the other claims are deleted.
//! 3. Durable owners become those of the backup, then blocks and all other entries.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::address::{Bitmap, BlockKey};
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::record;
use whereabouts_store::{Compare, Entry, Revision, Write};

/// Writes that belong together, and their conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The conditions.
    pub compares: Vec<Compare>,
    /// The writes.
    pub writes: Vec<Write>,
}

impl Step {
    /// Puts `key` if it has not changed since it was seen: at revision `modified`, or absent.
    pub fn put(key: Vec<u8>, value: Vec<u8>, modified: Option<Revision>) -> Self {
        Self {
            compares: vec![as_seen(&key, modified)],
            writes: vec![Write::Put {
                key,
                value,
                lease: 0,
            }],
        }
    }

    /// Deletes `key` if it has not changed since it was seen.
    pub fn delete(key: Vec<u8>, modified: Revision) -> Self {
        Self {
            compares: vec![as_seen(&key, Some(modified))],
            writes: vec![Write::Delete(key)],
        }
    }

    /// The number of operations that the step uses of a transaction.
    pub fn operations(&self) -> usize {
        self.compares.len().max(self.writes.len())
    }

    /// The approximate size of the step in a request, in bytes.
    pub fn bytes(&self) -> usize {
        const AROUND: usize = 32;
        let compares = self.compares.iter().map(|compare| match compare {
            Compare::Absent(key) | Compare::Modified(key, _) | Compare::Created(key, _) => {
                key.len() + AROUND
            }
            Compare::Value(key, value) => key.len() + value.len() + AROUND,
            Compare::NoneIn(from, until) => from.len() + until.len() + AROUND,
        });
        let writes = self.writes.iter().map(|write| match write {
            Write::Put { key, value, .. } => key.len() + value.len() + AROUND,
            Write::Delete(key) => key.len() + AROUND,
            other => unreachable!("a restore does not {other:?}"),
        });
        compares.chain(writes).sum()
    }
}

fn as_seen(key: &[u8], modified: Option<Revision>) -> Compare {
    match modified {
        Some(revision) => Compare::Modified(key.to_vec(), revision),
        None => Compare::Absent(key.to_vec()),
    }
}

/// The values of a block under its two keys, `open/` and `full/`, with their revisions.
type Values = [Option<(Vec<u8>, Revision)>; 2];

/// All entries except claims, of the store or of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    blocks: BTreeMap<BlockKey, Values>,
    /// The values of durable owners by their keys, with their revisions.
    owners: BTreeMap<Vec<u8>, (Vec<u8>, Revision)>,
    /// The identity of the cluster, locks and tickets, and keys that cannot be read.
    others: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Another process has written a block during the restore.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {0} is not as this restore has left it: another process writes below the prefix")]
pub struct Disturbed(BlockKey);

impl Rest {
    /// Adds an entry. The revision of a backup's entry has no meaning.
    pub fn enter(&mut self, keys: &Keys, entry: &Entry) {
        let (slot, place) = match keys.decode(&entry.key) {
            Ok(Key::Open(slot)) => (slot, 0),
            Ok(Key::Full(slot)) => (slot, 1),
            Ok(Key::Owner(_)) => {
                let value = (entry.value.clone(), entry.modified);
                self.owners.insert(entry.key.clone(), value);
                return;
            }
            Ok(
                Key::Claim(_)
                | Key::OnNode(..)
                | Key::Lock(_)
                | Key::Ticket(_)
                | Key::Cluster
                | Key::Network(_),
            )
            | Err(_) => {
                self.others.insert(entry.key.clone(), entry.value.clone());
                return;
            }
        };
        let values = self.blocks.entry(slot).or_default();
        values[place] = Some((entry.value.clone(), entry.modified));
    }

    /// The number of keys that `other` does not have.
    pub fn count_without(&self, other: &Self) -> usize {
        let others = self.others.keys();
        let others = others.filter(|key| !other.others.contains_key(*key));
        let owners = self.owners.keys();
        let owners = owners.filter(|key| !other.owners.contains_key(*key));
        let lost = others.chain(owners).count();
        let blocks = self.blocks.iter().map(|(slot, values)| {
            let kept = other.blocks.get(slot);
            let is_lost = |place: &usize| {
                values[*place].is_some() && kept.is_none_or(|kept| kept[*place].is_none())
            };
            (0..2).filter(is_lost).count()
        });
        lost + blocks.sum::<usize>()
    }

    /// The first steps to `wanted`: each block marks the addresses that either state marks. If one
    /// of the two states of a block cannot be read, the block stays or becomes unreadable. No
    /// process takes an address from an unreadable block.
    pub fn join(&self, keys: &Keys, wanted: &Self) -> Vec<Step> {
        let slots = wanted.blocks.keys();
        let steps = slots.filter_map(|slot| {
            let (here, there) = (self.values(slot), &wanted.blocks[slot]);
            let target = match (marks(slot, &here), marks(slot, there)) {
                (None, _) => return None,
                (Some(_), None) => there.clone(),
                (Some(one), Some(other)) => values_of(slot, joined(one, other)),
            };
            step(keys, slot, &here, &target)
        });
        steps.collect()
    }

    /// The last steps to `wanted`. This state must be the result of [`Rest::join`] of `before` and
    /// `wanted`.
    pub fn finish(
        &self,
        keys: &Keys,
        before: &Self,
        wanted: &Self,
    ) -> Result<Vec<Step>, Disturbed> {
        // A block frees what no durable owner keeps any more.
        let mut steps = self.owner_steps(wanted);
        let slots: BTreeSet<&BlockKey> = [self, before, wanted]
            .iter()
            .flat_map(|one| one.blocks.keys())
            .collect();
        for slot in slots {
            let (now, was, target) = (self.values(slot), before.values(slot), wanted.values(slot));
            let expected = match (marks(slot, &was), marks(slot, &target)) {
                (Some(one), Some(other)) => Some(joined(one, other)),
                (None, _) | (_, None) => None,
            };
            if marks(slot, &now) != expected {
                return Err(Disturbed(slot.clone()));
            }
            steps.extend(step(keys, slot, &now, &target));
        }
        steps.extend(self.other_steps(wanted));
        Ok(steps)
    }

    /// The steps of durable owners. An address moves between an owner and a claim without a write of its block. So each
    /// step checks that the owner is as it was seen.
    fn owner_steps(&self, wanted: &Self) -> Vec<Step> {
        let seen = |key: &Vec<u8>| self.owners.get(key);
        let puts = wanted.owners.iter();
        let puts = puts.filter(|(key, (value, _))| seen(key).is_none_or(|(is, _)| is != value));
        let puts = puts.map(|(key, (value, _))| {
            let modified = seen(key).map(|(_, modified)| *modified);
            Step::put(key.clone(), value.clone(), modified)
        });
        let lost = self.owners.iter();
        let lost = lost.filter(|(key, _)| !wanted.owners.contains_key(*key));
        let lost = lost.map(|(key, (_, modified))| Step::delete(key.clone(), *modified));
        puts.chain(lost).collect()
    }

    /// The steps of entries that are neither blocks nor owners.
    fn other_steps(&self, wanted: &Self) -> Vec<Step> {
        let puts = wanted
            .others
            .iter()
            .filter(|(key, value)| self.others.get(*key) != Some(value));
        let puts = puts.map(|(key, value)| {
            let (key, value, lease) = (key.clone(), value.clone(), 0);
            Write::Put { key, value, lease }
        });
        let lost = self
            .others
            .keys()
            .filter(|key| !wanted.others.contains_key(*key));
        let writes = puts.chain(lost.cloned().map(Write::Delete));
        let step = |write| Step {
            compares: Vec::new(),
            writes: vec![write],
        };
        writes.map(step).collect()
    }

    fn values(&self, slot: &BlockKey) -> Values {
        self.blocks.get(slot).cloned().unwrap_or_default()
    }
}

/// The addresses that a block marks as taken; `None` if one of its values cannot be read.
fn marks(slot: &BlockKey, [open, full]: &Values) -> Option<Bitmap> {
    let mut open = match open {
        Some((value, _)) => record::decode_block(value).ok()?,
        None => Bitmap::EMPTY,
    };
    // Bit 0 of such a block has no meaning.
    if slot.block.base().ends_in_zero() {
        open.clear(0);
    }
    match full {
        Some((value, _)) => {
            record::decode_full(value).ok()?;
            Some(joined(open, Bitmap::full(slot.block.family())))
        }
        None => Some(open),
    }
}

fn joined(one: Bitmap, other: Bitmap) -> Bitmap {
    let mut both = one;
    for bit in other.bits() {
        both.set(bit);
    }
    both
}

fn values_of(slot: &BlockKey, marks: Bitmap) -> Values {
    if marks.is_full(slot.block.family()) {
        [None, Some((record::encode_full(), 0))]
    } else {
        [Some((record::encode_block(&marks), 0)), None]
    }
}

/// The step from `here` to `target`; `None` if both are equal.
fn step(keys: &Keys, slot: &BlockKey, here: &Values, target: &Values) -> Option<Step> {
    let mut step = Step::default();
    let names = [Key::Open(slot.clone()), Key::Full(slot.clone())];
    for ((name, here), target) in names.iter().zip(here).zip(target) {
        let key = keys.encode(name);
        step.compares
            .push(as_seen(&key, here.as_ref().map(|(_, revision)| *revision)));
        match (here, target) {
            (Some((is, _)), Some((wanted, _))) if is == wanted => {}
            (_, Some((wanted, _))) => step.writes.push(Write::Put {
                key,
                value: wanted.clone(),
                lease: 0,
            }),
            (Some(_), None) => step.writes.push(Write::Delete(key)),
            (None, None) => {}
        }
    }
    (!step.writes.is_empty()).then_some(step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use whereabouts_core::address::{Address, BlockId, Family, Pool};

    fn keys() -> Keys {
        Keys::new("/x/")
    }

    fn slot(number: u128) -> BlockKey {
        let address = Address::new(Family::V4, number << 8).expect("inside the family");
        BlockKey {
            pool: Pool::default(),
            block: BlockId::of(address),
        }
    }

    /// Values under the keys of three blocks and under one other key.
    fn rests() -> impl Strategy<Value = Rest> {
        let value = prop_oneof![
            4 => proptest::collection::btree_set(any::<u8>(), 0..4).prop_map(|bits| {
                let mut bitmap = Bitmap::EMPTY;
                for bit in bits {
                    bitmap.set(bit);
                }
                [Some((record::encode_block(&bitmap), 7)), None]
            }),
            2 => Just([None, Some((record::encode_full(), 7))]),
            1 => Just([Some((record::encode_block(&Bitmap::from_bytes(&[255; 32])), 7)), None]),
            1 => Just([Some((vec![9], 7)), None]),
            1 => Just([None, Some((Vec::new(), 7))]),
            1 => Just([Some((record::encode_block(&Bitmap::EMPTY), 7)), Some((vec![1], 7))]),
            2 => Just([None, None]),
        ];
        let blocks = proptest::collection::vec(value, 3);
        (blocks, any::<bool>()).prop_map(|(blocks, has_other)| {
            let slots = (0..).map(slot).zip(blocks);
            let blocks = slots.filter(|(_, values)| values.iter().any(Option::is_some));
            let other = has_other.then(|| (b"/x/other".to_vec(), vec![1]));
            Rest {
                blocks: blocks.collect(),
                owners: BTreeMap::new(),
                others: other.into_iter().collect(),
            }
        })
    }

    fn carry_out(rest: &mut Rest, steps: &[Step]) {
        assert!(rest.owners.is_empty(), "they have a test of their own");
        let mut entries: BTreeMap<Vec<u8>, Vec<u8>> = rest.others.clone();
        for (slot, values) in &rest.blocks {
            let names = [Key::Open(slot.clone()), Key::Full(slot.clone())];
            for (name, value) in names.iter().zip(values) {
                if let Some((value, _)) = value {
                    entries.insert(keys().encode(name), value.clone());
                }
            }
        }
        for write in steps.iter().flat_map(|step| &step.writes) {
            match write {
                Write::Put { key, value, .. } => drop(entries.insert(key.clone(), value.clone())),
                Write::Delete(key) => drop(entries.remove(key)),
                other => panic!("{other:?}"),
            }
        }
        *rest = Rest::default();
        for (key, value) in entries {
            let entry = Entry {
                key,
                value,
                created: 7,
                modified: 7,
                lease: 0,
            };
            rest.enter(&keys(), &entry);
        }
    }

    /// Whether no process can take `bit` of a block.
    fn is_kept(rest: &Rest, slot: &BlockKey, bit: u8) -> bool {
        marks(slot, &rest.values(slot)).is_none_or(|marks| marks.is_set(bit))
    }

    proptest! {
        /// Wherever the first steps end, each taken address stays taken. After all of them, each
        /// address that the backup marks is also taken. The last steps end at the state of the
        /// backup.
        #[test]
        fn no_address_becomes_free_on_the_way(before in rests(), wanted in rests(), cut: usize) {
            let joining = before.join(&keys(), &wanted);
            let mut part = before.clone();
            carry_out(&mut part, &joining[..cut % (joining.len() + 1)]);
            let mut now = part.clone();
            carry_out(&mut now, &part.join(&keys(), &wanted));
            for number in 0..3 {
                let slot = slot(number);
                for bit in 1..=u8::MAX {
                    if is_kept(&before, &slot, bit) {
                        prop_assert!(is_kept(&part, &slot, bit) && is_kept(&now, &slot, bit));
                    }
                    if is_kept(&wanted, &slot, bit) {
                        prop_assert!(is_kept(&now, &slot, bit));
                    }
                }
            }
            let steps = now.finish(&keys(), &before, &wanted).expect("nobody else writes");
            carry_out(&mut now, &steps);
            let mut target = wanted.clone();
            carry_out(&mut target, &[]);
            prop_assert_eq!(now, target);
        }
    }

    /// The steps of owners with these values and revisions to those values.
    fn owner_steps(now: &[(&str, u8, Revision)], wanted: &[(&str, u8)]) -> Vec<Step> {
        let key = |name: &str| {
            let owner = format!("/x/owner/net/space/{name}/eth0").into_bytes();
            assert!(matches!(keys().decode(&owner), Ok(Key::Owner(_))), "{name}");
            owner
        };
        let mut rests = [Rest::default(), Rest::default()];
        let now = now.iter().copied();
        let wanted = wanted.iter().map(|(name, value)| (*name, *value, 0));
        for (rest, owners) in rests
            .iter_mut()
            .zip([now.collect::<Vec<_>>(), wanted.collect()])
        {
            for (name, value, modified) in owners {
                let entry = Entry {
                    key: key(name),
                    value: vec![value],
                    created: modified,
                    modified,
                    lease: 0,
                };
                rest.enter(&keys(), &entry);
            }
        }
        let [now, wanted] = rests;
        now.finish(&keys(), &now, &wanted)
            .expect("no block is there")
    }

    #[test]
    fn an_owner_is_restored_only_if_it_is_as_it_was_seen() {
        let key = |name: &str| format!("/x/owner/net/space/{name}/eth0").into_bytes();
        assert_eq!(owner_steps(&[("web-0", 1, 7)], &[("web-0", 1)]), []);
        assert_eq!(
            owner_steps(
                &[("web-0", 1, 7), ("web-1", 1, 8)],
                &[("web-0", 2), ("web-2", 3)]
            ),
            [
                Step::put(key("web-0"), vec![2], Some(7)),
                Step::put(key("web-2"), vec![3], None),
                Step::delete(key("web-1"), 8),
            ]
        );
    }

    #[test]
    fn what_somebody_else_has_given_meanwhile_is_found() {
        let (before, wanted) = (Rest::default(), Rest::default());
        let mut now = Rest::default();
        let mut bitmap = Bitmap::EMPTY;
        bitmap.set(1);
        now.blocks.insert(slot(0), values_of(&slot(0), bitmap));
        assert_eq!(
            now.finish(&keys(), &before, &wanted),
            Err(Disturbed(slot(0)))
        );
    }
}
