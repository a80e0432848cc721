//! The values of the store and their format version.
//!
//! Each value is one byte of format version and a body. The body of a block is its bitmap, that of a cluster its text. The
//! body of a claim, a lock, a ticket or a network is postcard, a compact and documented format for serde. Its types are the twins
//! below, which nothing outside this folder sees. A ticket begins with its attachment, in every version. It ends with the
//! trace context of its request, if the request is traced. A value that does not decode is an error with the reason, and
//! is never overwritten on the way. A decoded value has been checked to make sense.

mod twin;

#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::twin::{
    AttachmentTwin, ClaimTwin, DurableTwin, LockTwin, StatedTwin, TicketTwin, all, holding,
    usable_of,
};
use super::keys::{QueuedVerb, Seat, TicketId};
use crate::trace_context::TraceContext;
use whereabouts_core::address::Bitmap;
use whereabouts_core::allocator::{Demand, Shortage};
use whereabouts_core::claim::{Attachment, Claim, Owner};
use whereabouts_core::durable::OwnerState;
use whereabouts_core::identity::Identity;
use whereabouts_core::limits;
use whereabouts_core::network::StatedRange;

/// The format this version writes, and the only one it reads.
const FORMAT: u8 = 1;

/// The process that holds the lock of a range, or is offered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// That process.
    pub sender: Sender,
    /// For which attachment it works.
    pub attachment: Attachment,
    /// The verb of its own request.
    pub verb: QueuedVerb,
}

impl Lock {
    /// The lock of the process `sender`, which has `demand`.
    pub fn of(sender: Sender, demand: &Demand) -> Self {
        Self {
            sender,
            attachment: demand.attachment().clone(),
            verb: QueuedVerb::of(demand),
        }
    }
}

/// The name of one process: a number that it draws. A lock and a ticket name their owner by it, so "is it mine?" is
/// one comparison.
pub type Sender = u64;

/// The text of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// A demand that waits.
    Asks {
        /// The process that waits.
        sender: Sender,
        /// Its demand.
        demand: Demand,
        /// The span that waits, if the request is traced.
        trace: Option<TraceContext>,
    },
    /// The holder's answer to an ADD that cannot be served.
    Refused {
        /// The process that waits.
        sender: Sender,
        /// On which node, if that is known.
        node: Option<String>,
        /// Why.
        shortage: Shortage,
    },
}

impl Ticket {
    /// The span that waits, if the request is traced. An answer is its waiter's, and belongs to no
    /// other span.
    pub fn trace(&self) -> Option<TraceContext> {
        match self {
            Self::Asks { trace, .. } => *trace,
            Self::Refused { .. } => None,
        }
    }

    /// The process that put it.
    pub fn sender(&self) -> Sender {
        match self {
            Self::Asks { sender, .. } | Self::Refused { sender, .. } => *sender,
        }
    }
}

/// Why a value is not one that this version can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No bytes at all.
    #[error("it is empty")]
    Empty,
    /// Another format version.
    #[error("it has format version {0}, this program reads {FORMAT}")]
    Version(u8),
    /// The body is truncated, too long, or makes no sense.
    #[error("{0}")]
    Garbage(String),
}

fn garbage(reason: &dyn fmt::Display) -> RecordError {
    RecordError::Garbage(reason.to_string())
}

/// The value of an open block.
pub fn encode_block(bitmap: &Bitmap) -> Vec<u8> {
    let mut value = vec![FORMAT];
    value.extend_from_slice(&bitmap.to_bytes());
    value
}

/// The inverse of [`encode_block`].
pub fn decode_block(value: &[u8]) -> Result<Bitmap, RecordError> {
    let body = body(value)?;
    let bytes = body.try_into().map_err(|_| {
        garbage(&format!(
            "a bitmap has 32 bytes, this one has {}",
            body.len()
        ))
    })?;
    Ok(Bitmap::from_bytes(bytes))
}

/// The value of a full block: that it is full says which bits are set.
pub fn encode_full() -> Vec<u8> {
    vec![FORMAT]
}

/// The inverse of [`encode_full`].
pub fn decode_full(value: &[u8]) -> Result<(), RecordError> {
    match body(value)? {
        [] => Ok(()),
        rest => Err(too_long(rest)),
    }
}

/// The last byte of a durable claim. Another claim ends before it, so programs that know no durable owners cannot read
/// a durable claim, and never free its addresses.
const DURABLE: u8 = 1;

/// The value of a claim.
pub fn encode_claim(claim: &Claim) -> Vec<u8> {
    let mut value = encode(&ClaimTwin::of(claim));
    value.extend(claim.owner.is_durable.then_some(DURABLE));
    value
}

/// The inverse of [`encode_claim`].
pub fn decode_claim(value: &[u8]) -> Result<Claim, RecordError> {
    let (twin, rest) = take::<ClaimTwin>(body(value)?)?;
    let is_durable = match rest {
        [] => false,
        [DURABLE] => true,
        rest => return Err(too_long(rest)),
    };
    let owner = Owner {
        is_durable,
        ..twin.owner.into()
    };
    let is_named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    if is_durable && !(is_named(&owner.pod_namespace) && is_named(&owner.pod_name)) {
        return Err(garbage(&"it is durable, and names no pod"));
    }
    let held = holding(twin.held)?;
    Ok(Claim {
        usable: usable_of(&held, twin.usable)?,
        held,
        owner,
        created: Duration::from_millis(twin.created_ms),
    })
}

