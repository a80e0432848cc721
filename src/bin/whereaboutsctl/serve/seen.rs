//! What is known of all that is stored, kept current by its changes. Pure: no I/O, and the time is
//! an argument.
//!
//! A claim is kept as it is stored, and read when it is shown: a million of them fit into memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use whereabouts::address::{Address, Bitmap, Interval, Pool};
use whereabouts::claim::{Claim, QueueId};
use whereabouts::limits;
use whereabouts::occupancy::Occupancy;
use whereabouts::store::etcd::Change;
use whereabouts::store::keys::{Key, Keys, TicketId};
use whereabouts::store::record::{self, Lock, Ticket};
use whereabouts::store::{Entry, LeaseId, Revision};

use crate::shown::Shown;

/// Bytes that a claim costs besides its key and its value, its places in the maps: measured with a
/// million claims of 260 bytes, which took 503 bytes each.
const CLAIM_BYTES: usize = 245;

/// Everything that is stored.
pub(super) struct Seen {
    keys: Keys,
    /// What is taken of each range.
    pub(super) occupancy: Occupancy,
    claims: BTreeMap<Arc<[u8]>, Kept>,
    holders: BTreeMap<Pool, BTreeMap<Address, Arc<[u8]>>>,
    /// How many claims each node has; those whose node is not known stand under an empty name.
    pub(super) nodes: BTreeMap<String, u64>,
    /// The locks that are not free.
    pub(super) locks: BTreeMap<QueueId, Locked>,
    /// Who stands in which queue.
    pub(super) queues: BTreeMap<QueueId, BTreeMap<TicketId, Standing>>,
    unreadable: BTreeSet<Vec<u8>>,
    bytes: usize,
    /// About how many claims there was no room for.
    pub(super) left_out: u64,
}

struct Kept {
    value: Box<[u8]>,
    created: Revision,
    modified: Revision,
}

/// A lock that somebody holds, or that is offered to those who wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Locked {
    /// What it says of who holds it, or has held it last; `None` when that cannot be read.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// At which revision it was put.
    pub(super) created: Revision,
    /// Whether its holder has answered that it cannot be served.
    pub(super) refused: bool,
    /// When this process first saw it.
    pub(super) seen: Instant,
}

/// A part of a search.
pub(super) struct Slice {
    /// What was found, with its key.
    pub(super) found: Vec<(Vec<u8>, Shown)>,
    /// The last key that was looked at, if there are more.
    pub(super) last: Option<Vec<u8>>,
}

impl Seen {
    /// Nothing, below the prefix of `keys`.
    pub(super) fn nothing(keys: &Keys) -> Self {
        Self {
            keys: keys.clone(),
            occupancy: Occupancy::default(),
            claims: BTreeMap::new(),
            holders: BTreeMap::new(),
            nodes: BTreeMap::new(),
            locks: BTreeMap::new(),
            queues: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            bytes: 0,
            left_out: 0,
        }
    }

    /// Takes the changes of a watch in, which tells them in order; those of one revision come in
    /// any, and a block that moves is deleted in one place and put in another.
    pub(super) fn apply(&mut self, mut changes: Vec<Change>, now: Instant) {
        changes.sort_by_key(|change| (change.revision, change.now.is_some()));
        for change in changes {
            match change.now {
                Some(entry) => self.enter(&entry, now),
                None => self.remove(&change.key),
            }
        }
    }

