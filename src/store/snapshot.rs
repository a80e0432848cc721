//! The part of the store that was read at one revision, decoded, with the keys that are known to be absent.
//!
//! A [`Query`] says what to read; a [`Snapshot`] holds the answers and tells three things apart:
//! what is there, what is not, and what was not asked. It decodes and checks, and decides nothing.

use std::collections::BTreeMap;

use crate::keys::{Key, Keys, Seat, Spot, TicketId};
use crate::record::{self, Lock, RecordError, Sender, Ticket};
use crate::{Entry, LeaseId, Order, Read, Revision, View};
use whereabouts_core::address::{Bitmap, BlockKey, Name};
use whereabouts_core::allocator::{
    BlockState, Demand, Facts, NotRead, OpenAndFull, Predecessors, Question, Stored,
};
use whereabouts_core::claim::{Attachment, Claim, Home, RangeId};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::failure::{Corrupt, Failure};
use whereabouts_core::identity::Identity;
use whereabouts_core::limits;
use whereabouts_core::registry::{OwnerPage, Page, Scope};

/// One question, by meaning. Order and equality let questions be collected without repetition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Query {
    /// The claim of an attachment.
    Claim(Attachment),
    /// The state of a durable owner.
    Owner(DurableOwner),
    /// A page of the durable owners of one network or of all, in key order, beginning after `after`.
    Owners {
        /// The network; `None` is every network.
        network: Option<Name>,
        /// The last key of the page before.
        after: Option<Vec<u8>>,
    },
    /// The claim of an attachment that another one may take over from. One that cannot be read is none.
    Predecessor(Attachment),
    /// A page of the claims of one network or of all, in key order, beginning after `after`.
    Claims {
        /// The network; `None` is every network.
        network: Option<Name>,
        /// The last key of the page before.
        after: Option<Vec<u8>>,
    },
    /// A page of the claims of one node, by their keys, beginning after `after`.
    OnNode {
        /// The node.
        node: String,
        /// The network; `None` is every network.
        network: Option<Name>,
        /// The pod's UID, in one network; `None` is every pod.
        pod_uid: Option<String>,
        /// The last key of the page before.
        after: Option<Vec<u8>>,
    },
    /// The claim of an attachment, as one of a page.
    ClaimEntry(Attachment),
    /// Whose the store is.
    Cluster,
    /// The lock of a range.
    Lock(RangeId),
    /// The ticket at a seat, whose ever it is.
    Seat(Seat),
    /// A page of the tickets of all queues, in key order, beginning after `after`.
    Waiting {
        /// The last key of the page before.
        after: Option<Vec<u8>>,
    },
    /// The oldest tickets of a queue.
    Tickets {
        /// The queue.
        queue: RangeId,
        /// At most so many.
        limit: u32,
    },
    /// About blocks.
    Blocks(Question),
}

impl Query {
    /// The question for the owner of the store, if `demand` takes: a commit takes only in the store of the own cluster. A
    /// release does not depend on the name of the cluster.
    pub fn whose_store(demand: &Demand) -> Option<Self> {
        match demand {
            Demand::Take(_) => Some(Self::Cluster),
            Demand::Release { .. } => None,
        }
    }

    /// The questions for the records that `demand` is about: the claim of its attachment, and the durable owner of an ADD.
    pub fn records(demand: &Demand) -> impl Iterator<Item = Self> {
        let claim = Self::Claim(demand.attachment().clone());
        [claim].into_iter().chain(Self::of_owner(demand))
    }

    /// The question for the durable owner of an ADD.
    pub fn of_owner(demand: &Demand) -> Option<Self> {
        match demand {
            Demand::Take(ask) => ask.durable_owner().map(Self::Owner),
            Demand::Release { .. } => None,
        }
    }

    /// The question for the claims that the pod of `demand` has on its node, if it may take over.
    pub fn of_pod(demand: &Demand) -> Option<Self> {
        let Demand::Take(ask) = demand else {
            return None;
        };
        if !ask.may_take_over {
            return None;
        }
        let Home { node, pod_uid } = ask.owner.home()?;
        Some(Self::OnNode {
            node,
            network: Some(ask.attachment.network.clone()),
            pod_uid: Some(pod_uid?),
            after: None,
        })
    }

