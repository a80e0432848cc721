//! The decision: from what was read and what is asked for, to what to write. Pure.
//!
//! [`decide`] serves demands in order, as many as one transaction can hold. What it writes down in
//! a [`Plan`] is valid only if everything it looked at still holds at the commit: the plan carries
//! those conditions. Nothing here knows of etcd, of time, or of why something is asked for.

mod sheet;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::address::{Bitmap, BlockId, Interval, Pool, Slot};
use crate::claim::{Ask, Attachment, Choice, Claim, Held, QueueId, Want};
use crate::draft::Draft;
use crate::limits;
use crate::snapshot::{BlockState, Query, Snapshot, Stored};
use crate::store::Revision;
use crate::store::keys::Key;
use crate::store::record::{self, Shortage};
use sheet::{Sheet, Unknown};

/// Something that is to be decided.
#[derive(Clone, Debug)]
pub enum Demand {
    /// Give addresses: all that are wanted, or none.
    Take(Ask),
    /// Take back a claim.
    Release {
        /// Whose.
        attachment: Attachment,
        /// What it holds, as it was read.
        held: Vec<Held>,
        /// The revision of the claim at which that was so.
        modified: Revision,
    },
}

impl Demand {
    /// Whose demand it is.
    pub fn attachment(&self) -> &Attachment {
        match self {
            Self::Take(ask) => &ask.attachment,
            Self::Release { attachment, .. } => attachment,
        }
    }

    /// The queues of the ranges it is about; at least one.
    pub fn queues(&self) -> BTreeSet<QueueId> {
        match self {
            Self::Take(ask) => ask.wants.iter().map(|want| want.range.clone()).collect(),
            Self::Release { held, .. } => held.iter().map(|held| held.range.clone()).collect(),
        }
    }

    /// What tells whose the store is, for a demand that the commit carries out only in the own cluster's: to take. What
    /// was taken is released whatever the cluster is called by now.
    pub fn whose_store(&self) -> Option<Query> {
        match self {
            Self::Take(_) => Some(Query::Cluster),
            Self::Release { .. } => None,
        }
    }

    /// The blocks to read for a first decision. One read is nearly always enough.
    pub fn block_queries(&self, reach: Reach) -> BTreeSet<Query> {
        match self {
            Self::Take(ask) => block_queries(&ask.wants, reach),
            Self::Release { held, .. } => held
                .iter()
                .flat_map(|held| Query::block(&held.slot()))
                .collect(),
        }
    }
}

/// How far a decision may step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is about one demand, which takes one address of each range.
    OneDemand,
    /// It is about many, which may fill several blocks.
    Batch,
}

/// The blocks to read for a first decision on `wants`.
pub fn block_queries(wants: &[Want], reach: Reach) -> BTreeSet<Query> {
    let share = (limits::INTERVALS_PER_READ / wants.len().max(1)).max(1);
    let queries = wants.iter().flat_map(|want| match &want.choice {
        Choice::Exactly(address) => Query::block(&Slot::of(&want.range.pool, *address)).to_vec(),
        Choice::Lowest(intervals) => intervals
            .iter()
            .take(share)
            .flat_map(|interval| interval_queries(&want.range.pool, *interval, reach))
            .collect(),
    });
    queries.collect()
}

fn interval_queries(pool: &Pool, interval: Interval, reach: Reach) -> Vec<Query> {
    let (first, last) = interval.blocks();
    let from = Slot {
        pool: pool.clone(),
        block: first,
    };
    match reach {
        Reach::OneDemand => {
            // An open first block, or else the first open one after it, has a free bit for it; but
            // where the interval begins inside a block, that one's free bits may lie before it.
            let inside = interval.first().bit() > u8::from(first.base().ends_in_zero());
            let open = Query::Open {
                from: from.clone(),
                through: last,
                limit: if inside { 2 } else { 1 },
            };
            vec![Query::Full(from), open]
        }
        Reach::Batch => search_queries(&from, last),
    }
}

/// What a search from `from` to `through` may look at: the first block, the one after it, and the
/// next open ones.
fn search_queries(from: &Slot, through: BlockId) -> Vec<Query> {
    let after = from.successor().filter(|next| next.block <= through);
    let full = [Some(from.clone()), after]
        .into_iter()
        .flatten()
        .map(Query::Full);
    let limit = limits::OPEN_BLOCKS_PER_READ;
    let open = Query::Open {
        from: from.clone(),
        through,
        limit,
    };
    full.chain([open]).collect()
}

