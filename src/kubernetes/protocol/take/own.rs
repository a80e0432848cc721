//! The own claim: it is created, taken over with the own attempt, reread after a refusal, and deleted.
//!
//! A write of the claim is repeated until its outcome is definite: a late one could otherwise land after the answer.

use std::collections::BTreeMap;

use whereabouts_core::failure::{Corrupt, Failure};
use whereabouts_core::registry::Taken;

use super::super::clear::Clear;
use super::super::search::FoundBlock;
use super::super::wanted::{self, Placed};
use super::super::{Answer, Next, Purpose, Request, inner};
use super::{After, Known, Settled, State, Step, Take};
use crate::api::Write;
use crate::convert;
use crate::names;
use crate::object::{Claim, ClaimWant, Kind, Object};

/// Claims that one ADD creates.
const CLAIMS: u32 = 8;

impl Take {
    pub(super) fn create(&mut self) -> Step {
        if self.restarts >= CLAIMS {
            return Next::Done(Err(Failure::Undecided(self.restarts as usize)));
        }
        self.restarts += 1;
        let placed: Vec<Placed> = self.places.values().map(FoundBlock::placed).collect();
        let claim = wanted::claim(&self.ask, &self.attempt, self.now, &placed);
        self.name.clone_from(&claim.metadata.name);
        let write = Write::Create(Object::Claim(claim));
        let next = Next::write(Purpose::Create, &write);
        self.state = State::Creating(write);
        next
    }

    pub(super) fn on_created(&mut self, write: Write, answer: Answer) -> Step {
        match answer {
            Answer::Done(Some(Object::Claim(claim))) => self.created(claim),
            Answer::Unknown => {
                let next = Next::again(Purpose::Create, &write);
                self.state = State::Creating(write);
                next
            }
            _ => {
                self.state = State::Existing;
                Next::ask(Purpose::Existing, self.get_claim())
            }
        }
    }

    pub(super) fn get_claim(&self) -> Request {
        Request::Get(Kind::Claim, self.name.clone())
    }

    /// Goes on with a claim that this process has created. The versions of its blocks that searches have read can be
    /// overwritten: whoever set a bit of this claim has written another version.
    fn created(&mut self, claim: Claim) -> Step {
        self.claim = Some(claim);
        for found in self.places.values() {
            let known = Known {
                block: found.block.clone(),
                is_read: false,
            };
            self.blocks.insert(names::block(&found.key), known);
        }
        match &self.old {
            Some(old) => {
                let metadata = &old.claim.metadata;
                let write = delete(metadata);
                let next = Next::write(Purpose::DeleteOld, &write);
                self.state = State::DeletingOld(write);
                next
            }
            None => self.go_on(),
        }
    }

    pub(super) fn on_old_deleted(&mut self, write: Write, answer: &Answer) -> Step {
        match answer {
            // Its bits are dead in both cases.
            Answer::Done(_) | Answer::Gone => self.go_on(),
            Answer::Unknown => {
                let next = Next::again(Purpose::DeleteOld, &write);
                self.state = State::DeletingOld(write);
                next
            }
            _ => {
                self.old = None;
                self.go_on()
            }
        }
    }

    pub(super) fn on_existing(&mut self, answer: Answer) -> Step {
        let Some(claim) = answer.claim() else {
            self.places.clear();
            self.old = None;
            let olds = std::mem::take(&mut self.olds);
            return self.next_old(olds);
        };
        if claim.is_of(&self.ask.attachment) {
            return self.own(claim);
        }
        if claim.spec.durable {
            return self.kept(claim);
        }
        Next::Done(Err(of_another(claim).into()))
    }

    /// Goes on with a claim of the same attachment.
    pub(super) fn own(&mut self, claim: Claim) -> Step {
        let is_nameless = |want: &&ClaimWant| convert::key_of(want).is_none();
        if let Some(want) = claim.spec.wants.iter().find(is_nameless) {
            return Next::Done(Err(convert::no_block(&claim, &want.current).into()));
        }
        if claim.spec.attempt == self.attempt {
            return match self.adopted {
                // A write of this process was carried out, although its outcome was unknown.
                Some(_) => self.attached(claim),
                None => self.created(claim),
            };
        }
        self.existed = true;
        self.old = None;
        self.places.clear();
        if !self.has_same_ranges(&claim) {
            return self.read_other(claim, BTreeMap::new());
        }
        let mut own = claim;
        own.spec.attempt.clone_from(&self.attempt);
        let write = Write::Replace(Object::Claim(own.clone()));
        self.claim = Some(own);
        let next = Next::write(Purpose::Attempt, &write);
        self.state = State::Attempting(write);
        next
    }

