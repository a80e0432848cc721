//! DEL: the claim is deleted under the version that was read, and then its bits are cleared.
//!
//! A durable claim rests instead, with its bits: one write ends its attachment. A durable claim that waits for a bit was
//! never answered. It goes like any other one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clear::Clear;
use super::{Answer, Machine, Next, Purpose, Request, inner};
use crate::api::Write;
use crate::convert;
use crate::object::{Block, Claim, Kind, Object};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Reading(String),
    Resting(Box<Write>),
    Deleting,
    Rereading,
    Clearing(Clear),
}

/// The release of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    claim: Claim,
    attempt: String,
    now: Duration,
    known: BTreeMap<String, Block>,
    state: State,
}

impl Release {
    /// The release of `claim` as it was read by the process `attempt`, at `now` (from the Unix epoch). Its blocks were
    /// perhaps read, too.
    pub fn new(
        claim: Claim,
        known: BTreeMap<String, Block>,
        attempt: String,
        now: Duration,
    ) -> Self {
        Self {
            claim,
            attempt,
            now,
            known,
            state: State::Deleting,
        }
    }

    /// Reads the blocks of a durable claim, and lets it rest if it has all of its addresses.
    fn rest(&mut self) -> Next<Option<Claim>> {
        let mut wants = self.claim.spec.wants.iter();
        if let Some(unread) = wants.find(|want| !self.known.contains_key(&want.current)) {
            let name = unread.current.clone();
            let next = Next::get_block(Purpose::KeptBlock, &name);
            self.state = State::Reading(name);
            return next;
        }
        let read = convert::claim(&self.claim, &self.known);
        if !read.is_ok_and(|read| read.is_complete) {
            return self.delete();
        }
        let mut resting = self.claim.clone();
        resting.rest(&self.attempt, self.now);
        let write = Write::Replace(Object::Claim(resting));
        let next = Next::write(Purpose::Rest, &write);
        self.state = State::Resting(Box::new(write));
        next
    }

    fn delete(&mut self) -> Next<Option<Claim>> {
        self.state = State::Deleting;
        Next::write(Purpose::Delete, &self.write())
    }

    fn reread(&mut self) -> Next<Option<Claim>> {
        self.state = State::Rereading;
        let name = self.claim.metadata.name.clone();
        Next::ask(Purpose::DeleteReread, Request::Get(Kind::Claim, name))
    }

    /// The end, after the claim was found changed.
    fn changed(&self, claim: Claim) -> Option<Claim> {
        let before = &self.claim.spec;
        let is_same = claim.is_resting() == self.claim.is_resting()
            && claim.spec.container == before.container;
        // The addresses of a claim at rest were to become free. Otherwise the attachment has ended, whoever has ended it.
        (is_same || self.claim.is_resting()).then_some(claim)
    }

    fn write(&self) -> Write {
        let metadata = &self.claim.metadata;
        Write::Delete {
            kind: Kind::Claim,
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
        }
    }

    fn clear(&mut self) -> Next<Option<Claim>> {
        let known = std::mem::take(&mut self.known);
        let mut clear = Clear::new(&self.claim, known);
        let next = clear.begin();
        self.state = State::Clearing(clear);
        inner!(next);
        Next::Done(None)
    }
}

impl Machine for Release {
    /// The claim that exists instead, if the claim has changed.
    type End = Option<Claim>;

    fn begin(&mut self) -> Next<Option<Claim>> {
        if self.claim.spec.durable && !self.claim.is_resting() {
            self.rest()
        } else {
            self.delete()
        }
    }

    fn on(&mut self, answer: Answer) -> Next<Option<Claim>> {
        match &mut self.state {
            State::Reading(name) => match answer.block() {
                Some(block) => {
                    self.known.insert(std::mem::take(name), block);
                    self.rest()
                }
                None => self.delete(),
            },
            State::Resting(write) => match answer {
                Answer::Done(_) => Next::Done(None),
                Answer::Unknown => Next::again(Purpose::Rest, write),
                _ => self.reread(),
            },
            State::Deleting => match answer {
                Answer::Done(_) | Answer::Gone => self.clear(),
                Answer::Unknown => Next::again(Purpose::Delete, &self.write()),
                _ => self.reread(),
            },
            State::Rereading => match answer.claim() {
                Some(claim) if claim.metadata.uid == self.claim.metadata.uid => {
                    Next::Done(self.changed(claim))
                }
                // A claim with another UID is of a later ADD: an earlier send of this DELETE was carried out.
                Some(_) | None => self.clear(),
            },
            State::Clearing(clear) => {
                inner!(clear.on(answer));
                Next::Done(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{ClaimOwner, ClaimSpec, Metadata};

    fn claim(uid: &str) -> Claim {
        Claim {
            metadata: Metadata {
                name: "c".to_owned(),
                uid: uid.to_owned(),
                resource_version: "1".to_owned(),
                ..Metadata::default()
            },
            spec: ClaimSpec {
                network: "net".to_owned(),
                container: "c".to_owned(),
                interface: "eth0".to_owned(),
                attempt: "a".to_owned(),
                added_ms: 0,
                wants: Vec::new(),
                owner: ClaimOwner::default(),
                durable: false,
                resting_since_ms: None,
            },
        }
    }

    #[test]
    fn a_claim_of_a_later_add_is_none_of_a_dels() {
        for (found, expected) in [
            (Some(claim("1")), Some(claim("1"))),
            (Some(claim("2")), None),
            (None, None),
        ] {
            let mut release =
                Release::new(claim("1"), BTreeMap::new(), "a".to_owned(), Duration::ZERO);
            assert!(matches!(release.begin(), Next::Ask(_)));
            assert!(matches!(release.on(Answer::Unknown), Next::Ask(_)));
            assert!(matches!(release.on(Answer::Changed), Next::Ask(_)));
            let next = release.on(Answer::Got(found.map(Object::Claim)));
            assert_eq!(next, Next::Done(expected));
        }
    }
}
