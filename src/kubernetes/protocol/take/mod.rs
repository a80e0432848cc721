//! ADD: the claim is written first, then the bits of its blocks, and then the claim is looked at once more.
//!
//! ```text
//! begin     claims of the own pod, and the block of each want
//! own       the claim: created, or taken over with the own attempt
//! durable   the claim that a pod's name keeps, which gets another attachment
//! give      bits of the current blocks, also for other claims that wait for them
//! full      a current block without a free bit: move, sweep, start anew, or give up
//! confirm   the last look, and the answer
//! ```

mod begin;
mod confirm;
mod durable;
mod full;
mod give;
mod own;

use std::collections::BTreeMap;
use std::time::Duration;

use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Ask, Attachment, Held};
use whereabouts_core::failure::Failure;
use whereabouts_core::registry::Taken;

use super::clear::Clear;
use super::search::{FoundBlock, Search};
use super::sweep::Sweep;
use super::{Answer, Machine, Next, Pages};
use crate::api::Write;
use crate::names;
use crate::object::{Block, Claim};

type Step = Next<Result<Taken, Failure>>;

/// What follows once the own claim is gone and its bits are clear.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum After {
    /// Another claim, as only blocks that this one has left have space.
    Restart,
    /// The answer that a range is full, or an address taken.
    Short(Shortage),
    /// The error that others wrote the blocks of a range at each look.
    Undecided,
    /// The error that another process deleted the claim.
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    OfPod(Pages<Claim>),
    OldBlocks(Old, Vec<Claim>),
    Search(usize, Search),
    Creating(Write),
    Ordinary,
    Existing,
    KeptBlocks(Claim, BTreeMap<String, Block>),
    Adopting(Write),
    OtherBlocks(Claim, BTreeMap<String, Block>),
    Attempting(Write),
    DeletingOld(Write),
    Reading(String),
    Waiting(usize, Block, Pages<Claim>),
    Giving(String),
    SearchAll(usize, Search),
    Sweep(usize, Sweep),
    Moving(Write),
    Marking,
    Confirming,
    Rereading,
    GivingUp(Write, After, Settled),
    Clearing(Clear, After),
    ClearingOld(Clear),
}

/// Whether an outcome of the same write was unknown before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Settled {
    Always,
    NotBefore,
}

/// A claim of an old container of the same pod, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Old {
    claim: Claim,
    attachment: Attachment,
    blocks: BTreeMap<String, Option<Block>>,
    held: Vec<Held>,
}

/// The last holder of a durable claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Adopted {
    /// Nobody: the claim was at rest.
    Rest,
    /// The old container of the same pod, with these addresses.
    Old(Attachment, Vec<Held>),
}

/// A block as this process knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    /// The block; `None` if it was absent.
    block: Option<Block>,
    /// Whether it was read after the claim was acknowledged. Only such a block tells that it has no space.
    is_read: bool,
}

/// The ADD of one attachment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Take {
    ask: Ask,
    attempt: String,
    now: Duration,
    state: State,
    /// Whether the first answer came so late that it does not tell which container is the newer one.
    is_late: bool,
    old: Option<Old>,
    /// The blocks that searches found, by want.
    places: BTreeMap<usize, FoundBlock>,
    blocks: BTreeMap<String, Known>,
    /// The claim as it was last read or acknowledged.
    claim: Option<Claim>,
    /// Whether the claim existed before.
    existed: bool,
    /// The name of the claim.
    name: String,
    /// Claims of old containers of the pod, as the first read shows them: ordinary ones that were not looked at yet, and
    /// durable ones.
    olds: Vec<Claim>,
    kept_olds: Vec<Claim>,
    /// The last holder of the durable claim, which this attachment has got.
    adopted: Option<Adopted>,
    /// Bits of the old container in the block that is written next.
    inherited: usize,
    /// Writes of others in the way of own ones.
    contended: u32,
    /// Sweeps that proved nothing.
    sweeps: u32,
    restarts: u32,
}

impl Take {
    /// The ADD for `ask` by the process `attempt`, at `now` (from the Unix epoch).
    pub fn new(ask: Ask, attempt: String, now: Duration) -> Self {
        Self {
            name: names::stored_claim(&ask.attachment, &ask.owner),
            olds: Vec::new(),
            kept_olds: Vec::new(),
            adopted: None,
            ask,
            attempt,
            now,
            state: State::Existing,
            is_late: false,
            old: None,
            places: BTreeMap::new(),
            blocks: BTreeMap::new(),
            claim: None,
            existed: false,
            inherited: 0,
            contended: 0,
            sweeps: 0,
            restarts: 0,
        }
    }

    /// Notes that the first answer came late: what it shows may be of a newer container of the pod.
    pub fn note_late(&mut self) {
        self.is_late = true;
    }

    fn own_claim(&self) -> &Claim {
        self.claim.as_ref().expect("the claim was acknowledged")
    }

    fn own_uid(&self) -> &str {
        &self.own_claim().metadata.uid
    }

    /// The name of a want's current block.
    fn current(&self, want: usize) -> &str {
        &self.own_claim().spec.wants[want].current
    }
}

impl Machine for Take {
    type End = Result<Taken, Failure>;

    fn begin(&mut self) -> Step {
        self.first()
    }

    fn on(&mut self, answer: Answer) -> Step {
        let state = std::mem::replace(&mut self.state, State::Existing);
        match state {
            State::OfPod(pages) => self.on_of_pod(pages, answer),
            State::OldBlocks(old, others) => self.on_old_block(old, others, answer),
            State::Search(want, search) => self.on_search(want, search, answer),
            State::Creating(write) => self.on_created(write, answer),
            State::Ordinary => self.on_ordinary(answer),
            State::Existing => self.on_existing(answer),
            State::KeptBlocks(claim, blocks) => self.on_kept_block(claim, blocks, answer),
            State::Adopting(write) => self.on_adopted(write, answer),
            State::OtherBlocks(claim, blocks) => self.on_other_block(claim, blocks, answer),
            State::Attempting(write) => self.on_attempt(write, answer),
            State::DeletingOld(write) => self.on_old_deleted(write, &answer),
            State::Reading(name) => self.on_block(name, answer),
            State::Waiting(want, block, pages) => self.on_waiting(want, block, pages, answer),
            State::Giving(name) => self.on_given(name, answer),
            State::SearchAll(want, search) => self.on_search_all(want, search, answer),
            State::Sweep(want, sweep) => self.on_sweep(want, sweep, answer),
            State::Moving(write) => self.on_moved(write, answer),
            State::Marking => self.confirm(),
            State::Confirming => self.on_confirm(answer),
            State::Rereading => self.on_reread(answer),
            State::GivingUp(write, after, settled) => {
                self.on_given_up(write, after, settled, &answer)
            }
            State::Clearing(clear, after) => self.on_cleared(clear, after, answer),
            State::ClearingOld(clear) => self.on_old_cleared(clear, answer),
        }
    }
}
