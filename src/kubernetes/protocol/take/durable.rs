//! The claim of a pod's name: it keeps its addresses, and gets another attachment by one write.
//!
//! No bit changes, as the claim stays the same object with the same current blocks. So each attachment has the addresses from
//! this write on, and the last one has them no more.

use std::collections::BTreeMap;

use whereabouts_core::allocator::Kept;
use whereabouts_core::durable::DurableOwner;
use whereabouts_core::failure::{Corrupt, Failure};
use whereabouts_core::registry::Taken;

use super::super::{Answer, Next, Purpose, blocks};
use super::own::of_another;
use super::{Adopted, Known, State, Step, Take};
use crate::api::Write;
use crate::convert;
use crate::object::{Block, Claim, Object};

impl Take {
    /// Makes the request a durable one if the pod's own claim is durable: it stays so, also where the network is sticky no
    /// more.
    pub(super) fn stay_durable(&mut self) {
        let mut owner = self.ask.owner.clone();
        owner.is_durable = true;
        let own = DurableOwner::of(&self.ask.attachment, &owner);
        let is_own = |claim: &Claim| {
            claim.is_of(&self.ask.attachment) || convert::durable_owner(claim).ok() == own
        };
        if let Some(claim) = self.kept_olds.iter().find(|claim| is_own(claim)) {
            self.ask.owner.is_durable = true;
            self.name.clone_from(&claim.metadata.name);
        }
    }

    /// After a look for a claim that the attachment has had since before its network was sticky. It stays as it is.
    pub(super) fn on_ordinary(&mut self, answer: Answer) -> Step {
        match answer.claim() {
            Some(claim) if claim.is_of(&self.ask.attachment) => {
                self.name.clone_from(&claim.metadata.name);
                self.own(claim)
            }
            Some(claim) => Next::Done(Err(of_another(claim).into())),
            None => self.look_again(),
        }
    }

    fn look_again(&mut self) -> Step {
        self.state = State::Existing;
        Next::ask(Purpose::Existing, self.get_claim())
    }

    /// Reads the blocks of a durable claim that this attachment does not have.
    pub(super) fn kept(&mut self, claim: Claim) -> Step {
        if convert::durable_owner(&claim).ok() != self.ask.durable_owner() {
            return Next::Done(Err(of_another(claim).into()));
        }
        self.read_kept(claim, BTreeMap::new())
    }

    fn read_kept(&mut self, claim: Claim, blocks: BTreeMap<String, Block>) -> Step {
        match unread(&claim, &blocks) {
            Some(name) => {
                self.state = State::KeptBlocks(claim, blocks);
                Next::get_block(Purpose::KeptBlock, &name)
            }
            None => self.adopt(claim, blocks),
        }
    }

    pub(super) fn on_kept_block(
        &mut self,
        claim: Claim,
        mut known: BTreeMap<String, Block>,
        answer: Answer,
    ) -> Step {
        let name = unread(&claim, &known).expect("a block was asked for");
        let wants = claim.spec.wants.iter();
        let key = wants
            .filter(|want| want.current == name)
            .find_map(convert::key_of);
        // The first ADD of the name was perhaps killed before it made the block.
        let absent = || key.map(|key| blocks::absent(&key));
        match answer.block().or_else(absent) {
            Some(block) => known.insert(name, block),
            None => return Next::Done(Err(convert::no_block(&claim, &name).into())),
        };
        self.read_kept(claim, known)
    }

    /// Gives the claim to this attachment, or tells the reason against it.
    fn adopt(&mut self, claim: Claim, blocks: BTreeMap<String, Block>) -> Step {
        let read = match convert::claim(&claim, &blocks) {
            Ok(read) => read,
            Err(corrupt) => return Next::Done(Err(corrupt.into())),
        };
        let (is_complete, read) = (read.is_complete, read.claim);
        let adopted = if claim.is_resting() {
            if !is_complete {
                return Next::Done(Err(lost(&claim).into()));
            }
            Adopted::Rest
        } else {
            let old = match convert::attachment(&claim) {
                Ok(old) => old,
                Err(corrupt) => return Next::Done(Err(corrupt.into())),
            };
            if !self.may_have(&claim) {
                return self.keep(Kept::InUse(old, Some(Box::new(read))));
            }
            if self.is_late {
                return Next::Done(Err(Failure::BeganLate(old)));
            }
            Adopted::Old(old, read.held.clone())
        };
        // The ADD of the old container was perhaps never answered, and its claim still waits.
        let fits = if is_complete {
            self.ask.may_be_given(&read.held)
        } else {
            self.has_same_ranges(&claim)
        };
        if !fits {
            return self.keep(Kept::Unwanted(read.held));
        }
        let mut own = claim;
        own.attach(&self.ask, &self.attempt, self.now);
        self.adopted = Some(adopted);
        let known = blocks.into_iter().map(|(name, block)| {
            let block = Some(block);
            let is_read = true;
            (name, Known { block, is_read })
        });
        self.blocks = known.collect();
        let write = Write::Replace(Object::Claim(own));
        let next = Next::write(Purpose::Adopt, &write);
        self.state = State::Adopting(write);
        next
    }

    pub(super) fn on_adopted(&mut self, write: Write, answer: Answer) -> Step {
        match answer {
            Answer::Done(Some(Object::Claim(claim))) => self.attached(claim),
            Answer::Unknown => {
                let next = Next::again(Purpose::Adopt, &write);
                self.state = State::Adopting(write);
                next
            }
            _ => self.look_again(),
        }
    }

    /// Goes on with the claim, which this attachment has now. Its bits were read before, and the version of the claim tells
    /// that nothing gave them up meanwhile.
    pub(super) fn attached(&mut self, claim: Claim) -> Step {
        self.claim = Some(claim);
        self.go_on()
    }

    /// Whether an old container of the pod has the claim, on the same node. Only the first read tells which one is older.
    fn may_have(&self, claim: &Claim) -> bool {
        let mut olds = self.kept_olds.iter();
        olds.any(|old| {
            let (before, now) = (&old.spec, &claim.spec);
            old.metadata.uid == claim.metadata.uid
                && before.container == now.container
                && before.owner.node == now.owner.node
                && before.owner.pod_uid == now.owner.pod_uid
        })
    }

    fn keep(&self, kept: Kept) -> Step {
        let owner = self.ask.durable_owner().expect("the claim is durable");
        Next::Done(Ok(Taken::Kept(owner, kept)))
    }
}

fn unread(claim: &Claim, blocks: &BTreeMap<String, Block>) -> Option<String> {
    let mut wants = claim.spec.wants.iter();
    let unread = wants.find(|want| !blocks.contains_key(&want.current));
    unread.map(|want| want.current.clone())
}

/// The error of a claim at rest that has lost a bit: another address must not take the place of the kept one.
fn lost(claim: &Claim) -> Corrupt {
    Corrupt {
        key: format!("AddressClaim {}", claim.metadata.name),
        reason: "its pod's name keeps an address that no block has".to_owned(),
    }
}
