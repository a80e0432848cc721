//! The twins of stored values: what postcard writes, in the order in which it writes it. A twin
//! becomes a domain type only if it makes sense.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Lock, RecordError, Sender, Shortage, Ticket, garbage};
use crate::Revision;
use crate::keys::QueuedVerb;
use crate::trace_context::TraceContext;
use whereabouts_core::address::{Address, Interval, Name, Pool, refusal};
use whereabouts_core::allocator::Demand;
use whereabouts_core::claim::{
    Ask, Attachment, BootId, Choice, Claim, Held, Home, Owner, RangeId, Want,
};
use whereabouts_core::durable::OwnerState;
use whereabouts_core::limits;
use whereabouts_core::network::StatedRange;

pub(super) fn all<A, B>(
    twins: Vec<A>,
    check: impl Fn(A) -> Result<B, RecordError>,
) -> Result<Vec<B>, RecordError> {
    twins.into_iter().map(check).collect()
}

#[derive(Serialize, Deserialize)]
pub(super) struct ClaimTwin {
    pub(super) held: Vec<HeldTwin>,
    pub(super) usable: Vec<UsableTwin>,
    pub(super) owner: OwnerTwin,
    pub(super) created_ms: u64,
}

impl ClaimTwin {
    pub(super) fn of(claim: &Claim) -> Self {
        let of_ranges = claim.held.iter().zip(&claim.usable);
        let usable = of_ranges.map(|(held, usable)| UsableTwin::of(&held.range, usable));
        Self {
            held: claim.held.iter().map(HeldTwin::from).collect(),
            usable: usable.collect(),
            owner: OwnerTwin::from(&claim.owner),
            created_ms: u64::try_from(claim.created.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct OwnerTwin {
    node: Option<String>,
    pod_namespace: Option<String>,
    pod_name: Option<String>,
    pod_uid: Option<String>,
    netns: Option<String>,
    /// Sixteen bytes, the highest first.
    boot: Option<[u8; 16]>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum DurableTwin {
    Attached(String),
    Resting { held: Vec<HeldTwin>, since_ms: u64 },
}

impl From<&OwnerState> for DurableTwin {
    fn from(state: &OwnerState) -> Self {
        match state {
            OwnerState::Attached(container) => Self::Attached(container.to_string()),
            OwnerState::Resting { held, since } => Self::Resting {
                held: held.iter().map(HeldTwin::from).collect(),
                since_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            },
        }
    }
}

impl TryFrom<DurableTwin> for OwnerState {
    type Error = RecordError;

    fn try_from(twin: DurableTwin) -> Result<Self, RecordError> {
        Ok(match twin {
            DurableTwin::Attached(container) => {
                Self::Attached(Name::new(&container).map_err(|error| garbage(&error))?)
            }
            DurableTwin::Resting { held, since_ms } => Self::Resting {
                held: holding(held)?,
                since: Duration::from_millis(since_ms),
            },
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct PoolTwin {
    name: Option<String>,
    own: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct CidrTwin {
    network: AddressTwin,
    length: u8,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RangeTwin {
    pool: PoolTwin,
    cidr: CidrTwin,
}

#[derive(Serialize, Deserialize)]
pub(super) struct HeldTwin {
    range: RangeTwin,
    address: AddressTwin,
}

#[derive(Serialize, Deserialize)]
pub(super) enum AddressTwin {
    V4([u8; 4]),
    V6([u8; 16]),
}

#[derive(Serialize, Deserialize)]
pub(super) struct WantTwin {
    range: RangeTwin,
    usable: UsableTwin,
    choice: ChoiceTwin,
}

#[derive(Serialize, Deserialize)]
pub(super) enum ChoiceTwin {
    Lowest,
    Exactly(AddressTwin),
}

/// The usable intervals of a range as distances, in the order of addresses: the addresses before an interval, and from its
/// first address to its last one, by turns. The last number is the distance to the end of the CIDR instead. So the one
/// interval of an IPv6 prefix has two small numbers, too.
#[derive(Serialize, Deserialize)]
pub(super) struct UsableTwin(pub(super) Vec<u128>);

impl UsableTwin {
    pub(super) fn of(range: &RangeId, usable: &[Interval]) -> Self {
        let whole = Interval::of(range.cidr);
        let mut next = whole.first().number();
        let mut distances = Vec::with_capacity(2 * usable.len());
        for interval in usable {
            let (first, last) = (interval.first().number(), interval.last().number());
            distances.extend([first.wrapping_sub(next), last - first]);
            next = last.wrapping_add(1);
        }
        if let (Some(length), Some(interval)) = (distances.last_mut(), usable.last()) {
            *length = whole.last().number().wrapping_sub(interval.last().number());
        }
        Self(distances)
    }

    pub(super) fn into_usable(self, range: &RangeId) -> Result<Vec<Interval>, RecordError> {
        let whole = Interval::of(range.cidr);
        let at = |number: Option<u128>| {
            let address = number.and_then(|number| Address::new(whole.first().family(), number));
            let inside = address.filter(|address| whole.contains(*address));
            inside.ok_or_else(|| garbage(&"its intervals leave their range"))
        };
        let mut next = Some(whole.first().number());
        let (pairs, rest) = self.0.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(garbage(&"an interval has no end"));
        }
        let mut usable = Vec::with_capacity(pairs.len());
        for (index, [gap, length]) in pairs.iter().enumerate() {
            let first = at(next.and_then(|next| next.checked_add(*gap)))?;
            let last = if index + 1 == pairs.len() {
                whole.last().number().checked_sub(*length)
            } else {
                first.number().checked_add(*length)
            };
            let last = at(last)?;
            next = last.number().checked_add(1);
            let interval = Interval::new(first, last);
            usable.push(interval.ok_or_else(|| garbage(&"an interval ends too early"))?);
        }
        Ok(usable)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StatedTwin {
    range: RangeTwin,
    usable: UsableTwin,
}

impl From<&StatedRange> for StatedTwin {
    fn from(stated: &StatedRange) -> Self {
        let StatedRange { range, usable } = stated;
        Self {
            range: RangeTwin::from(range),
            usable: UsableTwin::of(range, usable),
        }
    }
}

impl TryFrom<StatedTwin> for StatedRange {
    type Error = RecordError;

    fn try_from(twin: StatedTwin) -> Result<Self, RecordError> {
        let range = RangeId::try_from(twin.range)?;
        let usable = twin.usable.into_usable(&range)?;
        if usable.is_empty() {
            return Err(garbage(&"a range has no address"));
        }
        Ok(Self { range, usable })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct AttachmentTwin {
    network: String,
    container: String,
    interface: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct LockTwin {
    sender: Sender,
    attachment: AttachmentTwin,
    verb: VerbTwin,
}

#[derive(Serialize, Deserialize)]
pub(super) enum VerbTwin {
    Add,
    Del,
}

#[derive(Serialize, Deserialize)]
pub(super) enum TicketTwin {
    Take {
        sender: Sender,
        wants: Vec<WantTwin>,
        owner: OwnerTwin,
    },
    Release {
        sender: Sender,
        held: Vec<HeldTwin>,
        home: Option<HomeTwin>,
        modified: Revision,
    },
    Exhausted(Sender, Option<String>, RangeTwin),
    Taken(Sender, Option<String>, HeldTwin),
    /// As `Take`, for a durable owner. A program that knows none passes the ticket over.
    TakeDurably {
        sender: Sender,
        wants: Vec<WantTwin>,
        owner: OwnerTwin,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct HomeTwin {
    node: String,
    pod_uid: Option<String>,
}

impl From<&Home> for HomeTwin {
    fn from(home: &Home) -> Self {
        let Home { node, pod_uid } = home.clone();
        Self { node, pod_uid }
    }
}

impl From<HomeTwin> for Home {
    fn from(twin: HomeTwin) -> Self {
        let HomeTwin { node, pod_uid } = twin;
        Self { node, pod_uid }
    }
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

impl From<&RangeId> for RangeTwin {
    fn from(range: &RangeId) -> Self {
        let RangeId { pool, cidr } = range;
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

impl TryFrom<RangeTwin> for RangeId {
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
        let range = RangeId::try_from(twin.range)?;
        let address = inside(&range, &twin.address)?;
        Ok(Self { range, address })
    }
}

/// What a claim that holds `held` states of its ranges.
pub(super) fn usable_of(
    held: &[Held],
    twins: Vec<UsableTwin>,
) -> Result<Vec<Vec<Interval>>, RecordError> {
    if twins.len() > held.len() {
        return Err(garbage(&"it knows ranges that it has no address of"));
    }
    let of_ranges = held.iter().zip(twins);
    let usable = of_ranges.map(|(held, twin)| twin.into_usable(&held.range));
    usable.collect()
}

/// The addresses of one attachment: as many addresses as a request can ask for at most, each once.
pub(super) fn holding(twins: Vec<HeldTwin>) -> Result<Vec<Held>, RecordError> {
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

pub(super) fn countable(count: usize) -> Result<(), RecordError> {
    match count {
        1..=limits::WANTS => Ok(()),
        _ => Err(garbage(&format!("it is about {count} addresses"))),
    }
}

fn inside(range: &RangeId, twin: &AddressTwin) -> Result<Address, RecordError> {
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

/// A ticket for an address that nobody can have is not served.
fn possible(range: &RangeId, address: Address) -> Result<(), RecordError> {
    match refusal(range.cidr, address) {
        None => Ok(()),
        Some(refusal) => Err(garbage(&format!(
            "the address {address} of range {} {refusal}",
            range.cidr
        ))),
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
            boot,
            // The record around it tells.
            is_durable: _,
        } = owner.clone();
        let boot = boot.map(|boot| boot.number().to_be_bytes());
        Self {
            node,
            pod_namespace,
            pod_name,
            pod_uid,
            netns,
            boot,
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
            boot,
        } = twin;
        let boot = boot.map(|bytes| BootId::from_number(u128::from_be_bytes(bytes)));
        Self {
            node,
            pod_namespace,
            pod_name,
            pod_uid,
            netns,
            boot,
            is_durable: false,
        }
    }
}

impl From<&Want> for WantTwin {
    fn from(want: &Want) -> Self {
        let choice = match want.choice {
            Choice::Lowest => ChoiceTwin::Lowest,
            Choice::Exactly(address) => ChoiceTwin::Exactly(address.into()),
        };
        Self {
            range: RangeTwin::from(&want.range),
            usable: UsableTwin::of(&want.range, &want.usable),
            choice,
        }
    }
}

impl TryFrom<WantTwin> for Want {
    type Error = RecordError;

    fn try_from(twin: WantTwin) -> Result<Self, RecordError> {
        let range = RangeId::try_from(twin.range)?;
        let usable = twin.usable.into_usable(&range)?;
        // The search passes over each `.0` by itself.
        let ends = usable.iter().flat_map(|part| [part.first(), part.last()]);
        for end in ends.filter(|end| !end.ends_in_zero()) {
            possible(&range, end)?;
        }
        let choice = match twin.choice {
            ChoiceTwin::Exactly(twin) => {
                let address = inside(&range, &twin)?;
                possible(&range, address)?;
                Choice::Exactly(address)
            }
            ChoiceTwin::Lowest if usable.is_empty() => {
                return Err(garbage(&"its range can give nothing"));
            }
            ChoiceTwin::Lowest => Choice::Lowest,
        };
        Ok(Self {
            range,
            usable,
            choice,
        })
    }
}

impl From<&Attachment> for AttachmentTwin {
    fn from(attachment: &Attachment) -> Self {
        let Attachment {
            network,
            container,
            interface,
        } = attachment;
        Self {
            network: network.to_string(),
            container: container.to_string(),
            interface: interface.clone(),
        }
    }
}

impl TryFrom<AttachmentTwin> for Attachment {
    type Error = RecordError;

    fn try_from(twin: AttachmentTwin) -> Result<Self, RecordError> {
        let name = |text: &str| Name::new(text).map_err(|error| garbage(&error));
        if twin.interface.is_empty() {
            return Err(garbage(&"its interface is empty"));
        }
        Ok(Self {
            network: name(&twin.network)?,
            container: name(&twin.container)?,
            interface: twin.interface,
        })
    }
}

impl From<&Lock> for LockTwin {
    fn from(lock: &Lock) -> Self {
        Self {
            sender: lock.sender,
            attachment: AttachmentTwin::from(&lock.attachment),
            verb: match lock.verb {
                QueuedVerb::Add => VerbTwin::Add,
                QueuedVerb::Del => VerbTwin::Del,
            },
        }
    }
}

impl TryFrom<LockTwin> for Lock {
    type Error = RecordError;

    fn try_from(twin: LockTwin) -> Result<Self, RecordError> {
        Ok(Self {
            sender: twin.sender,
            attachment: twin.attachment.try_into()?,
            verb: match twin.verb {
                VerbTwin::Add => QueuedVerb::Add,
                VerbTwin::Del => QueuedVerb::Del,
            },
        })
    }
}

impl From<&Ticket> for TicketTwin {
    fn from(ticket: &Ticket) -> Self {
        let sender = ticket.sender();
        match ticket {
            Ticket::Asks { demand, .. } => match demand {
                Demand::Take(Ask { wants, owner, .. }) => {
                    let wants = wants.iter().map(WantTwin::from).collect();
                    let (is_durable, owner) = (owner.is_durable, OwnerTwin::from(owner));
                    if is_durable {
                        Self::TakeDurably {
                            sender,
                            wants,
                            owner,
                        }
                    } else {
                        Self::Take {
                            sender,
                            wants,
                            owner,
                        }
                    }
                }
                Demand::Release {
                    held,
                    home,
                    modified,
                    ..
                } => Self::Release {
                    sender,
                    held: held.iter().map(HeldTwin::from).collect(),
                    home: home.as_ref().map(HomeTwin::from),
                    modified: *modified,
                },
            },
            Ticket::Refused { node, shortage, .. } => match shortage {
                Shortage::Exhausted(range) => Self::Exhausted(sender, node.clone(), range.into()),
                Shortage::Taken(held) => Self::Taken(sender, node.clone(), held.into()),
            },
        }
    }
}

/// Whether the names of a ticket are such as a request can have. A holder serves many tickets in one batch: a name
/// of a mebibyte would make the batch larger than a request may be.
fn modest(owner: &[(&Option<String>, usize)], ranges: &[&RangeTwin]) -> Result<(), RecordError> {
    let pools = ranges
        .iter()
        .map(|range| (&range.pool.name, limits::NAME_BYTES));
    let mut long = owner
        .iter()
        .copied()
        .chain(pools)
        .filter_map(|(name, most)| Some((name.as_ref()?.len(), most)))
        .filter(|(length, most)| length > most);
    match long.next() {
        None => Ok(()),
        Some((length, most)) => Err(garbage(&format!(
            "a name of it has {length} bytes, more than {most}"
        ))),
    }
}

impl OwnerTwin {
    /// Each name, and how long it may be.
    fn names(&self) -> [(&Option<String>, usize); 5] {
        [
            (&self.node, limits::NAME_BYTES),
            (&self.pod_namespace, limits::NAME_BYTES),
            (&self.pod_name, limits::NAME_BYTES),
            (&self.pod_uid, limits::NAME_BYTES),
            (&self.netns, limits::PATH_BYTES),
        ]
    }
}

impl TicketTwin {
    /// The ticket of an attachment, and the span that waits with it.
    pub(super) fn into_ticket(
        self,
        whose: &Attachment,
        trace: Option<TraceContext>,
    ) -> Result<Ticket, RecordError> {
        let attachment = whose.clone();
        let is_durable = matches!(self, Self::TakeDurably { .. });
        Ok(match self {
            Self::Take {
                sender,
                wants,
                owner,
            }
            | Self::TakeDurably {
                sender,
                wants,
                owner,
            } => {
                countable(wants.len())?;
                let ranges: Vec<&RangeTwin> = wants.iter().map(|want| &want.range).collect();
                modest(&owner.names(), &ranges)?;
                let ask = Ask {
                    attachment,
                    wants: all(wants, Want::try_from)?,
                    owner: Owner {
                        is_durable,
                        ..owner.into()
                    },
                    may_take_over: false,
                };
                if is_durable && ask.durable_owner().is_none() {
                    return Err(garbage(&"it is durable, and names no pod"));
                }
                let demand = Demand::Take(ask);
                Ticket::Asks {
                    sender,
                    demand,
                    trace,
                }
            }
            Self::Release {
                sender,
                held,
                home,
                modified,
            } => {
                if modified <= 0 {
                    return Err(garbage(&format!("its claim has revision {modified}")));
                }
                let ranges: Vec<&RangeTwin> = held.iter().map(|held| &held.range).collect();
                let node = home.as_ref().map(|home| home.node.clone());
                let pod_uid = home.as_ref().and_then(|home| home.pod_uid.clone());
                let names = [&node, &pod_uid].map(|name| (name, limits::NAME_BYTES));
                modest(&names, &ranges)?;
                let demand = Demand::Release {
                    attachment,
                    held: holding(held)?,
                    home: home.map(Home::from),
                    // The release of a durable claim touches no block, and never waits.
                    owner: None,
                    modified,
                };
                Ticket::Asks {
                    sender,
                    demand,
                    trace,
                }
            }
            Self::Exhausted(sender, node, range) => Ticket::Refused {
                sender,
                node,
                shortage: Shortage::Exhausted(range.try_into()?),
            },
            Self::Taken(sender, node, held) => Ticket::Refused {
                sender,
                node,
                shortage: Shortage::Taken(held.try_into()?),
            },
        })
    }
}