    /// A page of `scope`, beginning after `after`.
    pub fn page(scope: Scope<'_>, after: Option<&Vec<u8>>) -> Self {
        let after = after.cloned();
        match scope {
            Scope::All => Self::Claims {
                network: None,
                after,
            },
            Scope::Network(network) => Self::Claims {
                network: Some(network.clone()),
                after,
            },
            Scope::Node {
                node,
                network,
                pod_uid,
            } => Self::OnNode {
                node: node.to_owned(),
                network: network.cloned(),
                pod_uid: pod_uid.map(str::to_owned),
                after,
            },
        }
    }

    /// Both keys of one block.
    pub fn block(slot: &BlockKey) -> [Self; 2] {
        Question::block(slot).map(Self::Blocks)
    }

    /// The question in the store's terms.
    pub fn read(&self, keys: &Keys) -> Read {
        match self {
            Self::Claim(attachment)
            | Self::Predecessor(attachment)
            | Self::ClaimEntry(attachment) => {
                Read::Key(keys.encode(&Key::Claim(attachment.clone())))
            }
            Self::Claims { network, after } => {
                let claims = keys.claims(network.as_ref());
                page(claims, after.as_deref(), limits::CLAIMS_PER_PAGE)
            }
            Self::OnNode {
                node,
                network,
                pod_uid,
                after,
            } => {
                let claims = keys.claims_on_node(node, network.as_ref(), pod_uid.as_deref());
                page(claims, after.as_deref(), limits::CLAIMS_PER_PAGE_OF_NODE)
            }
            Self::Owner(owner) => Read::Key(keys.encode(&Key::Owner(owner.clone()))),
            Self::Owners { network, after } => {
                let owners = keys.owners(network.as_ref());
                page(owners, after.as_deref(), limits::CLAIMS_PER_PAGE)
            }
            Self::Cluster => Read::Key(keys.encode(&Key::Cluster)),
            Self::Lock(queue) => Read::Key(keys.encode(&Key::Lock(queue.clone()))),
            Self::Waiting { after } => {
                page(keys.queues(), after.as_deref(), limits::CLAIMS_PER_PAGE)
            }
            Self::Seat(seat) => Read::Key(keys.encode(&Key::Ticket(seat.clone()))),
            Self::Tickets { queue, limit } => {
                let (from, until) = keys.tickets(queue);
                Read::Range {
                    from,
                    until,
                    order: Order::Created,
                    limit: *limit,
                }
            }
            Self::Blocks(Question::Full(slot)) => Read::Key(keys.encode(&Key::Full(slot.clone()))),
            Self::Blocks(Question::Open {
                from,
                through,
                limit,
            }) => keys.open_blocks(from, *through, *limit),
        }
    }
}

/// A page of the keys from `first` (included) until `until` (excluded), beginning after `after`.
fn page((first, until): (Vec<u8>, Vec<u8>), after: Option<&[u8]>, limit: u32) -> Read {
    Read::Range {
        from: after.map_or(first, |key| [key, &[0]].concat()),
        until,
        order: Order::Key,
        limit,
    }
}

/// A lock that somebody holds, or that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockEntry {
    /// The revision since which it was never free.
    pub created: Revision,
    /// The revision of the last write to it.
    pub modified: Revision,
    /// The holder's lease; 0 when it is offered.
    pub lease: LeaseId,
    /// The process that holds it, or to which it is offered; `None` if that cannot be read.
    pub sender: Option<Sender>,
}

impl LockEntry {
    /// Whether it is offered to somebody who waits, and nobody has it yet.
    pub fn is_offered(&self) -> bool {
        self.lease == 0
    }
}

/// The ticket at a seat. A ticket that a newer version wrote may be unreadable; whose it is can be read all the
/// same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketEntry {
    /// Whose ticket it is; `None` if that cannot be read.
    pub whose: Option<Attachment>,
    /// The value.
    pub ticket: Result<Ticket, Corrupt>,
}