/// The value of a durable owner.
pub fn encode_owner(state: &OwnerState) -> Vec<u8> {
    encode(&DurableTwin::from(state))
}

/// The inverse of [`encode_owner`].
pub fn decode_owner(value: &[u8]) -> Result<OwnerState, RecordError> {
    decode::<DurableTwin>(value)?.try_into()
}

/// The value of a network's key.
pub fn encode_network(stated: &[StatedRange]) -> Vec<u8> {
    let twins: Vec<StatedTwin> = stated.iter().map(StatedTwin::from).collect();
    encode(&twins)
}

/// The inverse of [`encode_network`].
pub fn decode_network(value: &[u8]) -> Result<Vec<StatedRange>, RecordError> {
    if value.len() > limits::NETWORK_BYTES {
        return Err(garbage(&format!(
            "it has {} bytes, of at most {}",
            value.len(),
            limits::NETWORK_BYTES
        )));
    }
    let stated = all(decode::<Vec<StatedTwin>>(value)?, StatedRange::try_from)?;
    if stated.is_empty() {
        return Err(garbage(&"it states no range"));
    }
    Ok(stated)
}

/// The value of a claim's entry by its node: its key says all.
pub fn encode_on_node() -> Vec<u8> {
    vec![FORMAT]
}

/// The inverse of [`encode_on_node`].
pub fn decode_on_node(value: &[u8]) -> Result<(), RecordError> {
    decode_full(value)
}

/// The value of the key that says whose the store is: its text.
pub fn encode_cluster(identity: &Identity) -> Vec<u8> {
    [&[FORMAT], identity.as_str().as_bytes()].concat()
}

/// The inverse of [`encode_cluster`].
pub fn decode_cluster(value: &[u8]) -> Result<Identity, RecordError> {
    let text = std::str::from_utf8(body(value)?).map_err(|error| garbage(&error))?;
    Identity::new(text).map_err(|reason| garbage(&format!("it {reason}")))
}

/// The value of a lock.
pub fn encode_lock(lock: &Lock) -> Vec<u8> {
    encode(&LockTwin::from(lock))
}

/// The inverse of [`encode_lock`].
pub fn decode_lock(value: &[u8]) -> Result<Lock, RecordError> {
    decode::<LockTwin>(value)?.try_into()
}

/// The value of the ticket of an attachment.
pub fn encode_ticket(whose: &Attachment, ticket: &Ticket) -> Vec<u8> {
    let mut value = encode(&(AttachmentTwin::from(whose), TicketTwin::from(ticket)));
    value.extend(ticket.trace().iter().flat_map(TraceContext::to_bytes));
    value
}

/// The inverse of [`encode_ticket`], for a ticket at `seat`: whose it is, and what it says.
pub fn decode_ticket(seat: &Seat, value: &[u8]) -> Result<(TicketId, Ticket), RecordError> {
    let ((whose, twin), rest) = take::<(AttachmentTwin, TicketTwin)>(body(value)?)?;
    let attachment = Attachment::try_from(whose)?;
    let ticket = with_trace(&attachment, twin, rest)?;
    let id = TicketId {
        queue: seat.queue.clone(),
        attachment,
        verb: seat.verb,
    };
    if id.seats().contains(seat) {
        Ok((id, ticket))
    } else {
        Err(garbage(&"it is at a seat of others"))
    }
}

/// Whose a ticket is, of whatever version.
pub fn decode_whose_ticket(value: &[u8]) -> Result<Attachment, RecordError> {
    let (_, body) = value.split_first().ok_or(RecordError::Empty)?;
    let (whose, _) = take::<AttachmentTwin>(body)?;
    whose.try_into()
}

fn with_trace(whose: &Attachment, twin: TicketTwin, rest: &[u8]) -> Result<Ticket, RecordError> {
    let trace = match <&[u8; TraceContext::BYTES]>::try_from(rest) {
        Ok(bytes) => {
            let context = TraceContext::from_bytes(bytes);
            Some(context.ok_or_else(|| garbage(&"its trace has no id"))?)
        }
        Err(_) if rest.is_empty() => None,
        Err(_) => return Err(too_long(rest)),
    };
    match (twin.into_ticket(whose, trace)?, rest) {
        (Ticket::Refused { .. }, [_, ..]) => Err(too_long(rest)),
        (ticket, _) => Ok(ticket),
    }
}

fn body(value: &[u8]) -> Result<&[u8], RecordError> {
    match value.split_first() {
        None => Err(RecordError::Empty),
        Some((&FORMAT, body)) => Ok(body),
        Some((&other, _)) => Err(RecordError::Version(other)),
    }
}

fn encode<T: Serialize>(twin: &T) -> Vec<u8> {
    postcard::to_extend(twin, vec![FORMAT]).expect("a vector takes any number of bytes")
}

fn decode<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, RecordError> {
    match take(body(value)?)? {
        (twin, []) => Ok(twin),
        (_, rest) => Err(too_long(rest)),
    }
}

/// A twin, and the bytes after it.
fn take<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<(T, &'a [u8]), RecordError> {
    postcard::take_from_bytes(body).map_err(|error| garbage(&error))
}

fn too_long(rest: &[u8]) -> RecordError {
    garbage(&format!("it has {} bytes too many", rest.len()))
}
