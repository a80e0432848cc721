//! Where the bugs are planted: what passes between the production code and the cluster, changed.

use whereabouts_core::address::{Bitmap, Family, Interval, Name};
use whereabouts_core::claim::{Ask, Attachment, Choice, RangeId};
use whereabouts_store::keys::{Key, Keys, QueuedVerb, Spot};
use whereabouts_store::memory::{Options, State};
use whereabouts_store::record::{self, Lock};
use whereabouts_store::{
    At, CommitError, Compare, Entry, Outcome, Read, Txn, Unavailable, View, Write,
};

use super::Bug;
use crate::setup::pods;
use crate::vocabulary::keys::{
    is_block, is_claim, is_cluster, is_lock, is_on_node, is_owner, is_ticket,
};
use crate::vocabulary::{NodeId, Step};

/// One of the transactions that a commit has become.
#[derive(Debug)]
pub struct Piece {
    /// It.
    pub txn: Txn,
    /// Whether it is the last, whose end is the commit's.
    pub last: bool,
}

/// At which moment a read is made.
pub fn read_at(bug: Option<Bug>, at: At) -> At {
    match (bug, at) {
        (Some(Bug::ReadMoreLater), At::Revision(_)) => At::Now,
        (_, at) => at,
    }
}

/// The reads that `reader` makes in place of `reads`.
pub fn twist_reads(bug: Option<Bug>, keys: &Keys, reader: Reader<'_>, reads: &[Read]) -> Vec<Read> {
    let mut twisted = reads.to_vec();
    if let (Some(Bug::GcOfOtherNodes), Reader::Collects(_))
    | (Some(Bug::TakeOverOfOthers), Reader::Adds(_)) = (bug, reader)
    {
        for read in &mut twisted {
            widen(keys, read);
        }
    }
    twisted
}

/// Makes a read of the claims of one node one of the claims of all nodes.
fn widen(keys: &Keys, read: &mut Read) {
    let (first, last) = keys.all_on_nodes();
    if let Read::Range { from, until, .. } = read
        && (&first..&last).contains(&&*from)
    {
        // A later page begins after a key.
        if from.ends_with(b"/") {
            *from = first;
        }
        *until = last;
    }
}