/// A ticket as it stands in a queue. One that a newer version wrote may be unreadable; its place in
/// the queue counts all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// The key, which can be touched even when it cannot be read.
    pub key: Vec<u8>,
    /// The revision that gives the place in the queue.
    pub created: Revision,
    /// The revision of the last write to it.
    pub modified: Revision,
    /// The value.
    pub request: Result<(TicketId, Ticket), Corrupt>,
}

impl TicketEntry {
    /// The process that put it, if it can be read.
    pub fn sender(&self) -> Option<Sender> {
        self.ticket.as_ref().ok().map(Ticket::sender)
    }
}

impl QueueEntry {
    /// The demand that waits: of a ticket that can be read, and has no answer yet.
    pub fn demand(&self) -> Option<&Demand> {
        match &self.request {
            Ok((_, Ticket::Asks { demand, .. })) => Some(demand),
            Ok((_, Ticket::Refused { .. })) | Err(_) => None,
        }
    }

    /// The lock of its process, if that waits for an answer.
    pub fn asks(&self) -> Option<Lock> {
        Some(Lock::of(self.sender()?, self.demand()?))
    }

    /// The process that put it, if it can be read.
    pub fn sender(&self) -> Option<Sender> {
        let request = self.request.as_ref().ok();
        request.map(|(_, ticket)| ticket.sender())
    }
}

/// A claim as a listing finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimEntry {
    /// The key.
    pub key: Vec<u8>,
    /// Whose it is and what it says.
    pub claim: Result<(Attachment, Stored<Claim>), Corrupt>,
}

/// A claim's entry by its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnNode {
    /// The key.
    pub key: Vec<u8>,
    /// The attachment that has the claim.
    pub attachment: Result<Attachment, Corrupt>,
}

/// A durable owner as a listing finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OwnerEntry {
    key: Vec<u8>,
    owner: Result<(DurableOwner, Stored<OwnerState>), Corrupt>,
}

/// Whose the store is, as far as it was read.
#[derive(Clone, Debug, Default)]
enum Cluster {
    #[default]
    NotRead,
    Read(Option<Identity>),
}

/// The answers to some queries at one revision.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    revision: Revision,
    facts: Facts,
    cluster: Cluster,
    listed: Vec<ClaimEntry>,
    on_node: Vec<OnNode>,
    owners: Vec<OwnerEntry>,
    locks: BTreeMap<RangeId, Option<LockEntry>>,
    waiting: Vec<QueueEntry>,
    seats: BTreeMap<Seat, Option<Stored<TicketEntry>>>,
    queues: BTreeMap<RangeId, Vec<QueueEntry>>,
}

impl Snapshot {
    /// Decodes the answers to `queries`, which `view` holds in their order.
    pub fn new(keys: &Keys, queries: &[Query], view: View) -> Result<Self, Corrupt> {
        let mut snapshot = Self {
            revision: view.revision,
            ..Self::default()
        };
        snapshot.extend(keys, queries, view)?;
        Ok(snapshot)
    }

    /// Adds the answers to further `queries`, read at this snapshot's own revision.
    pub fn extend(&mut self, keys: &Keys, queries: &[Query], view: View) -> Result<(), Corrupt> {
        assert_eq!(
            queries.len(),
            view.answers.len(),
            "a store answers every question"
        );
        for (query, entries) in queries.iter().zip(view.answers) {
            self.absorb(keys, query, entries)?;
        }
        self.facts.check().map_err(|OpenAndFull(slot)| {
            let key = keys.encode(&Key::Full(slot));
            Corrupt::new(&key, &"the block is open too")
        })
    }

    /// The revision at which all of it was true.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The claims and blocks that were read.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The claim of `attachment`.
    pub fn claim(&self, attachment: &Attachment) -> Result<Option<&Stored<Claim>>, NotRead> {
        self.facts.claim(attachment)
    }

    /// Of which cluster the store is; `None` when it is no cluster's yet.
    pub fn cluster(&self) -> Result<Option<&Identity>, NotRead> {
        match &self.cluster {
            Cluster::Read(identity) => Ok(identity.as_ref()),
            Cluster::NotRead => Err(NotRead),
        }
    }

