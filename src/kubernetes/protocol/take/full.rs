//! A current block without a free bit: another block, a sweep, another claim, or the end.

use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Choice, Held};

use super::super::search::{FoundBlock, Mode, Search};
use super::super::sweep::Sweep;
use super::super::{Answer, Machine, Next, Purpose, inner};
use super::{After, Known, State, Step, Take};
use crate::api::Write;
use crate::names;
use crate::object::Object;

/// Blocks that one claim gives up. The kind of claims has the same bound.
const BLOCKS_LEFT: usize = 64;

/// What the last search says, unless the current block has space or the own bit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Move(Box<FoundBlock>),
    Restart,
    Short,
}

impl Take {
    /// Looks for another block, as the current one is full.
    pub(super) fn full(&mut self, want: usize) -> Step {
        let mut search = self.thorough(want);
        let next = search.begin();
        self.state = State::FirstSearch(want, search);
        inner!(next);
        unreachable!("a search begins with a request")
    }

    fn thorough(&self, want: usize) -> Search {
        let left = &self.own_claim().spec.wants[want].left;
        Search::new(&self.ask.wants[want], left, Mode::Thorough).of(self.own_uid())
    }

    pub(super) fn on_first_search(
        &mut self,
        want: usize,
        mut search: Search,
        answer: Answer,
    ) -> Step {
        let next = search.on(answer);
        self.state = State::FirstSearch(want, search);
        let end = inner!(next);
        if let Some(found) = end.found {
            return self.move_to(want, found);
        }
        let digits = self.attempt.bytes().map(usize::from);
        let mut sweep = Sweep::of_want(&self.ask.wants[want], end.existing, digits.sum());
        let next = sweep.begin();
        self.state = State::Sweep(want, sweep);
        inner!(next);
        self.search_again(want)
    }

    pub(super) fn on_sweep(&mut self, want: usize, mut sweep: Sweep, answer: Answer) -> Step {
        let next = sweep.on(answer);
        self.state = State::Sweep(want, sweep);
        inner!(next);
        self.search_again(want)
    }

    fn search_again(&mut self, want: usize) -> Step {
        let mut search = self.thorough(want);
        let next = search.begin();
        self.state = State::LastSearch(want, search);
        inner!(next);
        unreachable!("a search begins with a request")
    }

    pub(super) fn on_last_search(
        &mut self,
        want: usize,
        mut search: Search,
        answer: Answer,
    ) -> Step {
        let next = search.on(answer);
        self.state = State::LastSearch(want, search);
        let end = inner!(next);
        let outcome = match (end.found, end.left_has_space) {
            (Some(found), _) => Outcome::Move(Box::new(found)),
            (None, true) => Outcome::Restart,
            (None, false) => Outcome::Short,
        };
        self.state = State::LastLook(want, outcome);
        Next::get_block(Purpose::LastLook, self.current(want))
    }

    /// The current block, read after the last search: the search saw no own bit there if this read does not.
    pub(super) fn on_last_look(&mut self, want: usize, outcome: Outcome, answer: Answer) -> Step {
        let block = answer.block();
        let windows = &self.own_claim().spec.wants[want].windows;
        let has_space = block.as_ref().is_none_or(|block| {
            self.bit_in(block, want).is_some() || block.lowest_free(windows).is_some()
        });
        if has_space {
            let is_read = true;
            let name = self.current(want).to_owned();
            self.blocks.insert(name, Known { block, is_read });
            return self.go_on();
        }
        match outcome {
            Outcome::Move(found) => self.move_to(want, *found),
            Outcome::Restart => self.give_up(After::Restart),
            Outcome::Short => self.give_up(After::Short(self.shortage(want))),
        }
    }

    fn shortage(&self, want: usize) -> Shortage {
        let want = &self.ask.wants[want];
        let range = want.range.clone();
        match want.choice {
            Choice::Lowest(_) => Shortage::Exhausted(range),
            Choice::Exactly(address) => Shortage::Taken(Held { range, address }),
        }
    }

    fn move_to(&mut self, want: usize, found: FoundBlock) -> Step {
        let name = names::block(&found.key);
        self.blocks.remove(&name);
        if name == self.current(want) {
            return self.go_on();
        }
        if self.own_claim().spec.wants[want].left.len() >= BLOCKS_LEFT {
            return self.give_up(After::Restart);
        }
        let mut claim = self.own_claim().clone();
        claim.move_want(want, &self.ask.wants[want], &found.placed());
        self.places.insert(want, found);
        let write = Write::Replace(Object::Claim(claim));
        let next = Next::write(Purpose::Move, &write);
        self.state = State::Moving(write);
        next
    }

    pub(super) fn on_moved(&mut self, write: Write, answer: Answer) -> Step {
        match answer {
            Answer::Done(Some(Object::Claim(claim))) => {
                self.claim = Some(claim);
                self.go_on()
            }
            Answer::Unknown => {
                let next = Next::again(Purpose::Move, &write);
                self.state = State::Moving(write);
                next
            }
            _ => self.reread(),
        }
    }
}
