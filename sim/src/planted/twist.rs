//! Where the bugs are planted: what passes between the production code and the cluster, changed.

use whereabouts::address::{Address, Bitmap, Family, Interval, Name};
use whereabouts::claim::{Ask, Choice};
use whereabouts::store::keys::{Key, Keys};
use whereabouts::store::record;
use whereabouts::store::{At, CommitError, Compare, Outcome, Txn, Unavailable, View, Write};

use super::Bug;
use crate::process::{Identity, Job};
use crate::step::{Step, Verb, is_block, is_claim, is_ticket};

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

/// What a process is told.
pub fn twist_view(bug: Option<Bug>, identity: &Identity, view: &mut View) {
    for answer in &mut view.answers {
        match bug {
            Some(Bug::ServedOutOfOrder) if answer.len() > 2 && is_ticket(&answer[0].key) => {
                answer[1..].reverse();
            }
            Some(Bug::GcOfOtherNodes) if identity.verb == Verb::Gc => {
                for entry in answer.iter_mut().filter(|entry| is_claim(&entry.key)) {
                    let mut claim = record::decode_claim(&entry.value).expect("a claim of ours");
                    claim.owner.node = Some(format!("node{}", identity.node.0));
                    entry.value = record::encode_claim(&claim);
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
    match (bug, result) {
        (Some(Bug::UnknownAsFailure), Err(CommitError::Unknown(reason))) => {
            Err(Unavailable::Later(reason).into())
        }
        (Some(Bug::UnknownAsSuccess), Err(CommitError::Unknown(_))) if step == Step::Commit => {
            let answers = vec![Vec::new(); txn.then.len()];
            Ok(Outcome::Done(View {
                revision: 1,
                cluster: 0,
                answers,
            }))
        }
        (_, result) => result,
    }
}

/// The transactions that are sent for one.
pub fn twist_txn(bug: Option<Bug>, keys: &Keys, identity: &Identity, txn: &Txn) -> Vec<Piece> {
    let step = Step::of_commit(txn);
    let mut twisted = txn.clone();
    let mut drop_compares = |unwanted: &dyn Fn(&Compare) -> bool| {
        twisted.compares.retain(|compare| !unwanted(compare));
    };
    let of_block = |compare: &Compare| key_of(compare).is_some_and(is_block);
    let own = |key: &[u8]| match keys.decode(key) {
        Ok(Key::Ticket(id)) => Some(&id.attachment) == identity.attachment.as_ref(),
        Ok(_) | Err(_) => false,
    };
    match (bug, step) {
        (Some(Bug::BlockUnchecked), _) => drop_compares(&of_block),
        (Some(Bug::AbsentBlockHalfChecked), _) => drop_compares(
            &|compare| matches!(compare, Compare::Absent(key) if key.get(2..).is_some_and(|k| k.starts_with(b"/full/"))),
        ),
        (Some(Bug::ClaimUnchecked), _) => {
            drop_compares(&|compare| matches!(compare, Compare::Absent(key) if is_claim(key)));
        }
        (Some(Bug::QueueUnchecked), Step::Commit)
        | (Some(Bug::LeavesWithoutLooking), Step::Leave) => {
            drop_compares(&|compare| matches!(compare, Compare::NoneIn(..)));
        }
        (Some(Bug::HolderUnfenced), Step::Batch) => {
            drop_compares(&|compare| matches!(compare, Compare::Modified(key, _) if own(key)));
        }
        (Some(Bug::CancelledTicketServed), Step::Batch) => drop_compares(
            &|compare| matches!(compare, Compare::Modified(key, _) if is_ticket(key) && !own(key)),
        ),
        (Some(Bug::TicketOverwritten), Step::Join) => {
            drop_compares(&|compare| matches!(compare, Compare::Absent(key) if is_ticket(key)));
        }
        (Some(Bug::TicketOverwritten), Step::Batch) => {
            drop_compares(&|compare| matches!(compare, Compare::Modified(key, _) if own(key)));
        }
        (Some(Bug::ReleaseUnguarded), Step::Commit | Step::Batch) if deletes_claims(txn) => {
            drop_compares(&|compare| {
                of_block(compare) || matches!(compare, Compare::Modified(key, _) if is_claim(key))
            });
        }
        (Some(Bug::FenceForgotten), Step::Fence) => {
            twisted.writes.clear();
            twisted.compares.clear();
            twisted.then.clone_from(&txn.otherwise);
        }
        (Some(Bug::NextNotTouched), Step::Leave | Step::Batch) => {
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
            Write::Rewrite { .. } | Write::Touch(_) | Write::Delete(_) => true,
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

fn key_of(compare: &Compare) -> Option<&[u8]> {
    match compare {
        Compare::Absent(key) | Compare::Modified(key, _) | Compare::Created(key, _) => Some(key),
        Compare::NoneIn(..) => None,
    }
}

fn deletes_claims(txn: &Txn) -> bool {
    txn.writes
        .iter()
        .any(|write| matches!(write, Write::Delete(key) if is_claim(key)))
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

/// What a process does instead of what it should.
pub fn twist_job(bug: Option<Bug>, mut job: Job) -> Job {
    match (bug, &mut job) {
        (Some(Bug::GcWithoutList), Job::Gc(gc)) => {
            gc.valid.get_or_insert_default();
        }
        (Some(Bug::DelLeavesTicket), Job::Del(_, queues)) => queues.clear(),
        (Some(Bug::NetworkForgotten), Job::Add(ask)) => {
            ask.attachment.network = Name::new("net").expect("a name");
        }
        (Some(Bug::NetworkForgotten), Job::Del(attachment, _)) => {
            attachment.network = Name::new("net").expect("a name");
        }
        (Some(Bug::EndsTooLate), Job::Add(ask)) => change_intervals(ask, |intervals| {
            let last = intervals.last_mut().expect("never empty");
            let end = last.last().successor().unwrap_or(last.last());
            *last = Interval::new(last.first(), end).expect("longer than before");
        }),
        (Some(Bug::BeginsTooEarly), Job::Add(ask)) => change_intervals(ask, |intervals| {
            let begin = |address: Address| address.predecessor().unwrap_or(address);
            let first = &mut intervals[0];
            *first = Interval::new(begin(first.first()), first.last()).expect("longer than before");
        }),
        (Some(Bug::ExclusionForgotten), Job::Add(ask)) => change_intervals(ask, |intervals| {
            let first = intervals[0].blocks().0;
            let end = intervals[intervals.len() - 1].last();
            let later = intervals
                .iter()
                .position(|interval| interval.blocks().1 > first);
            if let Some(later) = later {
                intervals[later] =
                    Interval::new(intervals[later].first(), end).expect("longer than before");
                intervals.truncate(later + 1);
            }
        }),
        _ => {}
    }
    job
}

fn change_intervals(ask: &mut Ask, change: impl Fn(&mut Vec<Interval>)) {
    for want in &mut ask.wants {
        if let Choice::Lowest(intervals) = &mut want.choice {
            change(intervals);
        }
    }
}