/// What is decided of a demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The addresses, which the plan's commit claims.
    Granted(Vec<Held>),
    /// The attachment holds what it asks for already.
    Held(Claim),
    /// The attachment holds something else.
    HoldsOther(Claim),
    /// Not to be had, at the snapshot's revision.
    Short(Shortage),
    /// The claim, which the plan's commit removes.
    Released,
    /// There is no claim to remove.
    NothingHeld,
    /// The claim is not the one that was to be released.
    ClaimChanged(Stored<Claim>),
}

impl Verdict {
    /// What `claim`, which the attachment has already, means for `ask`.
    pub fn on_claim(ask: &Ask, claim: &Claim) -> Self {
        let claim = claim.clone();
        if ask.is_met_by(&claim) {
            Self::Held(claim)
        } else {
            Self::HoldsOther(claim)
        }
    }
}

/// Compares and operations that demands may use in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Compares.
    pub compares: usize,
    /// Writes, and reads among the writes.
    pub operations: usize,
}

/// What is decided: verdicts for the first demands, and what one transaction writes for them.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// One verdict for each of the first demands, in order. The demands beyond are undecided.
    pub verdicts: Vec<Verdict>,
    /// What the first undecided demand needs to know, if that is why it is undecided.
    pub missing: Vec<Query>,
    blocks: BTreeMap<Slot, Change>,
    ensured: BTreeSet<Slot>,
    given: Vec<Grant>,
    released: Vec<(Attachment, Revision)>,
}

/// A block that a plan writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    was: BlockState,
    now: Bitmap,
}

/// A claim that a plan makes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    ask: Ask,
    held: Vec<Held>,
}

/// Serves `demands` in order from `snapshot`: as many as fit `budget`, at least one if what it
/// needs was read. Stops at the first that cannot be judged on the snapshot alone.
pub fn decide(snapshot: &Snapshot, demands: &[Demand], budget: Budget) -> Plan {
    let mut sheet = Sheet::new(snapshot);
    let mut plan = Plan::default();
    let mut seen = BTreeSet::new();
    for demand in demands {
        if !seen.insert(demand.attachment()) {
            break;
        }
        let before = sheet.clone();
        let verdict = match judge(&mut sheet, demand) {
            Ok(verdict) => verdict,
            Err(Unknown(queries)) => {
                sheet = before;
                plan.missing = queries;
                break;
            }
        };
        let short_of_unmodified = !matches!(verdict, Verdict::Short(_)) || before.is_untouched();
        let fits = plan.verdicts.is_empty() || sheet.cost(seen.len()).fits(budget);
        if !(short_of_unmodified && fits) {
            sheet = before;
            break;
        }
        match (demand, &verdict) {
            (Demand::Take(ask), Verdict::Granted(held)) => {
                plan.given.push(Grant {
                    ask: ask.clone(),
                    held: held.clone(),
                });
            }
            (
                Demand::Release {
                    attachment,
                    modified,
                    ..
                },
                Verdict::Released,
            ) => {
                plan.released.push((attachment.clone(), *modified));
            }
            (Demand::Take(_) | Demand::Release { .. }, _) => {}
        }
        plan.verdicts.push(verdict);
    }
    (plan.blocks, plan.ensured) = sheet.into_changes();
    plan
}

fn judge(sheet: &mut Sheet<'_>, demand: &Demand) -> Result<Verdict, Unknown> {
    match demand {
        Demand::Take(ask) => judge_take(sheet, ask),
        Demand::Release {
            attachment,
            held,
            modified,
        } => {
            match sheet.snapshot().claim(attachment) {
                Ok(None) => return Ok(Verdict::NothingHeld),
                Ok(Some(claim)) if claim.modified != *modified => {
                    return Ok(Verdict::ClaimChanged(claim.clone()));
                }
                // Not read: the commit checks that the claim is still the one of the demand.
                Ok(Some(_)) | Err(_) => {}
            }
            for held in held {
                sheet.free(&held.slot(), held.address.bit())?;
            }
            Ok(Verdict::Released)
        }
    }
}

fn judge_take(sheet: &mut Sheet<'_>, ask: &Ask) -> Result<Verdict, Unknown> {
    // Not read: the commit checks that there is no claim.
    if let Ok(Some(claim)) = sheet.snapshot().claim(&ask.attachment) {
        return Ok(Verdict::on_claim(ask, &claim.value));
    }
    let untouched = sheet.clone();
    Ok(match take_all(sheet, &ask.wants)? {
        Ok(held) => Verdict::Granted(held),
        Err(shortage) => {
            *sheet = untouched;
            Verdict::Short(shortage)
        }
    })
}

