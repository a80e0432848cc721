//! Blocks of 256 addresses, and the bitmap of the taken addresses of a block.

use std::fmt;

use super::{Address, Family, Interval, Pool};

/// Addresses in a block.
pub const BLOCK_SIZE: usize = 256;

/// 256 aligned addresses of a family: an IPv4 /24, an IPv6 /120.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    family: Family,
    /// The number of any address of the block without its lowest eight bits.
    number: u128,
}

impl BlockId {
    /// The block of `address`.
    pub fn of(address: Address) -> Self {
        Self {
            family: address.family(),
            number: address.number() >> 8,
        }
    }

    /// The family.
    pub fn family(self) -> Family {
        self.family
    }

    /// The first block of the same family.
    #[must_use]
    pub(crate) fn first_of_family(self) -> Self {
        Self {
            family: self.family,
            number: 0,
        }
    }

    /// The lowest address of the block.
    pub fn base(self) -> Address {
        self.address(0)
    }

    /// The next block of the family. The last block has none.
    pub fn successor(self) -> Option<Self> {
        let base = self
            .number
            .checked_add(1)?
            .checked_mul(BLOCK_SIZE as u128)?;
        Address::new(self.family, base).map(Self::of)
    }

    /// The address of bit `bit`.
    pub fn address(self, bit: u8) -> Address {
        Address::new(self.family, (self.number << 8) | u128::from(bit))
            .expect("a block lies inside its family")
    }

    /// All addresses of the block.
    pub fn interval(self) -> Interval {
        Interval::new(self.address(0), self.address(u8::MAX)).expect("0 is below 255")
    }

    /// The bits of this block in `interval` that may be given, or `None` if there are none. Bit 0
    /// of an IPv4 block may not be given, because its address ends in `.0`.
    pub fn window(self, interval: Interval) -> Option<Window> {
        let whole = self.interval();
        let lowest = u8::from(self.base().ends_in_zero());
        let first = bit_of(interval.first().max(whole.first())).max(lowest);
        let last = bit_of(interval.last().min(whole.last()));
        (whole.overlaps(interval) && first <= last).then_some(Window { first, last })
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = match self.family {
            Family::V4 => 24,
            Family::V6 => 120,
        };
        write!(f, "{}/{length}", self.base())
    }
}

/// The bit of an address in its block.
pub(super) fn bit_of(address: Address) -> u8 {
    address.number().to_le_bytes()[0]
}

impl Address {
    /// The bit of the address in its block.
    pub fn bit(self) -> u8 {
        bit_of(self)
    }
}

/// Bits `first` to `last` of a block, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The lowest bit.
    pub first: u8,
    /// The highest bit.
    pub last: u8,
}

/// A block of one pool. The store has one value for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKey {
    /// The address space.
    pub pool: Pool,
    /// The block in the pool.
    pub block: BlockId,
}

impl BlockKey {
    /// The block of `address` in `pool`.
    pub fn of(pool: &Pool, address: Address) -> Self {
        Self {
            pool: pool.clone(),
            block: BlockId::of(address),
        }
    }

    /// The next block of the pool. The last block of a family has none.
    pub fn successor(&self) -> Option<Self> {
        self.block.successor().map(|block| Self {
            pool: self.pool.clone(),
            block,
        })
    }
}

impl fmt::Display for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of pool {}", self.block, self.pool)
    }
}

/// 256 bits, one for each address of a block. A set bit is a taken address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bitmap([u64; 4]);

impl Bitmap {
    /// No address taken.
    pub const EMPTY: Self = Self([0; 4]);

    /// Whether `bit` is taken.
    pub fn is_set(&self, bit: u8) -> bool {
        let (word, mask) = position(bit);
        self.0[word] & mask != 0
    }

    /// Marks `bit` as taken.
    pub fn set(&mut self, bit: u8) {
        let (word, mask) = position(bit);
        self.0[word] |= mask;
    }

    /// Marks `bit` as free.
    pub fn clear(&mut self, bit: u8) {
        let (word, mask) = position(bit);
        self.0[word] &= !mask;
    }