    /// Takes an entry in, in place of what was known of its key. A lock that stays its holder's, and a
    /// ticket that is only rewritten, keep their age.
    pub(super) fn enter(&mut self, entry: &Entry, now: Instant) {
        self.unreadable.remove(&entry.key);
        let is_read = match self.keys.decode(&entry.key) {
            Ok(Key::Claim(_)) => record::decode_claim(&entry.value)
                .map(|claim| self.enter_claim(entry, &claim))
                .is_ok(),
            Ok(Key::Open(slot)) => record::decode_block(&entry.value)
                .map(|bitmap| self.occupancy.enter_block(slot, bitmap))
                .is_ok(),
            Ok(Key::Full(slot)) => record::decode_full(&entry.value)
                .map(|()| {
                    let full = Bitmap::full(slot.block.family());
                    self.occupancy.enter_block(slot, full);
                })
                .is_ok(),
            Ok(Key::Ticket(id)) => {
                let ticket = record::decode_ticket(&entry.value);
                let queue = self.queues.entry(id.queue.clone()).or_default();
                let known = queue.get(&id).filter(|one| one.created == entry.created);
                let standing = Standing {
                    created: entry.created,
                    refused: matches!(ticket, Ok(Ticket::Refused { .. })),
                    seen: known.map_or(now, |known| known.seen),
                };
                queue.insert(id, standing);
                ticket.is_ok()
            }
            Ok(Key::Lock(queue)) => {
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
            Err(_) => false,
        };
        if !is_read {
            self.unreadable.insert(entry.key.clone());
        }
    }

    fn remove(&mut self, key: &[u8]) {
        self.unreadable.remove(key);
        match self.keys.decode(key) {
            Ok(Key::Claim(_)) if self.claims.contains_key(key) => self.remove_claim(key),
            Ok(Key::Claim(_)) => self.left_out = self.left_out.saturating_sub(1),
            Ok(Key::Open(slot) | Key::Full(slot)) => self.occupancy.leave_block(&slot),
            Ok(Key::Ticket(id)) => {
                if let Some(queue) = self.queues.get_mut(&id.queue) {
                    queue.remove(&id);
                    if queue.is_empty() {
                        self.queues.remove(&id.queue);
                    }
                }
            }
            Ok(Key::Lock(queue)) => {
                self.locks.remove(&queue);
            }
            Err(_) => {}
        }
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
            for (id, ticket) in tickets {
                let known = before.queues.get(queue).and_then(|queue| queue.get(id));
                if let Some(known) = known.filter(|known| known.created == ticket.created) {
                    ticket.seen = known.seen;
                }
            }
        }
    }

    fn enter_claim(&mut self, entry: &Entry, claim: &Claim) {
        self.remove_claim(&entry.key);
        let bytes = CLAIM_BYTES + entry.key.len() + entry.value.len();
        if self.bytes + bytes > limits::PAGE_BYTES {
            self.left_out += 1;
            return;
        }
        self.bytes += bytes;
        self.occupancy.enter_claim(claim);
        *self.nodes.entry(node(claim)).or_default() += 1;
        let key: Arc<[u8]> = entry.key.as_slice().into();
        for held in &claim.held {
            let holders = self.holders.entry(held.range.pool.clone()).or_default();
            holders.insert(held.address, key.clone());
        }
        let kept = Kept {
            value: entry.value.as_slice().into(),
            created: entry.created,
            modified: entry.modified,
        };
        self.claims.insert(key, kept);
    }

    fn remove_claim(&mut self, key: &[u8]) {
        let Some(kept) = self.claims.remove(key) else {
            return;
        };
        self.bytes -= CLAIM_BYTES + key.len() + kept.value.len();
        let claim = record::decode_claim(&kept.value).expect("it was read when it came");
        self.occupancy.leave_claim(&claim);
        for held in &claim.held {
            let Some(holders) = self.holders.get_mut(&held.range.pool) else {
                continue;
            };
            if holders
                .get(&held.address)
                .is_some_and(|holder| **holder == *key)
            {
                holders.remove(&held.address);
            }
            if holders.is_empty() {
                self.holders.remove(&held.range.pool);
            }
        }
        let name = node(&claim);
        let count = self.nodes.get_mut(&name).expect("its node was counted");
        *count -= 1;
        if *count == 0 {
            self.nodes.remove(&name);
        }
    }

    /// How many claims are kept.
    pub(super) fn claims(&self) -> usize {
        self.claims.len()
    }

    /// How many keys cannot be read.
    pub(super) fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    /// How many bytes the claims are taken to cost.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Who holds this address of a pool.
    pub(super) fn holder(&self, pool: &Pool, address: Address) -> Option<Shown> {
        self.shown(self.holders.get(pool)?.get(&address)?)
    }

    /// Who holds the addresses of `interval` in a pool, lowest first.
    pub(super) fn holders(
        &self,
        pool: &Pool,
        interval: Interval,
    ) -> impl Iterator<Item = (Address, Shown)> {
        let holders = self.holders.get(pool).into_iter();
        let inside = holders.flat_map(move |all| all.range(interval.first()..=interval.last()));
        inside.filter_map(|(address, key)| Some((*address, self.shown(key)?)))
    }