    /// Sees that the store, whose owner was read, is that of the cluster `own`; or no cluster's, where that is not known.
    pub fn check_owner(&self, keys: &Keys, own: Option<&Identity>) -> Result<(), Failure> {
        let stored = self.cluster().expect("whose the store is was read");
        let key = || String::from_utf8_lossy(&keys.encode(&Key::Cluster)).into_owned();
        match (stored.cloned(), own.cloned()) {
            (Some(stored), own) if own.as_ref() != Some(&stored) => Err(Failure::Stranger {
                key: key(),
                stored,
                own,
            }),
            (None, Some(own)) => Err(Failure::NobodysStore { key: key(), own }),
            (Some(_), _) | (None, None) => Ok(()),
        }
    }

    /// The page of claims that was read. A page that is not full is the last.
    pub fn page(&self) -> Page<Vec<u8>> {
        let is_full = self.listed.len() >= limits::CLAIMS_PER_PAGE as usize;
        let last = self.listed.last().filter(|_| is_full);
        Page {
            next: last.map(|last| last.key.clone()),
            claims: self.listed.iter().map(|one| one.claim.clone()).collect(),
        }
    }

    /// The page of durable owners that was read. A page that is not full is the last.
    pub fn owners(&self) -> OwnerPage<Vec<u8>> {
        let is_full = self.owners.len() >= limits::CLAIMS_PER_PAGE as usize;
        let last = self.owners.last().filter(|_| is_full);
        OwnerPage {
            next: last.map(|last| last.key.clone()),
            owners: self.owners.iter().map(|one| one.owner.clone()).collect(),
        }
    }

    /// The claims of the pages that were read.
    pub fn listed(&self) -> &[ClaimEntry] {
        &self.listed
    }

    /// The entries of a node's claims on the pages that were read.
    pub fn on_node(&self) -> &[OnNode] {
        &self.on_node
    }

    /// Whether `attachment` is among the claims of its node, and its claim was not read.
    pub fn shows_unread(&self, attachment: &Attachment) -> bool {
        let mut on_node = self.on_node.iter();
        self.claim(attachment).is_err()
            && on_node.any(|one| one.attachment.as_ref() == Ok(attachment))
    }

    /// The attachments that `demand` may take over from, whose operation began with a read at revision `begun`.
    pub fn predecessors(&self, demand: &Demand, begun: Revision) -> Predecessors {
        let of_pod = self.on_node.iter();
        let of_pod = of_pod.filter_map(|one| one.attachment.as_ref().ok());
        Predecessors::of(demand, of_pod, begun)
    }

    /// The questions for the claims of the page of a node that was read.
    pub fn claims_on_node(&self) -> Vec<Query> {
        let attachments = self
            .on_node
            .iter()
            .filter_map(|one| one.attachment.as_ref().ok());
        attachments.cloned().map(Query::ClaimEntry).collect()
    }

    /// The page of a node that was read, with the `claims` that were read after it. A claim that is gone since is not
    /// on it. A page that is not full is the last.
    pub fn page_of_node(self, claims: &Self) -> Page<Vec<u8>> {
        let is_full = self.on_node.len() >= limits::CLAIMS_PER_PAGE_OF_NODE as usize;
        let last = self.on_node.last().filter(|_| is_full);
        let next = last.map(|last| last.key.clone());
        let unreadable = self
            .on_node
            .into_iter()
            .filter_map(|one| one.attachment.err());
        let claims = claims.listed.iter().map(|one| one.claim.clone());
        Page {
            next,
            claims: claims.chain(unreadable.map(Err)).collect(),
        }
    }

    /// The lock of `queue`, if it is not free.
    pub fn lock(&self, queue: &RangeId) -> Result<Option<LockEntry>, NotRead> {
        self.locks.get(queue).copied().ok_or(NotRead)
    }

    /// The tickets of the pages that were read.
    pub fn waiting(&self) -> &[QueueEntry] {
        &self.waiting
    }

    /// The ticket at a seat.
    pub fn seat(&self, seat: &Seat) -> Result<Option<&Stored<TicketEntry>>, NotRead> {
        self.seats.get(seat).map(Option::as_ref).ok_or(NotRead)
    }

