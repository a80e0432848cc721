//! The decision: from facts and demands to a plan of writes. Pure.
//!
//! [`decide`] serves demands in order, as many as fit into one transaction. A [`Plan`] is valid
//! only if all facts behind it still hold at the commit. So the plan carries these conditions. This
//! module knows nothing of etcd, of time, or of the reason for a demand.

mod facts;
mod predecessors;
mod sheet;

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{Bitmap, BlockId, BlockKey, Interval, Pool};
use crate::claim::{Ask, Attachment, Choice, Claim, Held, Home, RangeId, Want};
use crate::limits;
pub use facts::{BlockState, Facts, NotRead, OpenAndFull, Question, Revision, Stored};
pub use predecessors::Predecessors;
use sheet::{Sheet, Unknown};

/// A request that needs a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Takes addresses: all of the wants, or none.
    Take(Ask),
    /// Releases a claim.
    Release {
        /// The attachment of the claim.
        attachment: Attachment,
        /// The addresses of the claim when it was read.
        held: Vec<Held>,
        /// The home of the claim when it was read.
        home: Option<Home>,
        /// The revision of the claim when it was read.
        modified: Revision,
    },
}

impl Demand {
    /// The attachment of the demand.
    pub fn attachment(&self) -> &Attachment {
        match self {
            Self::Take(ask) => &ask.attachment,
            Self::Release { attachment, .. } => attachment,
        }
    }

    /// The verdict, if the claim of the attachment alone tells it.
    pub fn decided_by(&self, claim: Option<&Stored<Claim>>) -> Option<Verdict> {
        match (self, claim) {
            (Self::Take(_), None) => None,
            (Self::Take(ask), Some(claim)) => Some(Verdict::on_claim(ask, &claim.value)),
            (Self::Release { .. }, None) => Some(Verdict::NothingHeld),
            (Self::Release { modified, .. }, Some(claim)) => {
                (claim.modified != *modified).then(|| Verdict::ClaimChanged(claim.clone()))
            }
        }
    }

    /// The queues of the ranges of the demand; at least one.
    pub fn queues(&self) -> BTreeSet<RangeId> {
        match self {
            Self::Take(ask) => ask.wants.iter().map(|want| want.range.clone()).collect(),
            Self::Release { held, .. } => held.iter().map(|held| held.range.clone()).collect(),
        }
    }

    /// The blocks to read before the first decision. One read is nearly always enough.
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

/// The size of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One demand, which takes one address of each range.
    OneDemand,
    /// Many demands, which may fill several blocks.
    Batch,
}

/// The blocks to read before the first decision on `wants`.
pub fn block_questions(wants: &[Want], reach: Reach) -> BTreeSet<Question> {
    let share = (limits::INTERVALS_PER_READ / wants.len().max(1)).max(1);
    let queries = wants.iter().flat_map(|want| match &want.choice {
        Choice::Exactly(address) => {
            Question::block(&BlockKey::of(&want.range.pool, *address)).to_vec()
        }
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
    let from = BlockKey {
        pool: pool.clone(),
        block: first,
    };
    match reach {
        Reach::OneDemand => {
            // Usually the first block, or the first open block after it, has a free bit for the
            // demand. But an interval may begin inside its first block, and the free bits of that
            // block may lie before the interval.
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

/// The blocks that a search from `from` to `through` may need: the first block, the one after it,
/// and the next open ones.
fn search_questions(from: &BlockKey, through: BlockId) -> Vec<Question> {
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

/// The decision on one demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The granted addresses. The commit of the plan claims them.
    Granted(Vec<Held>),
    /// The addresses that this attachment of the same pod held. The commit of the plan moves its claim.
    TakenOver(Attachment, Vec<Held>),
    /// The attachment already holds the requested addresses.
    Held(Claim),
    /// The attachment holds other addresses.
    HoldsOther(Claim),
    /// The demand cannot be granted at the revision of the facts.
    Short(Shortage),
    /// The commit of the plan deletes the claim.
    Released,
    /// No claim exists.
    NothingHeld,
    /// The claim has changed since the demand was made.
    ClaimChanged(Stored<Claim>),
}

impl Verdict {
    /// The verdict on `ask` of an attachment that already has `claim`.
    pub fn on_claim(ask: &Ask, claim: &Claim) -> Self {
        let claim = claim.clone();
        if ask.is_met_by(&claim) {
            Self::Held(claim)
        } else {
            Self::HoldsOther(claim)
        }
    }
}

/// The reason why an ADD gets no addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// No address of the range is free.
    Exhausted(RangeId),
    /// The requested address is held by another attachment.
    Taken(Held),
}

/// The compares and the operations that demands may use in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Compares.
    pub compares: usize,
    /// Writes, and reads among the writes.
    pub operations: usize,
}

/// The verdicts on the first demands, and the writes of one transaction that carries them out.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// One verdict for each of the first demands, in order. Further demands are undecided.
    pub verdicts: Vec<Verdict>,
    /// The questions of the first undecided demand. Empty if another reason ended the decision.
    pub missing: Vec<Question>,
    /// The blocks to write.
    pub blocks: BTreeMap<BlockKey, Change>,
    /// The blocks that must exist after the commit.
    pub ensured: BTreeSet<BlockKey>,
    /// The claims to create.
    pub given: Vec<Grant>,
    /// The claims to delete.
    pub released: Vec<Release>,
}

/// A block that a plan writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state of the block as it was read.
    pub was: BlockState,
    /// The taken addresses after the commit.
    pub now: Bitmap,
}

/// A claim that a plan creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The request.
    pub ask: Ask,
    /// The addresses.
    pub held: Vec<Held>,
}