/// The reader of a view.
#[derive(Clone, Copy, Debug)]
pub enum Reader<'a> {
    /// A GC of this node.
    Collects(NodeId),
    /// A DEL of this attachment.
    Deletes(&'a Attachment),
    /// An ADD of this attachment.
    Adds(&'a Attachment),
    /// Another.
    Other,
}

/// The view that a process gets.
pub fn twist_view(bug: Option<Bug>, keys: &Keys, reader: Reader<'_>, view: &mut View) {
    for answer in &mut view.answers {
        match (bug, reader) {
            (Some(Bug::ServedOutOfOrder), _) if answer.len() > 1 && is_ticket(&answer[0].key) => {
                answer.reverse();
            }
            (Some(Bug::GcLeavesTicket), Reader::Collects(_)) => {
                answer.retain(|entry| !is_ticket(&entry.key));
            }
            (Some(Bug::NamelessTaken), Reader::Deletes(attachment)) => {
                let nameless = keys.encode(&Key::Claim(attachment.without_interface()));
                if answer.iter().any(|entry| entry.key == nameless) {
                    answer.retain(|entry| entry.key == nameless);
                }
            }
            (Some(Bug::GcOfOtherNodes), Reader::Collects(node)) => {
                for entry in answer.iter_mut().filter(|entry| is_claim(&entry.key)) {
                    let mut claim = record::decode_claim(&entry.value).expect("a claim of ours");
                    claim.owner.node = Some(format!("node{}", node.0));
                    entry.value = record::encode_claim(&claim);
                }
            }
            (Some(Bug::TakeOverOfOthers), Reader::Adds(attachment)) => {
                for entry in answer.iter_mut().filter(|entry| is_claim(&entry.key)) {
                    let mut claim = record::decode_claim(&entry.value).expect("a claim of ours");
                    claim.owner.pod_uid = pods::uid_of(attachment.container.as_str());
                    entry.value = record::encode_claim(&claim);
                }
            }
            (Some(Bug::OwnerTakenFromLiving), Reader::Adds(attachment)) => {
                for entry in answer.iter_mut().filter(|entry| is_claim(&entry.key)) {
                    let mut claim = record::decode_claim(&entry.value).expect("a claim of ours");
                    claim.owner.pod_uid = pods::uid_of(attachment.container.as_str());
                    entry.value = record::encode_claim(&claim);
                }
            }
            (Some(Bug::TakeOverOfTheNewer), Reader::Adds(_)) => {
                for entry in answer.iter_mut().filter(|entry| is_claim(&entry.key)) {
                    entry.created = 1;
                }
            }
            (Some(Bug::BitsUnseen), Reader::Adds(_)) => {
                for entry in answer.iter_mut().filter(|entry| is_open(keys, &entry.key)) {
                    entry.value = record::encode_block(&Bitmap::EMPTY);
                }
            }
            (Some(Bug::DelOfAnothersTicket), Reader::Deletes(attachment)) => {
                for entry in answer.iter_mut() {
                    make_own(keys, attachment, entry);
                }
            }
            _ => {}
        }
    }
}

/// How a commit ends.
pub fn twist_outcome(
    bug: Option<Bug>,
    step: Step,
    txn: &Txn,
    result: Result<Outcome, CommitError>,
) -> Result<Outcome, CommitError> {
    let optimistic = step == Step::Commit;
    match (bug, result) {
        // Refused for good: nothing is settled, and nothing is tried again.
        (Some(Bug::UnknownAsFailure), Err(CommitError::Unknown(reason))) if optimistic => {
            Err(Unavailable::Refused(reason).into())
        }
        (Some(Bug::UnknownAsUnsent), Err(CommitError::Unknown(reason))) => {
            Err(Unavailable::Later(reason).into())
        }
        (Some(Bug::UnknownAsSuccess), Err(CommitError::Unknown(_))) if optimistic => {
            Ok(Outcome::Done(View {
                revision: 1,
                cluster: Options::default().cluster,
                answers: vec![Vec::new(); txn.then.len()],
            }))
        }
        (_, result) => result,
    }
}

/// Whether who sent a commit gives it up after a while of its own, so that this bug meets it before
/// the session's patience ends.
pub fn is_impatient(bug: Option<Bug>) -> bool {
    matches!(
        bug,
        Some(Bug::UnknownAsFailure | Bug::UnknownAsSuccess | Bug::UnknownAsUnsent)
    )
}

/// The transactions that are sent for one.
/// `of` is whose demand the sender has.
pub fn twist_txn(bug: Option<Bug>, keys: &Keys, of: Option<&Attachment>, txn: &Txn) -> Vec<Piece> {
    let step = Step::of_commit(txn);
    let mut twisted = txn.clone();
    forget_owner(bug, keys, &mut twisted);
    let mut drop_compares = |unwanted: &dyn Fn(&Compare) -> bool| {
        twisted.compares.retain(|compare| !unwanted(compare));
    };
    let of_block = |compare: &Compare| key_of(compare).is_some_and(is_block);
    let checks_lock = |compare: &Compare| key_of(compare).is_some_and(is_lock);
    let own = |key: &[u8]| is_own(keys, of, key);
    match (bug, step) {
        (Some(Bug::BlockUnchecked), _) => drop_compares(&of_block),
        (Some(Bug::AbsentBlockHalfChecked), _) => drop_compares(
            &|compare| matches!(compare, Compare::Absent(key) if key.get(2..).is_some_and(|k| k.starts_with(b"/full/"))),
        ),
        (Some(Bug::ClaimUnchecked), _) => {
            drop_compares(&|compare| matches!(compare, Compare::Absent(key) if is_claim(key)));
        }
        (Some(Bug::IdentityUnchecked), Step::Commit | Step::Batch) => drop_compares(&is_of_cluster),
        (Some(Bug::LockUnchecked), Step::Commit)
        | (Some(Bug::LockOverwritten), Step::Acquire)
        | (Some(Bug::HolderUnfenced), Step::Batch)
        | (Some(Bug::JoinUnchecked), Step::Join) => drop_compares(&checks_lock),
        (Some(Bug::OfferUnnamed), Step::GiveUp) => twisted.writes.iter_mut().for_each(offer_nobody),
        (Some(Bug::OfferOverwrites), Step::Commit) => {
            twisted.instead.iter_mut().for_each(drop_own_compares);
        }
        (Some(Bug::LeavesWithoutLooking), Step::GiveUp)
        | (Some(Bug::LastBatchUnchecked), Step::Batch) => {
            let last = |write: &&mut Write| matches!(write, Write::DeleteUnlessNewer { .. });
            let writes = twisted.writes.iter_mut();
            writes.filter(last).for_each(drop_own_compares);
        }
        (Some(Bug::CancelledTicketServed), Step::Batch) => drop_compares(
            &|compare| matches!(compare, Compare::Modified(key, _) if is_ticket(key) && !own(key)),
        ),
        (Some(Bug::TicketOverwritten), Step::Join) => {
            drop_compares(&|compare| matches!(compare, Compare::Absent(key) if is_ticket(key)));
        }
        (Some(Bug::TakeOverUnguarded), Step::TakeOver) => {
            drop_compares(&|compare| matches!(compare, Compare::Modified(..)));
        }
        (Some(Bug::ReleaseUnguarded), Step::Commit | Step::Batch) if deletes_claims(txn) => {
            drop_compares(&|compare| {
                of_block(compare) || matches!(compare, Compare::Modified(key, _) if is_claim(key))
            });
        }
        (Some(Bug::ReleaseNotSent), _) if releases_alone(keys, txn) => change_nothing(&mut twisted),
        (Some(Bug::FenceForgotten), Step::Fence) => {
            change_nothing(&mut twisted);
            twisted.then.clone_from(&txn.otherwise);
        }
        (Some(Bug::NotOnNode | Bug::LeftOnNode), _) => {
            twisted.writes.retain(|write| !is_forgotten(bug, write));
        }
        (Some(Bug::NextNotTouched), Step::GiveUp) => {
            twisted
                .writes
                .retain(|write| !matches!(write, Write::Touch(_)));
        }
        (Some(Bug::NextBlockNotMade), _) => twisted.writes.retain(|write| match write {
            Write::Ensure { .. } => false,
            Write::Put { key, value, .. } => {
                !is_block(key)
                    || *value != record::encode_block(&Bitmap::EMPTY)
                    || deletes_claims(txn)
            }
            Write::Rewrite { .. }
            | Write::Touch(_)
            | Write::Delete(_)
            | Write::DeleteUnlessNewer { .. } => true,
        }),
        (Some(Bug::FullNotMovedBack), _) => {
            stay(&mut twisted, b"/full/", b"/open/", &record::encode_full());
        }
        (Some(Bug::ZeroCountedAsFree), _) => {
            let value = record::encode_block(&Bitmap::full(Family::V4));
            stay(&mut twisted, b"/open/", b"/full/", &value);
        }
        (Some(Bug::TwoTransactions), Step::Commit) => {
            if let Some(first) = first_half(txn) {
                twisted.compares.clear();
                return vec![
                    Piece {
                        txn: first,
                        last: false,
                    },
                    Piece {
                        txn: twisted,
                        last: true,
                    },
                ];
            }
        }
        _ => {}
    }
    vec![Piece {
        txn: twisted,
        last: true,
    }]
}

/// A transaction neither checks nor writes its durable owner as it should.
fn forget_owner(bug: Option<Bug>, keys: &Keys, txn: &mut Txn) {
    let step = Step::of_commit(txn);
    let is_guard = |compare: &Compare| {
        let of_owner = key_of(compare).is_some_and(is_owner);
        match (bug, step) {
            (Some(Bug::OwnerUnchecked), Step::Commit | Step::Batch) => {
                of_owner && matches!(compare, Compare::Absent(_))
            }
            (Some(Bug::RevivalUnguarded), Step::TakeOver)
            | (Some(Bug::EndUnguarded), Step::Commit) => {
                of_owner && matches!(compare, Compare::Modified(..))
            }
            _ => false,
        }
    };
    txn.compares.retain(|compare| !is_guard(compare));
    if bug == Some(Bug::OwnerNotAtRest) && step == Step::TakeOver && releases_alone(keys, txn) {
        let is_of_owner = |write: &Write| matches!(write, Write::Put { key, .. } if is_owner(key));
        txn.writes.retain(|write| !is_of_owner(write));
    }
}

/// A transaction is done whatever is there, and only reads.
fn change_nothing(txn: &mut Txn) {
    txn.writes.clear();
    txn.compares.clear();
}

/// A write that has a condition is written in any case.
fn drop_own_compares(write: &mut Write) {
    match write {
        Write::Ensure { key, value, .. } => {
            let (key, value) = (std::mem::take(key), std::mem::take(value));
            *write = Write::Put {
                key,
                value,
                lease: 0,
            };
        }
        Write::DeleteUnlessNewer { key, .. } => *write = Write::Delete(std::mem::take(key)),
        Write::Put { .. } | Write::Rewrite { .. } | Write::Touch(_) | Write::Delete(_) => {}
    }
}

/// A ticket at the seat of `attachment` is made its ticket.
fn make_own(keys: &Keys, attachment: &Attachment, entry: &mut Entry) {
    if let Ok(Key::Ticket(seat)) = keys.decode(&entry.key)
        && is_for(&seat.spot, attachment)
        && let Ok((_, ticket)) = record::decode_ticket(&seat, &entry.value)
    {
        entry.value = record::encode_ticket(attachment, &ticket);
    }
}

fn is_for(spot: &Spot, attachment: &Attachment) -> bool {
    match spot {
        Spot::Shared(number) => *number == Spot::number_of(attachment),
        Spot::Own(of) => of == attachment,
    }
}

fn is_own(keys: &Keys, of: Option<&Attachment>, key: &[u8]) -> bool {
    match keys.decode(key) {
        Ok(Key::Ticket(seat)) => of.is_some_and(|of| is_for(&seat.spot, of)),
        Ok(_) | Err(_) => false,
    }
}

/// The form of a transaction when it arrives at the store.
pub fn twist_arrival(
    bug: Option<Bug>,
    keys: &Keys,
    of: Option<&Attachment>,
    txn: &mut Txn,
    state: &State,
) {
    if bug == Some(Bug::TakenOverUnseen) {
        let unseen = |write: &&mut Write| has_no_younger(write, state);
        txn.writes
            .iter_mut()
            .filter(unseen)
            .for_each(drop_own_compares);
    }
    if Step::of_commit(txn) != Step::Batch {
        return;
    }
    for compare in &mut txn.compares {
        let Compare::Modified(key, _) = &*compare else {
            continue;
        };
        let found = match bug {
            Some(Bug::RemadeTicketServed) if is_ticket(key) && !is_own(keys, of, key) => {
                entry_at(state, key, At::Now).map(|now| Compare::Modified(now.key, now.modified))
            }
            _ => None,
        };
        if let Some(weaker) = found {
            *compare = weaker;
        }
    }
}

/// Whether a write deletes the lock unless a ticket is newer, and no ticket has come into being since.
fn has_no_younger(write: &Write, state: &State) -> bool {
    let Write::DeleteUnlessNewer {
        from,
        until,
        revision,
        ..
    } = write
    else {
        return false;
    };
    let mut tickets = state
        .entries()
        .filter(|entry| entry.key >= *from && entry.key < *until);
    tickets.all(|ticket| ticket.created <= *revision)
}

fn entry_at(state: &State, key: &[u8], at: At) -> Option<Entry> {
    let view = state.read(&[Read::Key(key.to_vec())], at).ok()?;
    view.answers.into_iter().flatten().next()
}

/// Whether one of the bugs about keys by nodes leaves `write` out.
fn is_forgotten(bug: Option<Bug>, write: &Write) -> bool {
    match write {
        Write::Put { key, .. } => bug == Some(Bug::NotOnNode) && is_on_node(key),
        Write::Delete(key) => bug == Some(Bug::LeftOnNode) && is_on_node(key),
        _ => false,
    }
}

fn is_of_cluster(compare: &Compare) -> bool {
    key_of(compare).is_some_and(is_cluster)
}

fn key_of(compare: &Compare) -> Option<&[u8]> {
    match compare {
        Compare::Absent(key)
        | Compare::Modified(key, _)
        | Compare::Created(key, _)
        | Compare::Value(key, _) => Some(key),
        Compare::NoneIn(..) => None,
    }
}

fn deletes_claims(txn: &Txn) -> bool {
    txn.writes
        .iter()
        .any(|write| matches!(write, Write::Delete(key) if is_claim(key)))
}

/// Whether a transaction frees what a claim holds, and is about no other claim and no queue. Its keys may be below any
/// prefix, as those of a real cluster are.
fn releases_alone(keys: &Keys, txn: &Txn) -> bool {
    let mut releases = false;
    for write in &txn.writes {
        match (write, keys.decode(written(write))) {
            (Write::Delete(_), Ok(Key::Claim(_))) => releases = true,
            (_, Ok(Key::Claim(_) | Key::Lock(_) | Key::Ticket(_))) => return false,
            _ => {}
        }
    }
    releases
}

fn written(write: &Write) -> &[u8] {
    match write {
        Write::Put { key, .. }
        | Write::Rewrite { key, .. }
        | Write::Touch(key)
        | Write::Delete(key)
        | Write::Ensure { key, .. }
        | Write::DeleteUnlessNewer { key, .. } => key,
    }
}

fn is_open(keys: &Keys, key: &[u8]) -> bool {
    matches!(keys.decode(key), Ok(Key::Open(_)))
}

/// A block that would move from `from` to `to` stays where it is, with this value.
fn stay(txn: &mut Txn, from: &[u8], to: &[u8], stays: &[u8]) {
    let stands = |key: &[u8], part: &[u8]| key.get(2..).is_some_and(|rest| rest.starts_with(part));
    let deleted: Vec<Vec<u8>> = txn
        .writes
        .iter()
        .filter_map(|write| match write {
            Write::Delete(key) if stands(key, from) => Some(key.clone()),
            _ => None,
        })
        .collect();
    for old in deleted {
        let new = [&old[..2], to, &old[2 + from.len()..]].concat();
        txn.writes
            .retain(|write| !matches!(write, Write::Delete(key) if *key == old));
        for write in &mut txn.writes {
            if let Write::Put { key, value, .. } = write
                && *key == new
            {
                key.clone_from(&old);
                *value = stays.to_vec();
            }
        }
    }
}

/// A lock that is put is offered to one who never was.
fn offer_nobody(write: &mut Write) {
    let nobody = Lock {
        sender: 0,
        attachment: Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new("nobody").expect("a name"),
            interface: "eth0".to_owned(),
        },
        verb: QueuedVerb::Add,
    };
    if let Write::Put { key, value, .. } = write
        && is_lock(key)
    {
        *value = record::encode_lock(&nobody);
    }
}