    /// The lowest free bit in `window`.
    pub fn lowest_free(&self, window: Window) -> Option<u8> {
        (0_u8..4).find_map(|word| {
            let skipped = u32::from(window.first.saturating_sub(word * 64)).min(64);
            let wanted = u64::MAX.checked_shl(skipped).unwrap_or(0);
            let free = (!self.0[usize::from(word)] & wanted).trailing_zeros();
            let bit = u8::try_from(free).ok().filter(|bit| *bit < 64)? + word * 64;
            (bit <= window.last).then_some(bit)
        })
    }

    /// The bitmap of a full block of `family`. Bit 0 of a full IPv4 block is not set.
    pub fn full(family: Family) -> Self {
        let mut bitmap = Self([u64::MAX; 4]);
        if family == Family::V4 {
            bitmap.clear(0);
        }
        bitmap
    }

    /// Whether every address of a block of `family` is taken. Bit 0 of an IPv4 block does not
    /// count.
    pub fn is_full(&self, family: Family) -> bool {
        let uncounted = match family {
            Family::V4 => 1,
            Family::V6 => 0,
        };
        self.0[0] | uncounted == u64::MAX && self.0[1..].iter().all(|word| *word == u64::MAX)
    }

    /// Whether the highest address of the block is taken. By the invariant, the next block then
    /// exists.
    pub fn reaches_the_end(&self) -> bool {
        self.is_set(u8::MAX)
    }

    /// The number of taken addresses.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The taken bits, lowest first.
    pub fn bits(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|bit| self.is_set(*bit))
    }

    /// The bytes of the bitmap: byte `i` holds bits `8 i` (lowest) to `8 i + 7`.
    pub fn to_bytes(&self) -> [u8; BLOCK_SIZE / 8] {
        let mut bytes = [0; BLOCK_SIZE / 8];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The inverse of [`Bitmap::to_bytes`].
    pub fn from_bytes(bytes: &[u8; BLOCK_SIZE / 8]) -> Self {
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight"));
        }
        Self(words)
    }
}

fn position(bit: u8) -> (usize, u64) {
    (usize::from(bit / 64), 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bitmap(bits: &[u8]) -> Bitmap {
        let mut bitmap = Bitmap::EMPTY;
        for bit in bits {
            bitmap.set(*bit);
        }
        bitmap
    }

    proptest! {
        #[test]
        fn lowest_free_is_what_a_scan_finds(
            words in proptest::array::uniform4(prop_oneof![Just(u64::MAX), any::<u64>()]),
            first: u8,
            last: u8,
        ) {
            let map = Bitmap(words);
            let scanned = (first..=last).find(|bit| !map.is_set(*bit));
            prop_assert_eq!(map.lowest_free(Window { first, last }), scanned);
        }

        #[test]
        fn bytes_come_back(words: [u64; 4]) {
            let map = Bitmap(words);
            prop_assert_eq!(Bitmap::from_bytes(&map.to_bytes()), map);
            prop_assert_eq!(map.bits().count(), map.count() as usize);
        }
    }

    #[test]
    fn lowest_free_of_every_window_of_an_empty_and_of_a_full_map() {
        let full = bitmap(&(0..=255).collect::<Vec<_>>());
        for first in 0..=255 {
            for last in first..=255 {
                let window = Window { first, last };
                assert_eq!(Bitmap::EMPTY.lowest_free(window), Some(first));
                assert_eq!(full.lowest_free(window), None);
            }
        }
    }

    #[test]
    fn bit_zero_counts_in_ipv6_only() {
        let map = bitmap(&(1..=255).collect::<Vec<_>>());
        assert!(map.is_full(Family::V4));
        assert!(!map.is_full(Family::V6));
        assert!(!bitmap(&(1..=254).collect::<Vec<_>>()).is_full(Family::V4));
    }

    #[test]
    fn the_last_block_of_a_family_has_no_successor() {
        let last = |family: Family| {
            BlockId::of(Address::new(family, family.highest()).expect("the highest address"))
        };
        assert_eq!(last(Family::V4).successor(), None);
        assert_eq!(last(Family::V6).successor(), None);
        let first = BlockId::of(Address::new(Family::V6, 0).expect("::"));
        assert_eq!(
            first
                .successor()
                .expect("a second block")
                .base()
                .to_string(),
            "::100"
        );
    }
}
