//! The protocol as machines without I/O: each is given an answer, and tells the next request.
//!
//! ```text
//! take       ADD: claim first, bits later, and one more look at the claim
//! release    DEL: the claim first, its bits later
//!   search     the block in which a search has to begin or to go on
//!   sweep      dead bits of a range are cleared, before it is called full
//!   clear      bits of a claim that is gone are cleared
//!     blocks     what a block says, and how a write changes it; pure
//!     wanted     wants as intervals, blocks and windows; pure
//! ```
//!
//! `docs/PROTOCOL-KUBERNETES.md` has the argument for each rule.

pub(crate) mod blocks;
mod clear;
mod release;
mod search;
mod sweep;
mod take;
pub(crate) mod wanted;

pub use release::Release;
pub use search::{FoundBlock, Listed, Mode, Search, SearchEnd};
pub(crate) use sweep::{BLOCKS as BLOCKS_PER_SWEEP, Sweep};
pub use take::Take;

use crate::api::{ListQuery, Page, Write};
use crate::object::{Block, Claim, Kind, Metadata, Object};

/// One request to the API server.
#[allow(
    clippy::large_enum_variant,
    reason = "most requests of a machine are writes"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// The object of a name.
    Get(Kind, String),
    /// A page of objects.
    List(ListQuery),
    /// A page of the metadata of objects.
    ListMetadata(ListQuery),
    /// A write of one object.
    Write(Write),
}

/// The answer to a request that was answered, or whose reply was lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The object of a name, or its absence.
    Got(Option<Object>),
    /// A page of objects.
    Listed(Page<Object>),
    /// A page of metadata.
    Names(Page<Metadata>),
    /// The list must begin anew.
    Expired,
    /// The write was carried out; the object as it is stored now.
    Done(Option<Object>),
    /// Not carried out: an object of this name exists.
    Exists,
    /// Not carried out: the object has another UID or version.
    Changed,
    /// Not carried out: there is no object of this name.
    Gone,
    /// The write was perhaps carried out, or will be.
    Unknown,
}

/// The reason for a request. Spans tell it, and planted bugs find their place by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// The claims of the own pod: the first read of an ADD.
    OfPod,
    /// A block of an old container's claim.
    OldBlock,
    /// The first open blocks of a range.
    FirstOpen,
    /// The names of all blocks of a range.
    Names,
    /// All open blocks of a range.
    AllOpen,
    /// The claim is created.
    Create,
    /// The claim of the same attachment, which exists.
    Existing,
    /// A block of a durable claim that another attachment has, or none.
    KeptBlock,
    /// A durable claim gets another attachment.
    Adopt,
    /// A block of the own claim, which is of other ranges.
    OtherBlock,
    /// The own attempt is written into a claim that exists.
    Attempt,
    /// The claim of the old container is deleted.
    DeleteOld,
    /// The current block of a want.
    Current,
    /// The claims that wait for bits of a block.
    Waiting,
    /// Bits are set.
    Give,
    /// A block that has become full is marked so.
    MarkFull,
    /// The claim gets another current block.
    Move,
    /// The last look at the claim.
    Confirm,
    /// The claim, after a write of it was refused.
    Reread,
    /// The own claim is deleted.
    GiveUp,
    /// A block that may have bits of a claim that is gone.
    ClearRead,
    /// Bits of a claim that is gone are cleared.
    ClearWrite,
    /// A block of a range that is to be proved full.
    ProofRead,
    /// A block that may have dead bits.
    SweepRead,
    /// The claims whose label says that this is their current block.
    SweepClaims,
    /// The claim of a bit that may be dead.
    SweepClaim,
    /// Dead bits are cleared.
    SweepWrite,
    /// A claim is deleted by a DEL.
    Delete,
    /// The attachment of a durable claim ends by a DEL, and its addresses stay.
    Rest,
    /// The claim that a DEL has not deleted.
    DeleteReread,
}

/// The pause before a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pause {
    /// None.
    No,
    /// Another process wrote the same block. Perhaps it has set the own bit too. The number counts such writes.
    Contended(u32),
    /// The outcome of the same request is unknown.
    Again,
}

