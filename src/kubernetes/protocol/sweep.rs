//! Dead bits of a range are cleared, before it is called full.
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
}

/// A sweep under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sweep {
    blocks: VecDeque<String>,
    /// The bits of a stated address. Without it, all bits are suspects.
    stated: Option<Vec<BitWindow>>,
    tries: u32,
    state: State,
}

impl Sweep {
    /// The sweep of some of `blocks`: those from the place that `chance` tells.
    pub(crate) fn new(mut blocks: Vec<String>, chance: usize) -> Self {
        let first = chance.checked_rem(blocks.len()).unwrap_or(0);
        blocks.rotate_left(first);
        blocks.truncate(BLOCKS);
        Self {
            blocks: blocks.into(),
            stated: None,
            tries: 0,
            state: State::Reading,
        }
    }

    /// The sweep for `want`: of a stated address, or of some of `blocks`.
    pub(crate) fn of_want(want: &Want, blocks: Vec<String>, chance: usize) -> Self {
        let mut sweep = Self::new(blocks, chance);
        if let Choice::Exactly(address) = want.choice {
            sweep.stated = Some(windows(&intervals(want), BlockId::of(address)));
        }
        sweep
    }

    fn skip(&mut self) -> Next<()> {
        self.blocks.pop_front();
        self.tries = 0;
        self.read(Pause::No)
    }

    fn read(&mut self, pause: Pause) -> Next<()> {
        let Some(name) = self.blocks.front() else {
            return Next::Done(());
        };
        self.state = State::Reading;
        let get = Request::Get(Kind::Block, name.clone());
        Next::after(pause, Purpose::SweepRead, get)
    }

    /// Looks for suspects among the bits of `block`.
    fn suspect(&mut self, block: Block) -> Next<()> {
        let Some(stated) = &self.stated else {
            return self.list_claims(block);
        };
        let has = |window: &BitWindow, bit| (window.first..=window.last).contains(&bit);
        let is_stated = |taken: &TakenBit| stated.iter().any(|window| has(window, taken.bit));
        let suspects = Suspects::of(block, is_stated);
        self.judge(Box::new(suspects))
    }

    fn list_claims(&mut self, block: Block) -> Next<()> {
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
    fn judge(&mut self, suspects: Box<Suspects>) -> Next<()> {
        if let Some(name) = suspects.next().cloned() {
            self.state = State::Suspects(suspects);
            return Next::ask(Purpose::SweepClaim, Request::Get(Kind::Claim, name));
        }
        let Suspects {
            mut block,
            unread,
            dead,
        } = *suspects;
        if !block.clear(|taken| dead.contains(&taken.bit)) {
            return self.skip();
        }
        let has_more = !unread.is_empty() || dead.len() > BITS_PER_WRITE;
        self.state = State::Writing(has_more);
        Next::write(Purpose::SweepWrite, &block.write())
    }
}

impl Machine for Sweep {
    type End = ();

    fn begin(&mut self) -> Next<()> {
        self.read(Pause::No)
    }

    fn on(&mut self, answer: Answer) -> Next<()> {
        match std::mem::replace(&mut self.state, State::Reading) {
            State::Reading => match answer.block() {
                Some(block) => self.suspect(block),
                None => self.skip(),
            },
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
