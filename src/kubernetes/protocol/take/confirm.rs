//! The last look at the claim, and the answer.
//!
//! The bits were read or acknowledged before. If the claim still has the own attempt and the same current blocks after
//! that, no process gave up a bit in between.

use std::collections::BTreeMap;

use whereabouts_core::failure::Failure;
use whereabouts_core::registry::Taken;

use super::super::blocks;
use super::super::{Answer, Next, Purpose};
use super::{Adopted, State, Step, Take};
use crate::convert;
use crate::object::{Block, Claim};

impl Take {
    pub(super) fn confirm(&mut self) -> Step {
        self.state = State::Confirming;
        Next::ask(Purpose::Confirm, self.get_claim())
    }

    pub(super) fn on_confirm(&mut self, answer: Answer) -> Step {
        let claim = match self.still_own(answer) {
            Ok(claim) => claim,
            Err(lost) => return *lost,
        };
        let currents = |claim: &Claim| -> Vec<String> {
            let wants = claim.spec.wants.iter();
            wants.map(|want| want.current.clone()).collect()
        };
        if currents(&claim) != currents(self.own_claim()) {
            self.claim = Some(claim);
            self.blocks.clear();
            return self.go_on();
        }
        self.claim = Some(claim);
        Next::Done(self.answer())
    }

    /// The answer: the bits as they were read or acknowledged, never what was decided.
    fn answer(&self) -> Result<Taken, Failure> {
        let blocks = self.blocks.iter();
        let blocks = blocks.filter_map(|(name, known)| Some((name.clone(), known.block.clone()?)));
        let blocks: BTreeMap<_, _> = blocks.collect();
        let claim = convert::claim(self.own_claim(), &blocks)?.claim;
        if self.existed {
            return Ok(if self.ask.is_met_by(&claim) {
                Taken::Held(claim)
            } else {
                Taken::HoldsOther(claim)
            });
        }
        Ok(match (&self.adopted, &self.old) {
            (Some(Adopted::Rest), _) => Taken::Revived(claim.held),
            (Some(Adopted::Old(attachment, held)), _) if *held == claim.held => {
                Taken::TakenOver(attachment.clone(), claim.held)
            }
            (None, Some(old)) if old.held == claim.held => {
                Taken::TakenOver(old.attachment.clone(), claim.held)
            }
            _ => Taken::Granted(claim.held),
        })
    }

    /// Whether `claim` is of the ranges of the request.
    pub(super) fn has_same_ranges(&self, claim: &Claim) -> bool {
        let stored = claim.spec.wants.iter().map(convert::range);
        let wanted = self.ask.wants.iter().map(|want| Ok(want.range.clone()));
        stored.eq(wanted)
    }

    /// Reads the blocks of a claim of other ranges, which stays as it is, and answers what it holds.
    pub(super) fn read_other(&mut self, claim: Claim, blocks: BTreeMap<String, Block>) -> Step {
        let mut wants = claim.spec.wants.iter();
        let Some(unread) = wants.find(|want| !blocks.contains_key(&want.current)) else {
            let read = convert::claim(&claim, &blocks);
            let answer = read.map(|read| Taken::HoldsOther(read.claim));
            return Next::Done(answer.map_err(Failure::from));
        };
        let name = unread.current.clone();
        self.state = State::OtherBlocks(claim, blocks);
        Next::get_block(Purpose::OtherBlock, &name)
    }

    pub(super) fn on_other_block(
        &mut self,
        claim: Claim,
        mut blocks: BTreeMap<String, Block>,
        answer: Answer,
    ) -> Step {
        let mut wants = claim.spec.wants.iter();
        let unread = wants.find(|want| !blocks.contains_key(&want.current));
        let unread = unread.expect("a block was asked for");
        let key = convert::key_of(unread);
        let absent = || key.map(|key| blocks::absent(&key));
        let name = unread.current.clone();
        match answer.block().or_else(absent) {
            Some(block) => blocks.insert(name, block),
            None => return Next::Done(Err(convert::no_block(&claim, &name).into())),
        };
        self.read_other(claim, blocks)
    }
}
