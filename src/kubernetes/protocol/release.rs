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
                Some(claim) if claim.metadata.uid == self.claim.metadata.uid => {
                    Next::Done(Some(claim))
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
    use crate::object::{ClaimOwner, ClaimSpec, Metadata, Object};

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
            let mut release = Release::new(claim("1"), BTreeMap::new());
            assert!(matches!(release.begin(), Next::Ask(_)));
            assert!(matches!(release.on(Answer::Unknown), Next::Ask(_)));
            assert!(matches!(release.on(Answer::Changed), Next::Ask(_)));
            let next = release.on(Answer::Got(found.map(Object::Claim)));
            assert_eq!(next, Next::Done(expected));
        }
    }
}
