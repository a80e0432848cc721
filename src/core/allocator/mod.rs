//! The decision: from what was read and what is asked for, to what to write. Pure.
//!
//! [`decide`] serves demands in order, as many as one transaction can hold. What it writes down in
//! a [`Plan`] is valid only if everything it looked at still holds at the commit: the plan carries
//! those conditions. Nothing here knows of etcd, of time, or of why something is asked for.

mod facts;
mod sheet;

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{Bitmap, BlockId, Interval, Pool, Slot};
use crate::claim::{Ask, Attachment, Choice, Claim, Held, QueueId, Want};
use crate::limits;
pub use facts::{BlockState, Facts, NotRead, OpenAndFull, Question, Revision, Stored};
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

    /// The blocks to read for a first decision. One read is nearly always enough.
    pub fn block_questions(&self, reach: Reach) -> BTreeSet<Question> {
        match self {
            Self::Take(ask) => block_questions(&ask.wants, reach),
            Self::Release { held, .. } => held
                .iter()
                .flat_map(|held| Question::block(&held.slot()))
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
pub fn block_questions(wants: &[Want], reach: Reach) -> BTreeSet<Question> {
    let share = (limits::INTERVALS_PER_READ / wants.len().max(1)).max(1);
    let queries = wants.iter().flat_map(|want| match &want.choice {
        Choice::Exactly(address) => Question::block(&Slot::of(&want.range.pool, *address)).to_vec(),
        Choice::Lowest(intervals) => intervals
            .iter()
            .take(share)
            .flat_map(|interval| interval_questions(&want.range.pool, *interval, reach))
            .collect(),
    });
    queries.collect()
}

fn interval_questions(pool: &Pool, interval: Interval, reach: Reach) -> Vec<Question> {
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
            let open = Question::Open {
                from: from.clone(),
                through: last,
                limit: if inside { 2 } else { 1 },
            };
            vec![Question::Full(from), open]
        }
        Reach::Batch => search_questions(&from, last),
    }
}

/// What a search from `from` to `through` may look at: the first block, the one after it, and the
/// next open ones.
fn search_questions(from: &Slot, through: BlockId) -> Vec<Question> {
    let after = from.successor().filter(|next| next.block <= through);
    let full = [Some(from.clone()), after]
        .into_iter()
        .flatten()
        .map(Question::Full);
    let limit = limits::OPEN_BLOCKS_PER_READ;
    let open = Question::Open {
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

/// Why an ADD gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// No address of the range is free.
    Exhausted(QueueId),
    /// The requested address is held by another attachment.
    Taken(Held),
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
    pub missing: Vec<Question>,
    /// The blocks to write.
    pub blocks: BTreeMap<Slot, Change>,
    /// The blocks that must exist after the commit.
    pub ensured: BTreeSet<Slot>,
    /// The claims to make.
    pub given: Vec<Grant>,
    /// The claims to delete, each of which was last written at its revision.
    pub released: Vec<(Attachment, Revision)>,
}

/// A block that a plan writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its state as it was read.
    pub was: BlockState,
    /// What is then taken.
    pub now: Bitmap,
}

/// A claim that a plan makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// For whom.
    pub ask: Ask,
    /// The addresses.
    pub held: Vec<Held>,
}

/// Serves `demands` in order from `facts`: as many as fit `budget`, at least one if what it
/// needs was read. Stops at the first that cannot be judged on the snapshot alone.
pub fn decide(facts: &Facts, demands: &[Demand], budget: Budget) -> Plan {
    let mut sheet = Sheet::new(facts);
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
            match sheet.facts().claim(attachment) {
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
    if let Ok(Some(claim)) = sheet.facts().claim(&ask.attachment) {
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

/// Why `wants` could not be served, as far as `facts` tell; `None` also when it does not.
pub fn shortage(facts: &Facts, wants: &[Want]) -> Option<Shortage> {
    take_all(&mut Sheet::new(facts), wants).ok()?.err()
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
}
