//! Bits of the current blocks, for the own claim and for other claims that wait for them.

use std::collections::BTreeMap;

use super::super::blocks::{self, Contender};
use super::super::clear::Clear;
use super::super::search::Search;
use super::super::{Answer, Mode, Next, Pages, Pause, Purpose, Request, inner};
use super::{Known, State, Step, Take};
use crate::api::{ListAt, ListQuery, Requirement};
use crate::names;
use crate::object::{Block, Claim, Kind, Object};

/// Claims that wait for bits of one block, in a page.
const CLAIMS_PER_PAGE: u32 = 500;

impl Take {
    /// Goes on with the first want without a bit, or to the last look.
    pub(super) fn go_on(&mut self) -> Step {
        for want in 0..self.own_claim().spec.wants.len() {
            let name = self.current(want).to_owned();
            let Some(known) = self.blocks.get(&name) else {
                return self.read_block(name, Pause::No);
            };
            match &known.block {
                Some(block) if self.bit_in(block, want).is_some() => {}
                block => {
                    let block = block.clone();
                    let is_read = known.is_read;
                    return self.give(want, name, block, is_read);
                }
            }
        }
        self.clear_old()
    }

    /// Clears bits of the old container's claim, which is gone. They are left if another process has given other ones to the
    /// own claim.
    fn clear_old(&mut self) -> Step {
        let blocks = self
            .blocks
            .values()
            .filter_map(|known| known.block.as_ref());
        let mut taken = blocks.flat_map(|block| &block.spec.taken);
        let Some(old) = &self.old else {
            return self.mark_full();
        };
        if !taken.any(|taken| taken.uid == old.claim.metadata.uid) {
            return self.mark_full();
        }
        let mut clear = Clear::new(&old.claim, BTreeMap::new());
        let next = clear.begin();
        self.state = State::ClearingOld(clear);
        inner!(next);
        self.mark_full()
    }

    pub(super) fn on_old_cleared(&mut self, mut clear: Clear, answer: Answer) -> Step {
        let next = clear.on(answer);
        self.state = State::ClearingOld(clear);
        inner!(next);
        self.mark_full()
    }

    pub(super) fn bit_in(&self, block: &Block, want: usize) -> Option<u8> {
        block.bit_of(self.own_uid(), index(want))
    }

    pub(super) fn read_block(&mut self, name: String, pause: Pause) -> Step {
        let get = Request::Get(Kind::Block, name.clone());
        self.state = State::Reading(name);
        Next::after(pause, Purpose::Current, get)
    }

    pub(super) fn on_block(&mut self, name: String, answer: Answer) -> Step {
        let block = answer.block();
        let is_read = true;
        self.blocks.insert(name, Known { block, is_read });
        self.go_on()
    }

    /// Sets bits of the want's current block, which has none for it.
    fn give(&mut self, want: usize, name: String, block: Option<Block>, is_read: bool) -> Step {
        let mut block = block.unwrap_or_else(|| self.absent(want));
        self.inherited = self.inherit(&mut block, want);
        let windows = &self.own_claim().spec.wants[want].windows;
        let has_space = self.bit_in(&block, want).is_some() || block.lowest_free(windows).is_some();
        match (has_space, is_read) {
            (true, _) if self.contended > 0 => self.list_waiting(want, block),
            (true, _) => self.write_block(want, block, Vec::new()),
            (false, true) => self.full(want),
            (false, false) => self.read_block(name, Pause::No),
        }
    }

    /// The bits of an old container's claim, which is gone, become the own ones; their number.
    fn inherit(&self, block: &mut Block, want: usize) -> usize {
        let Some(old) = &self.old else { return 0 };
        let heirs = self.own_contenders(&block.metadata.name.clone());
        let heirs = heirs.iter().filter(|heir| usize::from(heir.want) >= want);
        heirs
            .filter(|heir| block.inherit(&old.claim.metadata.uid, heir))
            .count()
    }

    fn own_contenders(&self, block: &str) -> Vec<Contender> {
        blocks::contenders(self.own_claim(), block)
    }

    /// The block of a want that was absent.
    fn absent(&self, want: usize) -> Block {
        let key = crate::convert::key_of(&self.own_claim().spec.wants[want]);
        blocks::absent(&key.expect("this process has read or written the name"))
    }

    fn list_waiting(&mut self, want: usize, block: Block) -> Step {
        let name = names::current(&block.metadata.name);
        let query = ListQuery {
            kind: Kind::Claim,
            selector: vec![Requirement::In(name, block.rounds())],
            limit: CLAIMS_PER_PAGE,
            at: ListAt::AtLeast(self.own_claim().metadata.resource_version.clone()),
            continued: None,
        };
        self.state = State::Waiting(want, block, Pages::new(query.clone()));
        Next::ask(Purpose::Waiting, Request::List(query))
    }

    pub(super) fn on_waiting(
        &mut self,
        want: usize,
        block: Block,
        mut pages: Pages<Claim>,
        answer: Answer,
    ) -> Step {
        let Some(claims) = pages.take(answer.listed()) else {
            let query = pages.query.clone();
            self.state = State::Waiting(want, block, pages);
            return Next::ask(Purpose::Waiting, Request::List(query));
        };
        let others = claims
            .iter()
            .filter(|claim| claim.metadata.uid != self.own_uid());
        let name = &block.metadata.name;
        let waiting = others
            .flat_map(|claim| blocks::contenders(claim, name))
            .filter(|one| !block.has_earlier_bit(one))
            .collect();
        self.write_block(want, block, waiting)
    }

    fn write_block(&mut self, want: usize, mut block: Block, mut waiting: Vec<Contender>) -> Step {
        let name = block.metadata.name.clone();
        waiting.extend(self.own_contenders(&name));
        block.give(waiting, self.inherited);
        let place = self.places.get(&want);
        if place.is_some_and(|place| place.is_reached && names::block(&place.key) == name) {
            block.reach(Search::new(&self.ask.wants[want], &[], Mode::Quick).id());
        }
        self.state = State::Giving(name);
        Next::write(Purpose::Give, &block.write())
    }

    pub(super) fn on_given(&mut self, name: String, answer: Answer) -> Step {
        if let Answer::Done(Some(Object::Block(block))) = answer {
            let wants = self.own_contenders(&name);
            let has_bit = |one: &Contender| block.bit_of(&one.uid, one.want).is_some();
            if wants.iter().all(has_bit) {
                let known = Known {
                    block: Some(block),
                    is_read: true,
                };
                self.blocks.insert(name, known);
                return self.go_on();
            }
        }
        // Another process wrote the block, or this one gave the last bits to older claims, or the outcome is unknown.
        self.contended += 1;
        self.blocks.remove(&name);
        self.read_block(name, Pause::Contended(self.contended))
    }

    /// Marks a block that is full and has a successor now. If that fails, a later ADD does it.
    fn mark_full(&mut self) -> Step {
        let mut places = self.places.values_mut();
        let Some(mut filled) = places.find_map(|place| place.filled.take()) else {
            return self.confirm();
        };
        filled.mark_full();
        self.state = State::Marking;
        Next::write(Purpose::MarkFull, &filled.write())
    }
}

pub(super) fn index(want: usize) -> u8 {
    u8::try_from(want).expect("a request has few wants")
}
