//! The values of the store and their format version.
//!
//! Each value is one byte of format version and a body. A block's body is its bitmap; a claim's and
//! a ticket's are postcard (a compact, documented format for serde) of the twins below, which
//! nothing outside this file sees. A value that does not decode is an error that names why; it is
//! never overwritten on the way. What decodes has been checked to make sense.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Revision;
use crate::address::{Address, Bitmap, Interval, Pool};
use crate::claim::{Choice, Claim, Held, Owner, QueueId, Want};
use crate::limits;

/// The format this version writes, and the only one it reads.
const FORMAT: u8 = 1;

/// What a ticket says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// ADD: give addresses.
    Take {
        /// One address for each.
        wants: Vec<Want>,
        /// For whom.
        owner: Owner,
    },
    /// DEL: take back the claim that was last written at `modified`.
    Release {
        /// What that claim holds.
        held: Vec<Held>,
        /// Its modification revision.
        modified: Revision,
    },
    /// The holder's answer to an ADD that cannot be served.
    Refused(Shortage),
}

/// Why an ADD gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// No address of the range is free.
    Exhausted(QueueId),
    /// The requested address is held by another attachment.
    Taken(Held),
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
        rest => Err(garbage(&format!("it has {} bytes too many", rest.len()))),
    }
}

/// The value of a claim.
pub fn encode_claim(claim: &Claim) -> Vec<u8> {
    let twin = ClaimTwin {
        held: claim.held.iter().map(HeldTwin::from).collect(),
        owner: OwnerTwin::from(&claim.owner),
        created_ms: u64::try_from(claim.created.as_millis()).unwrap_or(u64::MAX),
    };
    encode(&twin)
}

/// The inverse of [`encode_claim`].
pub fn decode_claim(value: &[u8]) -> Result<Claim, RecordError> {
    let twin: ClaimTwin = decode(value)?;
    let held = holding(twin.held)?;
    let created = Duration::from_millis(twin.created_ms);
    Ok(Claim {
        held,
        owner: twin.owner.into(),
        created,
    })
}

/// The value of a ticket.
pub fn encode_ticket(ticket: &Ticket) -> Vec<u8> {
    encode(&TicketTwin::from(ticket))
}

/// The inverse of [`encode_ticket`].
pub fn decode_ticket(value: &[u8]) -> Result<Ticket, RecordError> {
    decode::<TicketTwin>(value)?.try_into()
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
    match postcard::take_from_bytes(body(value)?) {
        Ok((twin, [])) => Ok(twin),
        Ok((_, rest)) => Err(garbage(&format!("it has {} bytes too many", rest.len()))),
        Err(error) => Err(garbage(&error)),
    }
}

fn all<A, B>(
    twins: Vec<A>,
    check: impl Fn(A) -> Result<B, RecordError>,
) -> Result<Vec<B>, RecordError> {
    twins.into_iter().map(check).collect()
}

