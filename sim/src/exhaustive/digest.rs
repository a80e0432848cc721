//! A 128-bit hash that is the same on every run and every machine, for telling states apart.
//!
//! Not against adversaries: what is hashed comes from the explorer itself. Ten million states
//! collide with a probability of about 10^-25.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use whereabouts_store::{CommitError, Entry, Event, Outcome, View};

use super::tape::Answer;

/// A hash in the making.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digest(u64, u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344)
    }
}

impl Digest {
    /// Adds a number.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.0 = (self.0 ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
        self.1 = (self.1.rotate_left(31) ^ number).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        self.1 ^= self.1 >> 32;
        self
    }

    /// Adds a revision or a lease.
    pub(super) fn signed(&mut self, number: i64) -> &mut Self {
        self.number(number.cast_unsigned())
    }

    /// Adds bytes, and how many they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.number(u64::from_le_bytes(last))
            .number(bytes.len() as u64)
    }

    /// Adds a stored key with all that etcd knows of it.
    pub(super) fn entry(&mut self, entry: &Entry) -> &mut Self {
        self.bytes(&entry.key)
            .bytes(&entry.value)
            .signed(entry.created)
            .signed(entry.modified)
            .signed(entry.lease)
    }

    /// Adds what a watch tells.
    pub(super) fn event(&mut self, event: &Event) -> &mut Self {
        match event {
            Event::Put(entry) => self.number(1).entry(entry),
            Event::Deleted { key, revision } => self.number(2).bytes(key).signed(*revision),
        }
    }

    /// Adds an answer.
    pub(super) fn answer(&mut self, answer: &Answer) -> &mut Self {
        match answer {
            Answer::View(Ok(view)) => self.number(1).view(view),
            Answer::Outcome(Ok(Outcome::Done(view))) => self.number(2).view(view),
            Answer::Outcome(Ok(Outcome::Conflict(view))) => self.number(3).view(view),
            Answer::Outcome(Err(CommitError::Unknown(_))) => self.number(4),
            Answer::Lease(lease) => self.number(5).signed(lease.id),
            Answer::Done(Ok(())) => self.number(6),
            Answer::Events(Ok(events)) => {
                self.number(7).number(events.len() as u64);
                events.iter().fold(self, Self::event)
            }
            Answer::Events(Err(_)) => self.number(8),
            Answer::Time => self.number(9),
            Answer::View(Err(error))
            | Answer::Done(Err(error))
            | Answer::Outcome(Err(CommitError::Unavailable(error))) => {
                self.number(10).bytes(error.to_string().as_bytes())
            }
        }
    }

    fn view(&mut self, view: &View) -> &mut Self {
        self.signed(view.revision);
        for entries in &view.answers {
            self.number(entries.len() as u64);
            for entry in entries {
                self.entry(entry);
            }
        }
        self
    }

    /// The hash.
    pub(super) fn finish(self) -> u128 {
        let mixed = |word: u64| {
            let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        };
        u128::from(mixed(self.0)) << 64 | u128::from(mixed(self.1 ^ self.0.rotate_left(17)))
    }
}

/// A map from what has been hashed already.
pub(super) type Digests<V> = HashMap<u128, V, BuildHasherDefault<Hashed>>;

/// A set of what has been hashed already.
pub(super) type DigestSet = HashSet<u128, BuildHasherDefault<Hashed>>;

/// The hasher of a hash: its own low half.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn write_u128(&mut self, hash: u128) {
        self.0 = u64::try_from(hash & u128::from(u64::MAX)).expect("the low half has 64 bits");
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only digests are hashed")
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