    /// The oldest tickets of `queue`, oldest first.
    pub fn queue(&self, queue: &RangeId) -> Result<&[QueueEntry], NotRead> {
        self.queues.get(queue).map(Vec::as_slice).ok_or(NotRead)
    }

    /// The state of a block.
    pub fn block(&self, slot: &BlockKey) -> Result<BlockState, NotRead> {
        self.facts.block(slot)
    }

    fn absorb(&mut self, keys: &Keys, query: &Query, entries: Vec<Entry>) -> Result<(), Corrupt> {
        match query {
            Query::Claim(attachment) => {
                let claim = only(entries).map(|entry| stored(&entry, record::decode_claim));
                self.facts.note_claim(attachment, claim.transpose()?);
            }
            Query::Owner(owner) => {
                let state = only(entries).map(|entry| stored(&entry, record::decode_owner));
                self.facts.note_owner(owner, state.transpose()?);
            }
            Query::Owners { .. } => self
                .owners
                .extend(entries.into_iter().map(|entry| owner_entry(keys, entry))),
            Query::Predecessor(attachment) => {
                let claim = only(entries).map(|entry| stored(&entry, record::decode_claim));
                self.facts
                    .note_claim(attachment, claim.and_then(Result::ok));
            }
            Query::OnNode { .. } => self
                .on_node
                .extend(entries.into_iter().map(|entry| on_node(keys, entry))),
            Query::Claims { .. } | Query::ClaimEntry(_) => {
                self.listed
                    .extend(entries.into_iter().map(|entry| listed(keys, entry)));
            }
            Query::Cluster => {
                let identity =
                    only(entries).map(|entry| read_value(&entry, record::decode_cluster));
                self.cluster = Cluster::Read(identity.transpose()?);
            }
            Query::Lock(queue) => {
                let lock = only(entries).map(|entry| LockEntry {
                    created: entry.created,
                    modified: entry.modified,
                    lease: entry.lease,
                    sender: record::decode_lock(&entry.value)
                        .ok()
                        .map(|lock| lock.sender),
                });
                self.locks.insert(queue.clone(), lock);
            }
            Query::Waiting { .. } => {
                let queued = entries.into_iter().map(|entry| queued(keys, entry));
                self.waiting.extend(queued);
            }
            Query::Seat(seat) => {
                let seated = only(entries).map(|entry| Stored {
                    value: seated(&entry, seat),
                    created: entry.created,
                    modified: entry.modified,
                });
                self.seats.insert(seat.clone(), seated);
            }
            Query::Tickets { queue, .. } => {
                let queued = entries
                    .into_iter()
                    .map(|entry| queued(keys, entry))
                    .collect();
                self.queues.insert(queue.clone(), queued);
            }
            Query::Blocks(question) => self.absorb_blocks(keys, question, entries)?,
        }
        Ok(())
    }

    fn absorb_blocks(
        &mut self,
        keys: &Keys,
        question: &Question,
        entries: Vec<Entry>,
    ) -> Result<(), Corrupt> {
        match question {
            Question::Full(slot) => {
                let full = only(entries).map(|entry| read_full(&entry, slot));
                self.facts.note_full(slot, full.transpose()?);
            }
            Question::Open {
                from,
                through,
                limit,
            } => {
                let is_cut = entries.len() >= usize::try_from(*limit).unwrap_or(usize::MAX);
                let blocks = entries.iter().map(|entry| {
                    let slot = open_slot(keys, entry)?;
                    let block = read_open(entry, &slot)?;
                    Ok((slot, block))
                });
                let blocks = blocks.collect::<Result<_, _>>()?;
                self.facts.note_open(from, *through, blocks, is_cut);
            }
        }
        Ok(())
    }
}

fn open_slot(keys: &Keys, entry: &Entry) -> Result<BlockKey, Corrupt> {
    match keys.decode(&entry.key) {
        Ok(Key::Open(slot)) => Ok(slot),
        Ok(_) => Err(Corrupt::new(&entry.key, &"it is not an open block")),
        Err(error) => Err(Corrupt::new(&entry.key, &error)),
    }
}

