//! Bits of a claim that is gone are cleared, block by block.
//!
//! The claim was read as absent, or its deletion was acknowledged, before the first request. So no bit of its UID can
//! count any more, and any process may clear it.

use std::collections::{BTreeMap, VecDeque};

use super::{Answer, Next, Pause, Purpose, Request};
use crate::object::{Block, Claim, Kind, Object, TakenBit};

/// Writes of one block before the bits are left to others.
const TRIES: u32 = 8;

/// Bits of one claim that are being cleared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Clear {
    uid: String,
    /// The UID of an old container's claim that is gone, too.
    old: Option<String>,
    /// The current block of each want.
    currents: Vec<String>,
    /// Whether a bit was cleared in a block that its want had left.
    has_cleared_left: bool,
    blocks: VecDeque<String>,
    /// Blocks as they were read before.
    known: BTreeMap<String, Block>,
    tries: u32,
    is_writing: bool,
}

impl Clear {
    /// Clears the bits of `claim`, some of whose blocks were read before.
    pub(crate) fn new(claim: &Claim, known: BTreeMap<String, Block>) -> Self {
        let wants = claim.spec.wants.iter();
        Self {
            uid: claim.metadata.uid.clone(),
            old: None,
            currents: wants.map(|want| want.current.clone()).collect(),
            has_cleared_left: false,
            blocks: claim.all_blocks().into(),
            known,
            tries: 0,
            is_writing: false,
        }
    }

    /// The same, with the bits of `old`.
    #[must_use]
    pub(crate) fn and(mut self, old: &Claim) -> Self {
        let further = old.all_blocks().into_iter();
        let further: Vec<_> = further.filter(|name| !self.blocks.contains(name)).collect();
        self.blocks.extend(further);
        self.old = Some(old.metadata.uid.clone());
        self
    }

    fn is_own(&self, taken: &TakenBit) -> bool {
        taken.uid == self.uid || self.old.as_ref() == Some(&taken.uid)
    }

    /// Whether another process had set a bit in a block that its want had left.
    pub(crate) fn has_cleared_left(&self) -> bool {
        self.has_cleared_left
    }

    pub(crate) fn begin(&mut self) -> Next<()> {
        self.tries = 0;
        self.next_block(Pause::No)
    }

    pub(crate) fn on(&mut self, answer: Answer) -> Next<()> {
        if !std::mem::take(&mut self.is_writing) {
            return match answer.block() {
                Some(block) => self.write(&block),
                None => self.skip(),
            };
        }
        match answer {
            // Another process has perhaps given a bit to another want of the claim since the read.
            Answer::Done(Some(Object::Block(block))) if self.tries < TRIES => self.write(&block),
            Answer::Done(_) | Answer::Gone => self.skip(),
            _ if self.tries >= TRIES => self.skip(),
            // After an unknown outcome, the read tells whether the bits are clear.
            _ => self.next_block(Pause::Contended(self.tries)),
        }
    }

    fn skip(&mut self) -> Next<()> {
        self.blocks.pop_front();
        self.tries = 0;
        self.next_block(Pause::No)
    }

    fn next_block(&mut self, pause: Pause) -> Next<()> {
        let Some(name) = self.blocks.front().cloned() else {
            return Next::Done(());
        };
        match self.known.remove(&name) {
            Some(block) if block.spec.taken.iter().any(|taken| self.is_own(taken)) => {
                self.write(&block)
            }
            Some(_) | None => {
                let get = Request::Get(Kind::Block, name);
                Next::after(pause, Purpose::ClearRead, get)
            }
        }
    }

    fn write(&mut self, block: &Block) -> Next<()> {
        let uid = &self.uid;
        let name = &block.metadata.name;
        let is_left = |taken: &TakenBit| {
            taken.uid == *uid && self.currents.get(usize::from(taken.want)) != Some(name)
        };
        self.has_cleared_left |= block.spec.taken.iter().any(is_left);
        let Some(clear) = block.clear(|taken| self.is_own(taken)) else {
            return self.skip();
        };
        self.tries += 1;
        self.is_writing = true;
        Next::write(Purpose::ClearWrite, &clear)
    }
}
