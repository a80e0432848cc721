//! Dead bits of a range are cleared, before it is called full.
//!
//! A bit is dead if its claim does not exist, or has another current block. All blocks are read before the first claim. A claim
//! exists before its first bit, so a claim that a later read does not find cannot come back to the bit.
//!
//! A sweep is also the proof that the range is full: no block has space, and each bit counts. A claim that counts later held its
//! bit when the last block was read. So all addresses were held at that moment.
//!
//! The list of the claims with the block's label only spares reads: a person can change a label. A bit is cleared after a
//! read of its own claim.
//!
//! An ADD of one stated address clears the bit of that address alone. After a loss of claims, other dead bits are of addresses
//! that pods use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use whereabouts_core::address::{BlockId, Interval};
use whereabouts_core::claim::{Choice, Want};

use super::blocks::BITS_PER_WRITE;
use super::search::Listed;
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
    /// A block is read, as the others were not swept yet.
    Reading,
    /// A block is read once more.
    Again,
    Claims(Box<Block>, Pages<Metadata>),
    Suspects(Box<Suspects>),
    /// The block, and whether it has further bits that may be dead.
    Writing(String, bool),
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

    /// The bits that a list of claims with the block's label leaves in doubt: of claims that it lacks, and of claims that may have
    /// left the block with another want.
    fn beside(block: Block, listed: &[Metadata]) -> Self {
        let name = &block.metadata.name;
        let has_one_block = |claim: &&Metadata| {
            claim
                .labels
                .keys()
                .filter(|key| is_beside(key, name))
                .count()
                < 2
        };
        let living: BTreeSet<&str> = listed
            .iter()
            .filter(has_one_block)
            .map(|claim| claim.uid.as_str())
            .collect();
        let mut bits: BTreeMap<&str, usize> = BTreeMap::new();
        for taken in &block.spec.taken {
            *bits.entry(&taken.uid).or_default() += 1;
        }
        let is_suspect =
            |taken: &TakenBit| !living.contains(taken.uid.as_str()) || bits[taken.uid.as_str()] > 1;
        let doubted: BTreeSet<u8> = block
            .spec
            .taken
            .iter()
            .filter(|taken| is_suspect(taken))
            .map(|taken| taken.bit)
            .collect();
        Self::of(block, |taken| doubted.contains(&taken.bit))
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

/// Whether a label is of a current block of the same family as `block`.
fn is_beside(label: &str, block: &str) -> bool {
    let family = block.get(..3).unwrap_or(block);
    label
        .strip_prefix(&names::current(""))
        .is_some_and(|other| other.starts_with(family))
}

/// The want for which the range is to be full.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    uid: String,
    want: u8,
    intervals: Vec<Interval>,
}

impl Asked {
    /// Whether `block` has neither space nor a bit for this want.
    fn is_full(&self, block: &Block) -> bool {
        let id = names::block_of(&block.metadata.name);
        let windows = id.map(|id| windows(&self.intervals, id));
        block.bit_of(&self.uid, self.want).is_none()
            && windows.is_some_and(|windows| block.lowest_free(&windows).is_none())
    }
}

/// A sweep under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sweep {
    unread: VecDeque<String>,
    /// Blocks whose bits were not judged yet.
    read: VecDeque<Block>,
    asked: Option<Asked>,
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
        Self {
            unread: names.into(),
            read: VecDeque::new(),
            asked: None,
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
        mut blocks: Vec<Listed>,
        chance: usize,
        claim: &Claim,
        index: usize,
    ) -> Self {
        let current = &claim.spec.wants[index].current;
        let first = chance.checked_rem(blocks.len()).unwrap_or(0);
        blocks.rotate_left(first);
        // The sort is stable: all other blocks stay in their order.
        blocks.sort_by_key(|block| block.name != *current);
        blocks.truncate(BLOCKS);
        let mut sweep = Self::new(Vec::new());
        sweep.asked = Some(Asked {
            uid: claim.metadata.uid.clone(),
            want: u8::try_from(index).expect("a request has few wants"),
            intervals: intervals(want),
        });
        for Listed { name, block } in blocks {
            match block {
                Some(block) => sweep.enter(block),
                None => sweep.unread.push_back(name),
            }
        }
        if let Choice::Exactly(address) = want.choice {
            sweep.stated = Some(windows(&intervals(want), BlockId::of(address)));
        }
        sweep
    }

    /// Takes in a block as it was read.
    fn enter(&mut self, block: Block) {
        let asked = self.asked.as_ref();
        self.is_full &= asked.is_some_and(|asked| asked.is_full(&block));
        self.read.push_back(block);
    }

    /// Reads the next block; once all are read, judges the next one.
    fn read(&mut self) -> Next<bool> {
        if let Some(name) = self.unread.front() {
            self.state = State::Reading;
            let purpose = match self.asked {
                Some(_) => Purpose::ProofRead,
                None => Purpose::SweepRead,
            };
            return Next::get_block(purpose, name);
        }
        self.tries = 0;
        match self.read.pop_front() {
            Some(block) => self.suspect(block),
            None => Next::Done(self.is_full),
        }
    }

    fn read_again(&mut self, name: &str, pause: Pause) -> Next<bool> {
        self.state = State::Again;
        let get = Request::Get(Kind::Block, name.to_owned());
        Next::after(pause, Purpose::SweepRead, get)
    }

    /// Looks for suspects among the bits of `block`.
    fn suspect(&mut self, block: Block) -> Next<bool> {
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
            return self.read();
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
            return self.read();
        };
        self.is_full = false;
        let has_more = !unread.is_empty() || dead.len() > BITS_PER_WRITE;
        self.state = State::Writing(block.metadata.name, has_more);
        Next::write(Purpose::SweepWrite, &clear)
    }
}

impl Machine for Sweep {
    /// Whether the range was full for the claim, as far as it was swept.
    type End = bool;

    fn begin(&mut self) -> Next<bool> {
        self.read()
    }

    fn on(&mut self, answer: Answer) -> Next<bool> {
        match std::mem::replace(&mut self.state, State::Reading) {
            State::Reading => {
                self.unread.pop_front();
                match answer.block() {
                    Some(block) => self.enter(block),
                    None => self.is_full = false,
                }
                self.read()
            }
            State::Again => match answer.block() {
                Some(block) => self.suspect(block),
                None => self.read(),
            },
            State::Claims(block, mut pages) => {
                let Some(listed) = pages.take(answer.names()) else {
                    let query = pages.query.clone();
                    self.state = State::Claims(block, pages);
                    return Next::ask(Purpose::SweepClaims, Request::ListMetadata(query));
                };
                let suspects = Suspects::beside(*block, &listed);
                self.judge(Box::new(suspects))
            }
            State::Suspects(mut suspects) => {
                suspects.note(answer.claim().as_ref());
                self.judge(suspects)
            }
            State::Writing(name, has_more) => match answer {
                Answer::Done(_) if has_more => self.read_again(&name, Pause::No),
                Answer::Done(_) | Answer::Gone => self.read(),
                _ if self.tries >= TRIES => self.read(),
                _ => {
                    self.tries += 1;
                    self.read_again(&name, Pause::Contended(self.tries))
                }
            },
        }
    }
}
