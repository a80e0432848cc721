//! DEL: the claim is deleted under the version that was read, and then its bits are cleared.

use std::collections::BTreeMap;

use super::clear::Clear;
use super::{Answer, Machine, Next, Purpose, Request, inner};
use crate::api::Write;
use crate::object::{Block, Claim, Kind};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Deleting,
    Rereading,
    Clearing(Clear),
}

/// The release of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    claim: Claim,
    known: BTreeMap<String, Block>,
    state: State,
}

impl Release {
    /// The release of `claim` as it was read, whose blocks were perhaps read, too.
    pub fn new(claim: Claim, known: BTreeMap<String, Block>) -> Self {
        Self {
            claim,
            known,
            state: State::Deleting,
        }
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
        let blocks = self.claim.all_blocks();
        let mut clear = Clear::new(&self.claim.metadata.uid, blocks, known);
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
        Next::write(Purpose::Delete, &self.write())
    }

    fn on(&mut self, answer: Answer) -> Next<Option<Claim>> {
        match &mut self.state {
            State::Deleting => match answer {
                Answer::Done(_) | Answer::Gone => self.clear(),
                Answer::Unknown => Next::again(Purpose::Delete, &self.write()),
                _ => {
                    self.state = State::Rereading;
                    let name = self.claim.metadata.name.clone();
                    Next::ask(Purpose::DeleteReread, Request::Get(Kind::Claim, name))
                }
            },
            State::Rereading => match answer.claim() {
                Some(claim) => Next::Done(Some(claim)),
                None => self.clear(),
            },
            State::Clearing(clear) => {
                inner!(clear.on(answer));
                Next::Done(None)
            }
        }
    }
}
