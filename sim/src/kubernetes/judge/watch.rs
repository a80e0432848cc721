//! The record of a process since it began: whether a range was full, and which addresses were taken.

use std::collections::BTreeSet;

use whereabouts_core::address::{Address, BlockKey, size};
use whereabouts_core::claim::{Choice, Held, Want};
use whereabouts_kubernetes::memory::Model;
use whereabouts_kubernetes::names;
use whereabouts_kubernetes::object::TakenBit;

use super::{Broken, claims, taken};

/// The bits of living claims at a moment. A dead bit is a free address.
#[derive(Debug)]
pub struct Moment<'m>(Vec<(&'m str, &'m TakenBit)>);

impl<'m> Moment<'m> {
    /// The present moment of `model`.
    pub fn of(model: &'m Model) -> Self {
        let living: BTreeSet<(&str, &str)> = claims(model)
            .flat_map(|claim| {
                let uid = claim.metadata.uid.as_str();
                let wants = claim.spec.wants.iter();
                wants.map(move |want| (want.current.as_str(), uid))
            })
            .collect();
        let counts = taken(model)
            .filter(|(block, taken)| living.contains(&(*block, taken.uid.as_str())))
            .collect();
        Self(counts)
    }
}

/// The judge's record since an ADD began.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    wants: Vec<Watched>,
    claim: String,
    /// For each want: whether claims of others once held all of its addresses at the same moment.
    was_full: Vec<bool>,
    /// Whether a DEL of the same attachment ran at the same time. It may take effect after the answer.
    pub met_del: bool,
}

/// A want, with the number of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Watched {
    want: Want,
    /// The beginning of the names of its blocks.
    blocks: String,
    size: u128,
}

impl Watch {
    /// Of a process that begins now, for the claim of this name. A DEL wants nothing.
    pub fn new(model: &Model, claim: String, wants: &[Want]) -> Self {
        let mut watch = Self {
            was_full: vec![false; wants.len()],
            wants: wants.iter().map(Watched::new).collect(),
            claim,
            met_del: false,
        };
        if !wants.is_empty() {
            watch.see(&Moment::of(model));
        }
        watch
    }

    /// Whether it is of a process that wants something.
    pub fn is_of_add(&self) -> bool {
        !self.wants.is_empty()
    }

    /// Notes a moment.
    pub fn see(&mut self, moment: &Moment<'_>) {
        for (index, (was_full, watched)) in self.was_full.iter_mut().zip(&self.wants).enumerate() {
            if *was_full {
                continue;
            }
            // Another want of the same claim may hold an address of both ranges.
            let is_own =
                |taken: &TakenBit| taken.claim == self.claim && usize::from(taken.want) == index;
            let others = moment.0.iter().filter(|(_, taken)| !is_own(taken));
            let of_want = others.filter(|(block, taken)| watched.has(block, taken.bit));
            *was_full = of_want.count() as u128 == watched.size;
        }
    }

    /// Judges the answer that a range is full: `is_short` tells which wants are of it.
    pub fn short(&self, is_short: &[bool]) -> Result<(), Broken> {
        let mut was_full = self.was_full.iter().zip(is_short);
        if !was_full.any(|(was_full, is_short)| *was_full && *is_short) {
            return Err(Broken(
                "was told full, but an address was free at each moment".to_owned(),
            ));
        }
        Ok(())
    }
}

impl Watched {
    fn new(want: &Want) -> Self {
        let size = match want.choice {
            Choice::Exactly(_) => 1,
            Choice::Lowest => size(&want.usable),
        };
        Self {
            blocks: blocks(want),
            size,
            want: want.clone(),
        }
    }

    fn has(&self, block: &str, bit: u8) -> bool {
        let rest = block.strip_prefix(&self.blocks);
        if !rest.is_some_and(|rest| rest.starts_with('-')) {
            return false;
        }
        names::block_of(block).is_some_and(|id| is_allowed(&self.want, id.address(bit)))
    }
}

/// The beginning of the names of the blocks of a want.
fn blocks(want: &Want) -> String {
    let of_usable = want.usable.first().map(|one| one.first().family());
    let family = match want.choice {
        Choice::Exactly(address) => Some(address.family()),
        Choice::Lowest => of_usable,
    };
    family.map_or_else(String::new, |family| {
        names::pool_value(&want.range.pool, family)
    })
}

fn is_allowed(want: &Want, address: Address) -> bool {
    match want.choice {
        Choice::Exactly(exactly) => exactly == address,
        Choice::Lowest => {
            let mut usable = want.usable.iter();
            !address.ends_in_zero() && usable.any(|one| one.contains(address))
        }
    }
}

/// The addresses that were taken at some moment since an attachment was added first, by a bit of any claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TakenSince(BTreeSet<(String, u8)>);

impl TakenSince {
    /// Those that are taken now.
    pub fn now(model: &Model) -> Self {
        let mut since = Self::default();
        since.see(taken(model).map(|(block, taken)| (block, taken.bit)));
        since
    }

    /// Notes that these are taken now.
    pub fn see<'b>(&mut self, bits: impl IntoIterator<Item = (&'b str, u8)>) {
        let bits = bits.into_iter().map(|(block, bit)| (block.to_owned(), bit));
        self.0.extend(bits);
    }

    /// Judges that each lower address of the want was taken at some moment. The search sees all lower blocks at one moment, and the
    /// block of the address at another one.
    pub(super) fn judge(&self, want: &Want, held: &Held) -> Result<(), Broken> {
        let Choice::Lowest = want.choice else {
            return Ok(());
        };
        let all = want.usable.iter().flat_map(|interval| {
            std::iter::successors(Some(interval.first()), |address| address.successor())
                .take_while(|address| interval.contains(*address))
        });
        let mut lower = all
            .take_while(|address| *address < held.address)
            .filter(|address| !address.ends_in_zero());
        let is_free = |address: &Address| {
            let block = names::block(&BlockKey::of(&want.range.pool, *address));
            !self.0.contains(&(block, address.bit()))
        };
        match lower.find(is_free) {
            None => Ok(()),
            Some(free) => Err(Broken(format!(
                "{} is given, but the lower {free} was free at each moment",
                held.address
            ))),
        }
    }
}