    pub(super) fn on_attempt(&mut self, write: Write, answer: Answer) -> Step {
        match answer {
            Answer::Done(Some(Object::Claim(claim))) => {
                self.claim = Some(claim);
                self.blocks.clear();
                self.go_on()
            }
            Answer::Unknown => {
                let next = Next::again(Purpose::Attempt, &write);
                self.state = State::Attempting(write);
                next
            }
            _ => self.reread(),
        }
    }

    /// Reads the claim after a write of it was refused.
    pub(super) fn reread(&mut self) -> Step {
        self.state = State::Rereading;
        Next::ask(Purpose::Reread, self.get_claim())
    }

    pub(super) fn on_reread(&mut self, answer: Answer) -> Step {
        match self.still_own(answer) {
            Ok(claim) => {
                self.claim = Some(claim);
                self.blocks.clear();
                self.go_on()
            }
            Err(lost) => *lost,
        }
    }

    /// The claim, if this process owns it; otherwise the way to the end.
    pub(super) fn still_own(&mut self, answer: Answer) -> Result<Claim, Box<Step>> {
        match answer.claim() {
            Some(claim) if claim.metadata.uid == self.own_uid() => {
                if claim.spec.attempt == self.attempt {
                    return Ok(claim);
                }
                // The other process answers these very bits, so they must stay.
                let attachment = self.ask.attachment.clone();
                Err(Box::new(Next::Done(Err(Failure::Overtaken(attachment)))))
            }
            Some(_) | None => Err(Box::new(self.clear(After::Lost))),
        }
    }

    /// Deletes the claim, so that nobody sets or keeps bits for it.
    pub(super) fn give_up(&mut self, after: After) -> Step {
        let write = delete(&self.own_claim().metadata);
        let next = Next::write(Purpose::GiveUp, &write);
        self.state = State::GivingUp(write, after, Settled::Always);
        next
    }

    pub(super) fn on_given_up(
        &mut self,
        write: Write,
        after: After,
        settled: Settled,
        answer: &Answer,
    ) -> Step {
        match answer {
            Answer::Done(_) => self.clear(after),
            Answer::Gone => match (settled, after) {
                (Settled::NotBefore, end @ (After::Short(_) | After::Undecided)) => self.clear(end),
                // A DEL has perhaps deleted it. Another claim would come after that DEL.
                _ => self.clear(After::Lost),
            },
            Answer::Unknown => {
                let next = Next::again(Purpose::GiveUp, &write);
                self.state = State::GivingUp(write, after, Settled::NotBefore);
                next
            }
            _ => self.reread(),
        }
    }

    /// Clears the bits of the claim, which is gone.
    fn clear(&mut self, after: After) -> Step {
        let known = std::mem::take(&mut self.blocks).into_iter();
        let known = known.filter_map(|(name, known)| Some((name, known.block?)));
        let mut clear = Clear::new(self.own_claim(), known.collect());
        if let Some(old) = &self.old {
            clear = clear.and(&old.claim);
        }
        let next = clear.begin();
        self.state = State::Clearing(clear, after.clone());
        inner!(next);
        self.end(after)
    }

    pub(super) fn on_cleared(&mut self, mut clear: Clear, after: After, answer: Answer) -> Step {
        let next = clear.on(answer);
        let has_cleared_left = clear.has_cleared_left();
        self.state = State::Clearing(clear, after.clone());
        inner!(next);
        match after {
            // The bit was none of another claim, so the range was perhaps never full.
            After::Short(_) if has_cleared_left => self.end(After::Restart),
            after => self.end(after),
        }
    }

    fn end(&mut self, after: After) -> Step {
        match after {
            After::Lost => {
                let attachment = self.ask.attachment.clone();
                Next::Done(Err(Failure::ClaimLost(attachment)))
            }
            After::Short(shortage) => Next::Done(Ok(Taken::Short(shortage))),
            After::Undecided => Next::Done(Err(Failure::Undecided(self.sweeps as usize))),
            After::Restart => {
                self.claim = None;
                self.existed = false;
                self.old = None;
                self.adopted = None;
                self.places.clear();
                self.search(0)
            }
        }
    }
}

pub(super) fn of_another(claim: Claim) -> Corrupt {
    Corrupt {
        key: claim.metadata.name,
        reason: "it is the claim of another attachment".to_owned(),
    }
}

fn delete(metadata: &crate::object::Metadata) -> Write {
    Write::Delete {
        kind: Kind::Claim,
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
    }
}
