//! Dead bits of a range are cleared, before it is called full.
//!
//! A sweep is also the proof that the range is full: each block still has the version in which one list showed it without
//! space, and each of its bits counts. So all of them counted at the moment of that list.
//!
//! A bit is dead if its claim does not exist, or has another current block. The block is read first. A claim exists before
//! its first bit, so a claim that a later read does not find cannot come back to the bit.
//!
//! The list of the claims with the block's label only spares reads: a person can change a label. A bit is cleared after a
//! read of its own claim.
//!
//! An ADD of one stated address clears the bit of that address alone. After a loss of claims, other dead bits are of addresses
//! that pods use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use whereabouts_core::address::BlockId;
use whereabouts_core::claim::{Choice, Want};

use super::blocks::BITS_PER_WRITE;
use super::search::BlockVersion;
use super::wanted::{intervals, windows};
use super::{Answer, Machine, Next, Pages, Pause, Purpose, Request};
use crate::api::{ListAt, ListQuery, Requirement};
use crate::names;
use crate::object::{BitWindow, Block, Claim, Kind, Metadata, TakenBit};

/// Blocks that one ADD sweeps.
pub(crate) const BLOCKS: usize = 16;

/// Claims in a page.
const CLAIMS_PER_PAGE: u32 = 500;

/// Writes of one block that were refused before it is left to others.
const TRIES: u32 = 4;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Reading,
    Claims(Box<Block>, Pages<Metadata>),
    Suspects(Box<Suspects>),
    /// Whether the block has further bits that may be dead.
    Writing(bool),
}

/// The bits of a block whose claims the list did not have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Suspects {
    block: Block,
    /// The bits whose claims were not read yet, by the names of their claims.
    unread: BTreeMap<String, Vec<TakenBit>>,
    dead: BTreeSet<u8>,
}

impl Suspects {
    /// The bits of `block` that `is_suspect` tells.
    fn of(block: Block, is_suspect: impl Fn(&TakenBit) -> bool) -> Self {
        let mut unread: BTreeMap<String, Vec<TakenBit>> = BTreeMap::new();
        for taken in &block.spec.taken {
            if is_suspect(taken) {
                let name = taken.claim.clone();
                unread.entry(name).or_default().push(taken.clone());
            }
        }
        Self {
            block,
            unread,
            dead: BTreeSet::new(),
        }
    }

    /// The name of the next claim to read, unless one write can clear no further bits.
    fn next(&self) -> Option<&String> {
        let is_enough = self.dead.len() >= BITS_PER_WRITE;
        self.unread.keys().next().filter(|_| !is_enough)
    }

    /// Notes the claim of the name that was asked for.
    fn note(&mut self, claim: Option<&Claim>) {
        let block = &self.block.metadata.name;
        let Some((_, bits)) = self.unread.pop_first() else {
            return;
        };
        let is_dead = |taken: &TakenBit| !claim.is_some_and(|claim| claim.uses(taken, block));
        let dead = bits.iter().filter(|taken| is_dead(taken));
        self.dead.extend(dead.map(|taken| taken.bit));
    }
}

impl Claim {
    /// Whether `taken`, a bit of `block`, is of this claim and counts.
    fn uses(&self, taken: &TakenBit, block: &str) -> bool {
        let want = self.spec.wants.get(usize::from(taken.want));
        self.metadata.uid == taken.uid && want.is_some_and(|want| want.current == block)
    }

    /// Whether a want has `block` as its current one.
    fn is_in(&self, block: &str) -> bool {
        self.spec.wants.iter().any(|want| want.current == block)
    }

    /// Whether `block` has a bit of this claim that counts.
    fn has_bit_in(&self, block: &Block) -> bool {
        let name = &block.metadata.name;
        block.spec.taken.iter().any(|taken| self.uses(taken, name))
    }
}

/// A sweep under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sweep {
    blocks: VecDeque<BlockVersion>,
    /// The claim for which the range is to be full.
    own: Option<Claim>,
    /// Whether all that was read so far agrees with a range that is full.
    is_full: bool,
    /// The bits of a stated address. Without it, all bits are suspects.
    stated: Option<Vec<BitWindow>>,
    tries: u32,
    state: State,
}

impl Sweep {
    /// The sweep of the blocks of these names.
    pub(crate) fn new(names: Vec<String>) -> Self {
        let unseen = |name| BlockVersion {
            name,
            version: String::new(),
        };
        Self {
            blocks: names.into_iter().map(unseen).collect(),
            own: None,
            is_full: true,
            stated: None,
            tries: 0,
            state: State::Reading,
        }
    }