/// A request, its reason, and the pause before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The request.
    pub request: Request,
    /// The reason.
    pub purpose: Purpose,
    /// The pause.
    pub pause: Pause,
}

/// The next step of a machine, or its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Next<T> {
    /// A request. Its answer is the next input.
    Ask(Box<Step>),
    /// The end.
    Done(T),
}

impl<T> Next<T> {
    pub(crate) fn ask(purpose: Purpose, request: Request) -> Self {
        Self::after(Pause::No, purpose, request)
    }

    fn after(pause: Pause, purpose: Purpose, request: Request) -> Self {
        Self::Ask(Box::new(Step {
            request,
            purpose,
            pause,
        }))
    }

    fn get_block(purpose: Purpose, name: &str) -> Self {
        Self::ask(purpose, Request::Get(Kind::Block, name.to_owned()))
    }

    fn write(purpose: Purpose, write: &Write) -> Self {
        Self::ask(purpose, Request::Write(write.clone()))
    }

    fn again(purpose: Purpose, write: &Write) -> Self {
        Self::after(Pause::Again, purpose, Request::Write(write.clone()))
    }
}

/// A part of the protocol, without I/O.
pub trait Machine {
    /// The end.
    type End;

    /// The first step.
    fn begin(&mut self) -> Next<Self::End>;

    /// The next step after the answer to the last one.
    fn on(&mut self, answer: Answer) -> Next<Self::End>;
}

/// Lets a machine inside another one ask, or goes on with its end.
macro_rules! inner {
    ($next:expr) => {
        match $next {
            Next::Ask(step) => return Next::Ask(step),
            Next::Done(end) => end,
        }
    };
}
use inner;

impl Answer {
    fn block(self) -> Option<Block> {
        match self {
            Self::Got(Some(Object::Block(block))) => Some(block),
            Self::Got(None) => None,
            other => mismatch(&other),
        }
    }

    fn claim(self) -> Option<Claim> {
        match self {
            Self::Got(Some(Object::Claim(claim))) => Some(claim),
            Self::Got(None) => None,
            other => mismatch(&other),
        }
    }

    /// A page of a list; `None` if the list has expired.
    fn listed(self) -> Option<Page<Object>> {
        match self {
            Self::Listed(page) => Some(page),
            Self::Expired => None,
            other => mismatch(&other),
        }
    }

    /// The same of a list of metadata.
    fn names(self) -> Option<Page<Metadata>> {
        match self {
            Self::Names(page) => Some(page),
            Self::Expired => None,
            other => mismatch(&other),
        }
    }
}

/// The driver gives each machine the answers to its own requests.
fn mismatch(answer: &Answer) -> ! {
    unreachable!("an answer that does not fit its request: {answer:?}")
}

/// The pages of one list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pages<T> {
    query: ListQuery,
    items: Vec<T>,
}

impl<T> Pages<T> {
    fn new(query: ListQuery) -> Self {
        Self {
            query,
            items: Vec::new(),
        }
    }

    /// The items once the list is complete; `None` while it is not. Without a page the list has expired, and begins anew.
    fn take(&mut self, page: Option<Page<impl Into<T>>>) -> Option<Vec<T>> {
        let Some(page) = page else {
            self.query.continued = None;
            self.items.clear();
            return None;
        };
        self.items.extend(page.items.into_iter().map(Into::into));
        self.query.continued = page.continued;
        let is_complete = self.query.continued.is_none();
        is_complete.then(|| std::mem::take(&mut self.items))
    }
}

impl From<Object> for Block {
    fn from(object: Object) -> Self {
        match object {
            Object::Block(block) => block,
            Object::Claim(claim) => unreachable!("a list of blocks has {claim:?}"),
        }
    }
}

impl From<Object> for Claim {
    fn from(object: Object) -> Self {
        match object {
            Object::Claim(claim) => claim,
            Object::Block(block) => unreachable!("a list of claims has {block:?}"),
        }
    }
}