/// Of a commit that claims several addresses, what claims the first alone.
fn first_half(txn: &Txn) -> Option<Txn> {
    let mut half = txn.clone();
    for write in &mut half.writes {
        if let Write::Put { key, value, .. } = write
            && is_claim(key)
        {
            let mut claim = record::decode_claim(value).expect("a claim of ours");
            if claim.held.len() < 2 {
                return None;
            }
            claim.held.truncate(1);
            *value = record::encode_claim(&claim);
            half.then.clear();
            return Some(half);
        }
    }
    None
}

/// The changed request of an ADD.
pub fn twist_ask(bug: Option<Bug>, ask: &mut Ask) {
    if bug == Some(Bug::NetworkForgotten) {
        ask.attachment.network = Name::new("net").expect("a name");
    }
    ask.may_take_over &= bug != Some(Bug::PodForgotten);
    for want in &mut ask.wants {
        let cidr = Interval::of(want.range.cidr);
        if want.choice == Choice::Lowest {
            twist_intervals(bug, cidr, &mut want.usable);
        }
    }
}

fn twist_intervals(bug: Option<Bug>, cidr: Interval, intervals: &mut Vec<Interval>) {
    let (first, last) = (intervals[0], intervals[intervals.len() - 1]);
    let ends_at = |interval: Interval, end| Interval::new(interval.first(), end);
    match bug {
        Some(Bug::EndsTooLate) => {
            let end = last.last().successor().filter(|end| cidr.contains(*end));
            intervals.pop();
            intervals.push(end.and_then(|end| ends_at(last, end)).unwrap_or(last));
        }
        Some(Bug::BeginsTooEarly) => {
            let begin = first.first().predecessor();
            let begin = begin.filter(|begin| cidr.contains(*begin));
            intervals[0] = begin
                .and_then(|begin| Interval::new(begin, first.last()))
                .unwrap_or(first);
        }
        Some(Bug::BlockEndForgotten) => {
            *intervals = intervals
                .iter()
                .flat_map(|whole| without_block_ends(*whole))
                .collect();
        }
        Some(Bug::ExclusionForgotten) => {
            let block = first.blocks().0;
            let later = intervals
                .iter()
                .position(|interval| interval.blocks().1 > block);
            if let Some(later) = later {
                intervals[later] = ends_at(intervals[later], last.last()).expect("in order");
                intervals.truncate(later + 1);
            }
        }
        _ => {}
    }
}

/// The parts of an interval before the last address of each of its first blocks, and the rest.
fn without_block_ends(mut rest: Interval) -> Vec<Interval> {
    let mut parts = Vec::new();
    for _ in 0..8 {
        let block = rest.blocks().0;
        let next = block.successor().map(|next| next.address(0));
        let part = Interval::new(rest.first(), block.address(u8::MAX - 1));
        let after = next.and_then(|next| Interval::new(next, rest.last()));
        let (Some(part), Some(after)) = (part, after) else {
            break;
        };
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

/// The changed attachment and ranges of a DEL.
pub fn twist_del(bug: Option<Bug>, attachment: &mut Attachment, queues: &mut Vec<RangeId>) {
    match bug {
        Some(Bug::NetworkForgotten) => attachment.network = Name::new("net").expect("a name"),
        Some(Bug::DelLeavesTicket) => queues.clear(),
        _ => {}
    }
}