    /// The sweep for a want of `claim`: of its current block, and of the next ones from the place that `chance` tells. Only the
    /// bits of a stated address are suspects.
    pub(crate) fn of_want(
        want: &Want,
        mut blocks: Vec<BlockVersion>,
        chance: usize,
        claim: &Claim,
    ) -> Self {
        let first = chance.checked_rem(blocks.len()).unwrap_or(0);
        blocks.rotate_left(first);
        // The sort is stable: all other blocks stay in their order.
        blocks.sort_by_key(|block| !claim.is_in(&block.name));
        blocks.truncate(BLOCKS);
        let mut sweep = Self::new(Vec::new());
        sweep.blocks = blocks.into();
        sweep.own = Some(claim.clone());
        if let Choice::Exactly(address) = want.choice {
            sweep.stated = Some(windows(&intervals(want), BlockId::of(address)));
        }
        sweep
    }

    fn skip(&mut self) -> Next<bool> {
        self.blocks.pop_front();
        self.tries = 0;
        self.read(Pause::No)
    }

    fn read(&mut self, pause: Pause) -> Next<bool> {
        let Some(block) = self.blocks.front() else {
            return Next::Done(self.is_full);
        };
        self.state = State::Reading;
        let get = Request::Get(Kind::Block, block.name.clone());
        Next::after(pause, Purpose::SweepRead, get)
    }

    /// Looks for suspects among the bits of `block`.
    fn suspect(&mut self, block: Block) -> Next<bool> {
        let seen = self.blocks.front();
        let is_seen = seen.is_some_and(|seen| seen.version == block.metadata.resource_version);
        let has_own = self.own.as_ref().is_some_and(|own| own.has_bit_in(&block));
        self.is_full &= is_seen && !has_own;
        let Some(stated) = &self.stated else {
            return self.list_claims(block);
        };
        let has = |window: &BitWindow, bit| (window.first..=window.last).contains(&bit);
        let is_stated = |taken: &TakenBit| stated.iter().any(|window| has(window, taken.bit));
        let suspects = Suspects::of(block, is_stated);
        self.judge(Box::new(suspects))
    }

    fn list_claims(&mut self, block: Block) -> Next<bool> {
        if block.spec.taken.is_empty() {
            return self.skip();
        }
        let query = ListQuery {
            kind: Kind::Claim,
            selector: vec![Requirement::Exists(names::current(&block.metadata.name))],
            limit: CLAIMS_PER_PAGE,
            at: ListAt::Present,
            continued: None,
        };
        self.state = State::Claims(Box::new(block), Pages::new(query.clone()));
        Next::ask(Purpose::SweepClaims, Request::ListMetadata(query))
    }

    /// Reads the next claim, or clears the bits that were found dead.
    fn judge(&mut self, suspects: Box<Suspects>) -> Next<bool> {
        if let Some(name) = suspects.next().cloned() {
            self.state = State::Suspects(suspects);
            return Next::ask(Purpose::SweepClaim, Request::Get(Kind::Claim, name));
        }
        let Suspects {
            block,
            unread,
            dead,
        } = *suspects;
        let Some(clear) = block.clear(|taken| dead.contains(&taken.bit)) else {
            return self.skip();
        };
        self.is_full = false;
        let has_more = !unread.is_empty() || dead.len() > BITS_PER_WRITE;
        self.state = State::Writing(has_more);
        Next::write(Purpose::SweepWrite, &clear)
    }
}

impl Machine for Sweep {
    /// Whether the range was full for the claim, as far as it was swept.
    type End = bool;

    fn begin(&mut self) -> Next<bool> {
        self.read(Pause::No)
    }

    fn on(&mut self, answer: Answer) -> Next<bool> {
        match std::mem::replace(&mut self.state, State::Reading) {
            State::Reading => {
                if let Some(block) = answer.block() {
                    return self.suspect(block);
                }
                self.is_full = false;
                self.skip()
            }
            State::Claims(block, mut pages) => {
                let Some(listed) = pages.take(answer.names()) else {
                    let query = pages.query.clone();
                    self.state = State::Claims(block, pages);
                    return Next::ask(Purpose::SweepClaims, Request::ListMetadata(query));
                };
                let living: BTreeSet<String> = listed.into_iter().map(|one| one.uid).collect();
                let is_suspect = |taken: &TakenBit| !living.contains(&taken.uid);
                self.judge(Box::new(Suspects::of(*block, is_suspect)))
            }
            State::Suspects(mut suspects) => {
                suspects.note(answer.claim().as_ref());
                self.judge(suspects)
            }
            State::Writing(has_more) => match answer {
                Answer::Done(_) if has_more => self.read(Pause::No),
                Answer::Done(_) | Answer::Gone => self.skip(),
                _ if self.tries >= TRIES => self.skip(),
                _ => {
                    self.tries += 1;
                    self.read(Pause::Contended(self.tries))
                }
            },
        }
    }
}