fn only(entries: Vec<Entry>) -> Option<Entry> {
    assert!(entries.len() <= 1, "one key has one entry");
    entries.into_iter().next()
}

fn read_value<T>(
    entry: &Entry,
    decode: impl Fn(&[u8]) -> Result<T, RecordError>,
) -> Result<T, Corrupt> {
    decode(&entry.value).map_err(|error| Corrupt::new(&entry.key, &error))
}

fn stored<T>(
    entry: &Entry,
    decode: impl Fn(&[u8]) -> Result<T, RecordError>,
) -> Result<Stored<T>, Corrupt> {
    let value = read_value(entry, decode)?;
    let Entry {
        created, modified, ..
    } = *entry;
    Ok(Stored {
        value,
        created,
        modified,
    })
}

/// A mark at an address that ends in `.0` says nothing, as nobody can have that: it must not keep the others of
/// the block from everybody. The next write of the block is without it, and `check` names it.
fn read_open(entry: &Entry, slot: &BlockKey) -> Result<Stored<Bitmap>, Corrupt> {
    let mut block = stored(entry, record::decode_block)?;
    if slot.block.base().ends_in_zero() {
        block.value.clear(0);
    }
    if block.value.is_full(slot.block.family()) {
        return Err(Corrupt::new(&entry.key, &"it is open and has no free bit"));
    }
    Ok(block)
}

fn read_full(entry: &Entry, slot: &BlockKey) -> Result<Stored<Bitmap>, Corrupt> {
    let family = slot.block.family();
    stored(entry, |value| {
        record::decode_full(value).map(|()| Bitmap::full(family))
    })
}

fn listed(keys: &Keys, entry: Entry) -> ClaimEntry {
    let claim = match keys.decode(&entry.key) {
        Ok(Key::Claim(attachment)) => {
            stored(&entry, record::decode_claim).map(|claim| (attachment, claim))
        }
        Ok(_) => Err(Corrupt::new(&entry.key, &"it is not a claim")),
        Err(error) => Err(Corrupt::new(&entry.key, &error)),
    };
    ClaimEntry {
        key: entry.key,
        claim,
    }
}

fn owner_entry(keys: &Keys, entry: Entry) -> OwnerEntry {
    let owner = match keys.decode(&entry.key) {
        Ok(Key::Owner(owner)) => stored(&entry, record::decode_owner).map(|state| (owner, state)),
        Ok(_) => Err(Corrupt::new(&entry.key, &"it is not a durable owner")),
        Err(error) => Err(Corrupt::new(&entry.key, &error)),
    };
    OwnerEntry {
        key: entry.key,
        owner,
    }
}

fn on_node(keys: &Keys, entry: Entry) -> OnNode {
    let attachment = match keys.decode(&entry.key) {
        Ok(Key::OnNode(_, attachment)) => Ok(attachment),
        Ok(_) => Err(Corrupt::new(&entry.key, &"it is not a claim of a node")),
        Err(error) => Err(Corrupt::new(&entry.key, &error)),
    };
    OnNode {
        key: entry.key,
        attachment,
    }
}

fn seated(entry: &Entry, seat: &Seat) -> TicketEntry {
    let read = read_value(entry, |value| record::decode_ticket(seat, value));
    let whose = match &seat.spot {
        Spot::Own(attachment) => Some(attachment.clone()),
        Spot::Shared(_) => record::decode_whose_ticket(&entry.value).ok(),
    };
    TicketEntry {
        whose,
        ticket: read.map(|(_, ticket)| ticket),
    }
}

fn queued(keys: &Keys, entry: Entry) -> QueueEntry {
    let request = match keys.decode(&entry.key) {
        Ok(Key::Ticket(seat)) => read_value(&entry, |value| record::decode_ticket(&seat, value)),
        Ok(_) => Err(Corrupt::new(&entry.key, &"it is not a ticket")),
        Err(error) => Err(Corrupt::new(&entry.key, &error)),
    };
    let Entry {
        key,
        created,
        modified,
        ..
    } = entry;
    QueueEntry {
        key,
        created,
        modified,
        request,
    }
}