/// A claim that a plan deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The attachment of the claim.
    pub attachment: Attachment,
    /// The home of the claim.
    pub home: Option<Home>,
    /// The revision of the claim's last write.
    pub modified: Revision,
}

/// Serves `demands` in order from `facts`. It serves as many demands as fit into `budget`, and at
/// least one if its facts were read. It stops at the first demand that the facts alone cannot
/// decide.
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
                    home,
                    modified,
                    ..
                },
                Verdict::Released,
            ) => plan.released.push(Release {
                attachment: attachment.clone(),
                home: home.clone(),
                modified: *modified,
            }),
            (Demand::Take(_) | Demand::Release { .. }, _) => {}
        }
        plan.verdicts.push(verdict);
    }
    (plan.blocks, plan.ensured) = sheet.into_changes();
    plan
}

fn judge(sheet: &mut Sheet<'_>, demand: &Demand) -> Result<Verdict, Unknown> {
    // An unread claim needs no read: the commit checks that it still allows the demand.
    if let Ok(claim) = sheet.facts().claim(demand.attachment())
        && let Some(verdict) = demand.decided_by(claim)
    {
        return Ok(verdict);
    }
    match demand {
        Demand::Take(ask) => judge_take(sheet, ask),
        Demand::Release { held, .. } => {
            for held in held {
                sheet.free(&held.slot(), held.address.bit())?;
            }
            Ok(Verdict::Released)
        }
    }
}

fn judge_take(sheet: &mut Sheet<'_>, ask: &Ask) -> Result<Verdict, Unknown> {
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
                let taken = sheet.is_taken(&BlockKey::of(&range.pool, *address), address.bit())?;
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
        sheet.take(&BlockKey::of(&range.pool, address), address.bit())?;
        held.push(Held {
            range: range.clone(),
            address,
        });
    }
    Ok(Ok(held))
}

/// The reason why `wants` cannot be served. `None` also means that `facts` do not tell.
pub fn shortage(facts: &Facts, wants: &[Want]) -> Option<Shortage> {
    take_all(&mut Sheet::new(facts), wants).ok()?.err()
}

impl Budget {
    fn fits(self, budget: Self) -> bool {
        self.compares <= budget.compares && self.operations <= budget.operations
    }
}

impl Plan {
    /// The attachment whose claim the plan moves. Such a plan touches no block.
    pub fn predecessor(&self) -> Option<&Attachment> {
        match &self.verdicts[..] {
            [Verdict::TakenOver(old, _)] => Some(old),
            _ => None,
        }
    }

    /// Whether the plan writes no block and no claim.
    pub fn writes_nothing(&self) -> bool {
        self.blocks.is_empty() && self.given.is_empty() && self.released.is_empty()
    }

    /// The verdict of a plan on one demand.
    pub fn only_verdict(self) -> Verdict {
        let mut verdicts = self.verdicts.into_iter();
        verdicts.next().expect("a full decision has a verdict")
    }
}
