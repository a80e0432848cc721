//! Dead bits of a range are cleared, before it is called full.
//!
//! A bit is dead if its claim does not exist, or waits for bits of another block. The block is read first. A claim
//! exists before its first bit, so a claim that a later list does not have cannot come back to the bit that was read.

use std::collections::{BTreeSet, VecDeque};

use super::{Answer, Next, Pages, Pause, Purpose, Request};
use crate::api::{ListQuery, Requirement};
use crate::names;
use crate::object::{Block, Kind, Metadata};

/// Blocks that one ADD sweeps.
const BLOCKS: usize = 16;

/// Claims in a page.
const CLAIMS_PER_PAGE: u32 = 500;

/// Writes of one block before it is left to others.
const TRIES: u32 = 4;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Reading,
    Claims(Box<Block>, Pages<Metadata>),
    Writing,
}

/// A sweep under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sweep {
    blocks: VecDeque<String>,
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
            tries: 0,
            state: State::Reading,
        }
    }

    pub(crate) fn begin(&mut self) -> Next<()> {
        self.read(Pause::No)
    }

    pub(crate) fn on(&mut self, answer: Answer) -> Next<()> {
        match &mut self.state {
            State::Reading => match answer.block() {
                Some(block) => self.list_claims(block),
                None => self.skip(),
            },
            State::Claims(block, pages) => {
                let Some(claims) = pages.take(answer.names()) else {
                    let query = pages.query.clone();
                    return Next::ask(Purpose::SweepClaims, Request::ListMetadata(query));
                };
                let living: BTreeSet<String> = claims.into_iter().map(|one| one.uid).collect();
                let mut swept = Block::clone(block);
                if !swept.clear(|taken| !living.contains(&taken.uid)) {
                    return self.skip();
                }
                self.state = State::Writing;
                self.tries += 1;
                Next::write(Purpose::SweepWrite, &swept.write())
            }
            State::Writing => match answer {
                Answer::Done(_) | Answer::Gone => self.skip(),
                _ if self.tries >= TRIES => self.skip(),
                _ => self.read(Pause::Contended(self.tries)),
            },
        }
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

    fn list_claims(&mut self, block: Block) -> Next<()> {
        if block.spec.taken.is_empty() {
            return self.skip();
        }
        let query = ListQuery {
            kind: Kind::Claim,
            selector: vec![Requirement::Exists(names::current(&block.metadata.name))],
            limit: CLAIMS_PER_PAGE,
            continued: None,
        };
        self.state = State::Claims(Box::new(block), Pages::new(query.clone()));
        Next::ask(Purpose::SweepClaims, Request::ListMetadata(query))
    }
}