    /// The pools in which something is held.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.holders.keys()
    }

    /// The claims after the key `after`, of which at most so many are looked at, that have each of
    /// `parts` in their key or value.
    pub(super) fn search(&self, after: &[u8], look_at: usize, parts: &[&[u8]]) -> Slice {
        let rest = (Bound::Excluded(after), Bound::Unbounded);
        let mut rest = self.claims.range::<[u8], _>(rest);
        let mut found = Vec::new();
        let mut last = None;
        for (key, kept) in rest.by_ref().take(look_at) {
            last = Some(key);
            let has = |part: &&[u8]| contains(key, part) || contains(&kept.value, part);
            if parts.iter().all(has) {
                found.extend(self.shown(key).map(|shown| (key.to_vec(), shown)));
            }
        }
        let last = rest.next().and(last).map(|key| key.to_vec());
        Slice { found, last }
    }

    fn shown(&self, key: &Arc<[u8]>) -> Option<Shown> {
        let kept = self.claims.get(key)?;
        let entry = Entry {
            key: key.to_vec(),
            value: kept.value.to_vec(),
            created: kept.created,
            modified: kept.modified,
            lease: 0,
        };
        Shown::of(&self.keys, &entry).ok()
    }
}

fn node(claim: &Claim) -> String {
    claim.owner.node.clone().unwrap_or_default()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    let Some(first) = part.first() else {
        return true;
    };
    let starts = text.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts
        .into_iter()
        .any(|(start, _)| text[start..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use whereabouts::address::{Name, Slot};
    use whereabouts::claim::{Attachment, Held, Owner};

    fn address(number: u32) -> Address {
        std::net::IpAddr::from(number.to_be_bytes()).into()
    }

    fn range() -> QueueId {
        QueueId {
            pool: Pool::default(),
            cidr: "10.0.0.0/8".parse().expect("a CIDR"),
        }
    }

    fn change(key: &Key, revision: Revision, value: Option<Vec<u8>>) -> Change {
        let key = Keys::new("/x/").encode(key);
        let now = value.map(|value| Entry {
            key: key.clone(),
            value,
            created: 1,
            modified: revision,
            lease: 0,
        });
        Change {
            key,
            revision,
            before: None,
            now,
        }
    }

    /// The claim of a container with names as long as Kubernetes makes them.
    fn claim(number: u32) -> (Key, Vec<u8>) {
        let key = Key::Claim(Attachment {
            network: Name::new("storage").expect("a name"),
            container: Name::new(&format!("{number:064x}")).expect("a name"),
            interface: "net1".to_owned(),
        });
        let claim = Claim {
            held: vec![Held {
                range: range(),
                address: address((10 << 24) + number),
            }],
            owner: Owner {
                node: Some(format!("node-{}", number % 100)),
                pod_namespace: Some("production".to_owned()),
                pod_name: Some(format!("frontend-7d4b9c6f5d-{number:05}")),
                pod_uid: Some("4a7d8f0e-0f6c-4b1e-9d3c-5f6a7b8c9d0e".to_owned()),
                netns: Some("/var/run/netns/cni-4a7d8f0e-0f6c-4b1e-9d3c-5f6a7b8c".to_owned()),
            },
            created: Duration::from_secs(1_700_000_000),
        };
        (key, record::encode_claim(&claim))
    }

    fn seen(changes: Vec<Change>) -> Seen {
        let mut seen = Seen::nothing(&Keys::new("/x/"));
        seen.apply(changes, Instant::now());
        seen
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing_behind() {
        let (key, value) = claim(1);
        let ticket = Key::Ticket(TicketId {
            queue: range(),
            attachment: Attachment {
                network: Name::new("n").expect("a name"),
                container: Name::new("c").expect("a name"),
                interface: "eth0".to_owned(),
            },
            verb: whereabouts::store::keys::QueuedVerb::Add,
        });
        let lock = Key::Lock(range());
        let mut seen = seen(vec![
            change(&key, 2, Some(value.clone())),
            change(&key, 3, Some(value)),
            change(&ticket, 3, Some(vec![99])),
            change(&lock, 3, Some(vec![99])),
        ]);
        assert_eq!((seen.claims(), seen.nodes["node-1"]), (1, 1));
        assert_eq!((seen.queues.len(), seen.locks.len()), (1, 1));
        assert_eq!(seen.unreadable(), 2);
        assert!(seen.bytes() > 0);
        let gone = [&key, &ticket, &lock].map(|key| change(key, 4, None));
        seen.apply(gone.to_vec(), Instant::now());
        assert_eq!((seen.claims(), seen.nodes.len(), seen.bytes()), (0, 0, 0));
        assert_eq!((seen.queues.len(), seen.locks.len()), (0, 0));
        assert_eq!(seen.unreadable(), 0);
        assert_eq!((seen.pools().count(), seen.left_out), (0, 0));
        assert_eq!(seen.occupancy.uses(&[]), []);
    }

    #[test]
    fn a_block_that_moves_stays_known_in_whatever_order_that_is_told() {
        let slot = Slot::of(&Pool::default(), address(10 << 24));
        let (open, full) = (Key::Open(slot.clone()), Key::Full(slot));
        let moved = [
            change(&open, 3, None),
            change(&full, 3, Some(record::encode_full())),
        ];
        let [gone, put] = moved;
        for moved in [vec![gone.clone(), put.clone()], vec![put, gone]] {
            let begun = record::encode_block(&Bitmap::EMPTY);
            let mut seen = seen(vec![change(&open, 2, Some(begun))]);
            seen.apply(moved, Instant::now());
            let whole = Interval::new(address(10 << 24), address((10 << 24) + 255));
            let whole = whole.expect("an interval");
            let pool = Pool::default();
            let counts = seen.occupancy.blocks(&pool, whole);
            let counts: Vec<u32> = counts.map(|(_, bitmap)| bitmap.count()).collect();
            assert_eq!(counts, [255]);
        }
    }

    #[test]
    fn a_ticket_that_is_rewritten_or_listed_again_keeps_its_age_and_a_new_one_has_none() {
        let id = TicketId {
            queue: range(),
            attachment: Attachment {
                network: Name::new("n").expect("a name"),
                container: Name::new("c").expect("a name"),
                interface: "eth0".to_owned(),
            },
            verb: whereabouts::store::keys::QueuedVerb::Add,
        };
        let key = Key::Ticket(id.clone());
        let begun = Instant::now();
        let later = begun + Duration::from_secs(5);
        let put = |revision| vec![change(&key, revision, Some(vec![99]))];
        let mut first = Seen::nothing(&Keys::new("/x/"));
        first.apply(put(1), begun);
        first.apply(put(2), later);
        let since = |seen: &Seen| seen.queues[&range()][&id].seen;
        assert_eq!(since(&first), begun);
        let mut second = Seen::nothing(&Keys::new("/x/"));
        second.apply(put(2), later);
        second.inherit(&first);
        assert_eq!(since(&second), begun);
        first.apply(vec![change(&key, 3, None)], later);
        first.apply(put(4), later);
        assert_eq!(since(&first), later);
    }

    #[test]
    fn a_lock_keeps_its_age_as_long_as_it_is_one_holders() {
        let begun = Instant::now();
        let moment = |second| begun + Duration::from_secs(second);
        let write = |revision, lease| {
            let mut change = change(&Key::Lock(range()), revision, Some(vec![99]));
            if let Some(entry) = &mut change.now {
                entry.lease = lease;
            }
            vec![change]
        };
        let mut seen = Seen::nothing(&Keys::new("/x/"));
        let since = |seen: &Seen| seen.locks[&range()].seen;
        seen.apply(write(1, 7), moment(0));
        seen.apply(write(2, 7), moment(1));
        assert_eq!(since(&seen), moment(0));
        assert!(!seen.locks[&range()].is_offered());
        seen.apply(write(3, 0), moment(2));
        assert_eq!(since(&seen), moment(2));
        assert!(seen.locks[&range()].is_offered());
        let mut again = Seen::nothing(&Keys::new("/x/"));
        again.apply(write(3, 0), moment(3));
        again.inherit(&seen);
        assert_eq!(since(&again), moment(2));
        seen.apply(write(4, 8), moment(4));
        again = Seen::nothing(&Keys::new("/x/"));
        again.apply(write(5, 9), moment(5));
        again.inherit(&seen);
        assert_eq!(since(&again), moment(5), "it is another's");
    }

    #[test]
    fn a_search_goes_through_everything_slice_by_slice() {
        let changes = (0..100).map(|number| {
            let (key, value) = claim(number);
            change(&key, 2, Some(value))
        });
        let seen = seen(changes.collect());
        let (mut after, mut slices, mut found) = (Vec::new(), 0, 0);
        loop {
            let slice = seen.search(&after, 7, &[b"frontend", b"-00042"]);
            (slices, found) = (slices + 1, found + slice.found.len());
            match slice.last {
                Some(last) => after = last,
                None => break,
            }
        }
        assert_eq!((slices, found), (15, 1));
    }
}