#[derive(Serialize, Deserialize)]
struct ClaimTwin {
    held: Vec<HeldTwin>,
    owner: OwnerTwin,
    created_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct OwnerTwin {
    node: Option<String>,
    pod_namespace: Option<String>,
    pod_name: Option<String>,
    pod_uid: Option<String>,
    netns: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct PoolTwin {
    name: Option<String>,
    own: bool,
}

#[derive(Serialize, Deserialize)]
struct CidrTwin {
    network: AddressTwin,
    length: u8,
}

#[derive(Serialize, Deserialize)]
struct RangeTwin {
    pool: PoolTwin,
    cidr: CidrTwin,
}

#[derive(Serialize, Deserialize)]
struct HeldTwin {
    range: RangeTwin,
    address: AddressTwin,
}

#[derive(Serialize, Deserialize)]
enum AddressTwin {
    V4([u8; 4]),
    V6([u8; 16]),
}

#[derive(Serialize, Deserialize)]
struct WantTwin {
    range: RangeTwin,
    choice: ChoiceTwin,
}

#[derive(Serialize, Deserialize)]
enum ChoiceTwin {
    Lowest(Vec<(AddressTwin, AddressTwin)>),
    Exactly(AddressTwin),
}

#[derive(Serialize, Deserialize)]
enum TicketTwin {
    Take {
        wants: Vec<WantTwin>,
        owner: OwnerTwin,
    },
    Release {
        held: Vec<HeldTwin>,
        modified: Revision,
    },
    Exhausted(RangeTwin),
    Taken(HeldTwin),
}

impl From<Address> for AddressTwin {
    fn from(address: Address) -> Self {
        match IpAddr::from(address) {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => Self::V6(ip.octets()),
        }
    }
}

impl From<&AddressTwin> for Address {
    fn from(twin: &AddressTwin) -> Self {
        match twin {
            AddressTwin::V4(octets) => IpAddr::from(*octets).into(),
            AddressTwin::V6(octets) => IpAddr::from(*octets).into(),
        }
    }
}

impl From<&QueueId> for RangeTwin {
    fn from(range: &QueueId) -> Self {
        let QueueId { pool, cidr } = range;
        Self {
            pool: PoolTwin {
                name: pool.name.clone(),
                own: pool.only.is_some(),
            },
            cidr: CidrTwin {
                network: Address::from(cidr.network()).into(),
                length: cidr.prefix_len(),
            },
        }
    }
}

impl TryFrom<RangeTwin> for QueueId {
    type Error = RecordError;

    fn try_from(twin: RangeTwin) -> Result<Self, RecordError> {
        let network = IpAddr::from(Address::from(&twin.cidr.network));
        let cidr = IpNet::new(network, twin.cidr.length).map_err(|error| garbage(&error))?;
        if cidr != cidr.trunc() {
            return Err(garbage(&format!("the range {cidr} has host bits")));
        }
        // Its keys would be those of the pool without a name.
        if twin.pool.name.as_deref() == Some("") {
            return Err(garbage(&"the name of its pool is empty"));
        }
        let pool = Pool {
            name: twin.pool.name,
            only: twin.pool.own.then_some(cidr),
        };
        Ok(Self { pool, cidr })
    }
}

impl From<&Held> for HeldTwin {
    fn from(held: &Held) -> Self {
        Self {
            range: RangeTwin::from(&held.range),
            address: held.address.into(),
        }
    }
}

impl TryFrom<HeldTwin> for Held {
    type Error = RecordError;

    fn try_from(twin: HeldTwin) -> Result<Self, RecordError> {
        let range = QueueId::try_from(twin.range)?;
        let address = inside(&range, &twin.address)?;
        Ok(Self { range, address })
    }
}

/// What one attachment holds: as many addresses as a request can ask for at most, each once.
fn holding(twins: Vec<HeldTwin>) -> Result<Vec<Held>, RecordError> {
    countable(twins.len())?;
    let held = all(twins, Held::try_from)?;
    let places: BTreeSet<_> = held
        .iter()
        .map(|held| (&held.range.pool, held.address))
        .collect();
    if places.len() == held.len() {
        Ok(held)
    } else {
        Err(garbage(&"it holds an address twice"))
    }
}

fn countable(count: usize) -> Result<(), RecordError> {
    match count {
        1..=limits::WANTS => Ok(()),
        _ => Err(garbage(&format!("it is about {count} addresses"))),
    }
}

fn inside(range: &QueueId, twin: &AddressTwin) -> Result<Address, RecordError> {
    let address = Address::from(twin);
    if Interval::of(range.cidr).contains(address) {
        Ok(address)
    } else {
        Err(garbage(&format!(
            "the address {address} is outside its range {}",
            range.cidr
        )))
    }
}

impl From<&Owner> for OwnerTwin {
    fn from(owner: &Owner) -> Self {
        let Owner {
            node,
            pod_namespace,
            pod_name,
            pod_uid,
            netns,
        } = owner.clone();
        Self {
            node,
            pod_namespace,
            pod_name,
            pod_uid,
            netns,
        }
    }
}

impl From<OwnerTwin> for Owner {
    fn from(twin: OwnerTwin) -> Self {
        let OwnerTwin {
            node,
            pod_namespace,
            pod_name,
            pod_uid,
            netns,
        } = twin;
        Self {
            node,
            pod_namespace,
            pod_name,
            pod_uid,
            netns,
        }
    }
}

impl From<&Want> for WantTwin {
    fn from(want: &Want) -> Self {
        let choice = match &want.choice {
            Choice::Lowest(intervals) => ChoiceTwin::Lowest(
                intervals
                    .iter()
                    .map(|part| (part.first().into(), part.last().into()))
                    .collect(),
            ),
            Choice::Exactly(address) => ChoiceTwin::Exactly((*address).into()),
        };
        Self {
            range: RangeTwin::from(&want.range),
            choice,
        }
    }
}

impl TryFrom<WantTwin> for Want {
    type Error = RecordError;

    fn try_from(twin: WantTwin) -> Result<Self, RecordError> {
        let range = QueueId::try_from(twin.range)?;
        let choice = match twin.choice {
            ChoiceTwin::Exactly(address) => Choice::Exactly(inside(&range, &address)?),
            ChoiceTwin::Lowest(ends) => {
                let intervals = all(ends, |(first, last)| {
                    let (first, last) = (inside(&range, &first)?, inside(&range, &last)?);
                    Interval::new(first, last).ok_or_else(|| garbage(&"an interval ends too early"))
                })?;
                let apart = intervals
                    .windows(2)
                    .all(|two| two[0].last() < two[1].first());
                if intervals.is_empty() || !apart {
                    return Err(garbage(&"its intervals are none, or not in order"));
                }
                Choice::Lowest(intervals)
            }
        };
        Ok(Self { range, choice })
    }
}

impl From<&Ticket> for TicketTwin {
    fn from(ticket: &Ticket) -> Self {
        match ticket {
            Ticket::Take { wants, owner } => Self::Take {
                wants: wants.iter().map(WantTwin::from).collect(),
                owner: OwnerTwin::from(owner),
            },
            Ticket::Release { held, modified } => Self::Release {
                held: held.iter().map(HeldTwin::from).collect(),
                modified: *modified,
            },
            Ticket::Refused(Shortage::Exhausted(range)) => Self::Exhausted(RangeTwin::from(range)),
            Ticket::Refused(Shortage::Taken(held)) => Self::Taken(HeldTwin::from(held)),
        }
    }
}

impl TryFrom<TicketTwin> for Ticket {
    type Error = RecordError;

    fn try_from(twin: TicketTwin) -> Result<Self, RecordError> {
        Ok(match twin {
            TicketTwin::Take { wants, owner } => {
                countable(wants.len())?;
                Self::Take {
                    wants: all(wants, Want::try_from)?,
                    owner: owner.into(),
                }
            }
            TicketTwin::Release { held, modified } => {
                let held = holding(held)?;
                Self::Release { held, modified }
            }
            TicketTwin::Exhausted(range) => Self::Refused(Shortage::Exhausted(range.try_into()?)),
            TicketTwin::Taken(held) => Self::Refused(Shortage::Taken(held.try_into()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(cidr: &str, own: bool) -> QueueId {
        let cidr: IpNet = cidr.parse().expect("a CIDR");
        QueueId {
            pool: Pool {
                name: None,
                only: own.then_some(cidr),
            },
            cidr,
        }
    }

    fn held(cidr: &str, address: &str) -> Held {
        let address = address.parse::<IpAddr>().expect("an address").into();
        Held {
            range: range(cidr, true),
            address,
        }
    }

    fn claim() -> Claim {
        Claim {
            held: vec![
                held("10.0.0.0/24", "10.0.0.7"),
                held("fd00::/64", "fd00::7"),
            ],
            owner: Owner {
                node: Some("node-1".to_owned()),
                ..Owner::default()
            },
            created: Duration::from_millis(1_700_000_000_123),
        }
    }

    fn tickets() -> Vec<Ticket> {
        let interval = |cidr: &str| Interval::of(cidr.parse().expect("a CIDR"));
        let lowest = Choice::Lowest(vec![interval("10.0.0.0/30"), interval("10.0.0.8/30")]);
        vec![
            Ticket::Take {
                wants: vec![Want {
                    range: range("10.0.0.0/24", false),
                    choice: lowest,
                }],
                owner: claim().owner,
            },
            Ticket::Release {
                held: claim().held,
                modified: 77,
            },
            Ticket::Refused(Shortage::Exhausted(range("10.0.0.0/24", false))),
            Ticket::Refused(Shortage::Taken(held("10.0.0.0/24", "10.0.0.7"))),
        ]
    }

    #[test]
    fn values_come_back() {
        assert_eq!(decode_claim(&encode_claim(&claim())), Ok(claim()));
        for ticket in tickets() {
            assert_eq!(decode_ticket(&encode_ticket(&ticket)), Ok(ticket));
        }
        let mut bitmap = Bitmap::EMPTY;
        bitmap.set(200);
        assert_eq!(decode_block(&encode_block(&bitmap)), Ok(bitmap));
    }

    #[test]
    fn a_truncated_longer_newer_or_empty_value_is_a_named_error() {
        let value = encode_claim(&claim());
        for length in 1..value.len() {
            assert!(matches!(
                decode_claim(&value[..length]),
                Err(RecordError::Garbage(_))
            ));
        }
        let longer = [value.as_slice(), &[0]].concat();
        assert!(matches!(
            decode_claim(&longer),
            Err(RecordError::Garbage(_))
        ));
        let newer = [&[2], &value[1..]].concat();
        assert_eq!(decode_claim(&newer), Err(RecordError::Version(2)));
        assert_eq!(decode_claim(&[]), Err(RecordError::Empty));
        assert_eq!(
            decode_block(&[1; 34]),
            Err(garbage(&"a bitmap has 32 bytes, this one has 33"))
        );
    }

    #[test]
    fn a_holding_of_no_address_of_too_many_or_of_one_twice_is_garbage() {
        let check = |held: Vec<Held>, expected: &str| {
            let expected = garbage(&expected);
            let claim = encode_claim(&Claim {
                held: held.clone(),
                ..claim()
            });
            assert_eq!(decode_claim(&claim), Err(expected.clone()));
            let ticket = encode_ticket(&Ticket::Release { held, modified: 7 });
            assert_eq!(decode_ticket(&ticket), Err(expected));
        };
        check(Vec::new(), "it is about 0 addresses");
        let many = 1..=limits::WANTS + 1;
        let many = many.map(|last| held("10.0.0.0/24", &format!("10.0.0.{last}")));
        check(many.collect(), "it is about 9 addresses");
        let one = held("10.0.0.0/24", "10.0.0.7");
        check(vec![one.clone(), one], "it holds an address twice");
    }

    #[test]
    fn a_pool_whose_name_is_empty_is_garbage() {
        let mut nameless = claim();
        nameless.held[0].range.pool.name = Some(String::new());
        let expected = Err(garbage(&"the name of its pool is empty"));
        assert_eq!(decode_claim(&encode_claim(&nameless)), expected);
    }

    #[test]
    fn a_claim_takes_few_bytes() {
        let mut small = claim();
        small.held.truncate(1);
        small.held[0].range = range("10.0.0.0/24", false);
        assert!(
            encode_claim(&small).len() <= 40,
            "{}",
            encode_claim(&small).len()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_and_never_panic(
            mut value in proptest::collection::vec(any::<u8>(), 0..200), versioned: bool,
        ) {
            if versioned && !value.is_empty() {
                value[0] = FORMAT;
            }
            if let Ok(bitmap) = decode_block(&value) {
                prop_assert_eq!(&encode_block(&bitmap), &value);
            }
            let _ = decode_claim(&value);
            let _ = decode_ticket(&value);
        }

        #[test]
        fn a_flipped_byte_decodes_or_fails_and_never_panics(at: usize, to: u8, which in 0..4_usize) {
            let mut value = encode_ticket(&tickets()[which]);
            let at = at % value.len();
            value[at] = to;
            let _ = decode_ticket(&value);
        }
    }
}
