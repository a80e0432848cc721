//! A current block without a free bit: another block, a sweep, another claim, or the end.

use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Choice, Held};

use super::super::search::{FoundBlock, Mode, Search};
use super::super::sweep::Sweep;
use super::super::{Answer, Machine, Next, Pause, inner};
use super::give::index;
use super::{After, State, Step, Take};
use crate::api::Write;
use crate::names;
use crate::object::Object;
use crate::protocol::Purpose;

/// Blocks that one claim gives up. The kind of claims has the same bound.
const BLOCKS_LEFT: usize = 64;

/// Sweeps of one ADD that prove nothing, as others write the blocks meanwhile.
const SWEEPS: u32 = 8;

impl Take {
    /// Looks for another block, as the current one is full.
    pub(super) fn full(&mut self, want: usize) -> Step {
        let left = &self.own_claim().spec.wants[want].left;
        let search = Search::new(&self.ask.wants[want], left, Mode::Thorough);
        let mut search = search.of(self.own_uid(), index(want));
        let next = search.begin();
        self.state = State::SearchAll(want, search);
        inner!(next);
        unreachable!("a search begins with a request")
    }

    pub(super) fn on_search_all(
        &mut self,
        want: usize,
        mut search: Search,
        answer: Answer,
    ) -> Step {
        let next = search.on(answer);
        self.state = State::SearchAll(want, search);
        let end = inner!(next);
        if let Some(found) = end.found {
            return self.move_to(want, found);
        }
        if end.left_has_space {
            return self.give_up(After::Restart);
        }
        let digits = self.attempt.bytes().map(usize::from);
        let wanted = &self.ask.wants[want];
        let mut sweep = Sweep::of_want(wanted, end.existing, digits.sum(), self.own_claim(), want);
        let next = sweep.begin();
        self.state = State::Sweep(want, sweep);
        let is_full = inner!(next);
        self.swept(want, is_full)
    }

    pub(super) fn on_sweep(&mut self, want: usize, mut sweep: Sweep, answer: Answer) -> Step {
        let next = sweep.on(answer);
        self.state = State::Sweep(want, sweep);
        let is_full = inner!(next);
        self.swept(want, is_full)
    }

    /// The end after a sweep that proves the range full. Otherwise the current block is read again.
    fn swept(&mut self, want: usize, is_full: bool) -> Step {
        if is_full {
            return self.give_up(After::Short(self.shortage(want)));
        }
        self.sweeps += 1;
        if self.sweeps >= SWEEPS {
            return self.give_up(After::Undecided);
        }
        let name = self.current(want).to_owned();
        self.blocks.remove(&name);
        self.read_block(name, Pause::Contended(self.sweeps))
    }

    fn shortage(&self, want: usize) -> Shortage {
        let want = &self.ask.wants[want];
        let range = want.range.clone();
        match want.choice {
            Choice::Lowest => Shortage::Exhausted(range),
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