fn take_all(sheet: &mut Sheet<'_>, wants: &[Want]) -> Result<Result<Vec<Held>, Shortage>, Unknown> {
    let mut held = Vec::with_capacity(wants.len());
    for Want { range, choice } in wants {
        let found = match choice {
            Choice::Lowest(intervals) => sheet
                .lowest_free(&range.pool, intervals)?
                .ok_or_else(|| Shortage::Exhausted(range.clone())),
            Choice::Exactly(address) => {
                let taken = sheet.is_taken(&Slot::of(&range.pool, *address), address.bit())?;
                let wanted = Held {
                    range: range.clone(),
                    address: *address,
                };
                if taken {
                    Err(Shortage::Taken(wanted))
                } else {
                    Ok(*address)
                }
            }
        };
        let address = match found {
            Ok(address) => address,
            Err(shortage) => return Ok(Err(shortage)),
        };
        sheet.take(&Slot::of(&range.pool, address), address.bit())?;
        held.push(Held {
            range: range.clone(),
            address,
        });
    }
    Ok(Ok(held))
}

/// Why `wants` could not be served, as far as `snapshot` tells; `None` also when it does not.
pub fn shortage(snapshot: &Snapshot, wants: &[Want]) -> Option<Shortage> {
    take_all(&mut Sheet::new(snapshot), wants).ok()?.err()
}

impl Budget {
    fn fits(self, budget: Self) -> bool {
        self.compares <= budget.compares && self.operations <= budget.operations
    }
}

impl Plan {
    /// Whether the plan writes nothing to blocks and claims.
    pub fn writes_nothing(&self) -> bool {
        self.blocks.is_empty() && self.given.is_empty() && self.released.is_empty()
    }

    /// Adds the plan's conditions and writes to a transaction. `created` is the time for its claims.
    pub fn write(&self, draft: &mut Draft<'_>, created: Duration) {
        for (slot, change) in &self.blocks {
            let (open, full) = (Key::Open(slot.clone()), Key::Full(slot.clone()));
            let now_full = change.now.is_full(slot.block.family());
            let (key, other) = if now_full {
                (&full, &open)
            } else {
                (&open, &full)
            };
            match change.was {
                BlockState::Absent => draft.absent(&open).absent(&full),
                BlockState::Open(_, revision) => draft.modified(&open, revision),
                BlockState::Full(_, revision) => draft.modified(&full, revision),
            };
            let moves = match change.was {
                BlockState::Absent => false,
                BlockState::Open(..) => now_full,
                BlockState::Full(..) => !now_full,
            };
            if moves {
                draft.delete(other);
            }
            let value = if now_full {
                record::encode_full()
            } else {
                record::encode_block(&change.now)
            };
            draft.put(key, value);
        }
        for slot in &self.ensured {
            let (open, full) = (Key::Open(slot.clone()), Key::Full(slot.clone()));
            draft.ensure(&open, &full, record::encode_block(&Bitmap::EMPTY));
        }
        if !self.given.is_empty() {
            draft.in_own_cluster();
        }
        for Grant { ask, held } in &self.given {
            let key = Key::Claim(ask.attachment.clone());
            let claim = Claim {
                held: held.clone(),
                owner: ask.owner.clone(),
                created,
            };
            draft.absent(&key).put(&key, record::encode_claim(&claim));
        }
        for (attachment, modified) in &self.released {
            let key = Key::Claim(attachment.clone());
            draft.modified(&key, *modified).delete(&key);
        }
    }

    /// Adds what makes this plan, which writes something, impossible to commit ever after: a claim
    /// or a block that it relies on is written with the value it had, and so has a new revision.
    pub fn write_fence(&self, draft: &mut Draft<'_>) {
        if let Some((attachment, modified)) = self.released.first() {
            let key = Key::Claim(attachment.clone());
            draft.modified(&key, *modified).touch(&key);
            return;
        }
        let (slot, change) = self
            .blocks
            .first_key_value()
            .expect("a plan that writes releases a claim or takes bits of a block");
        let (open, full) = (Key::Open(slot.clone()), Key::Full(slot.clone()));
        match change.was {
            BlockState::Absent => draft
                .absent(&open)
                .absent(&full)
                .put(&open, record::encode_block(&Bitmap::EMPTY)),
            BlockState::Open(_, revision) => draft.modified(&open, revision).touch(&open),
            BlockState::Full(_, revision) => draft.modified(&full, revision).touch(&full),
        };
    }
}
