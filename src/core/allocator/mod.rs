//! The decision: from facts and demands to a plan of writes. Pure.
//!
//! [`decide`] serves demands in order, as many as fit into one transaction. A [`Plan`] is valid
//! only if all facts behind it still hold at the commit. So the plan carries these conditions. This
//! module knows nothing of etcd, of time, or of the reason for a demand.

mod durable;
mod facts;
mod predecessors;
mod questions;
mod sheet;

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{Bitmap, BlockKey};
use crate::claim::{Ask, Attachment, Choice, Claim, Held, Home, RangeId, Want};
use crate::durable::DurableOwner;
pub use facts::{BlockState, Facts, NotRead, OpenAndFull, Question, Revision, Stored};
pub use predecessors::Predecessors;
pub use questions::{Reach, block_questions};
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
        /// The durable owner that keeps the addresses, if the claim has one.
        owner: Option<DurableOwner>,
        /// The revision of the claim when it was read.
        modified: Revision,
    },
}

impl Demand {
    /// The release of the claim of `attachment`, as it was read.
    pub fn release(attachment: &Attachment, claim: &Stored<Claim>) -> Self {
        Self::Release {
            attachment: attachment.clone(),
            held: claim.value.held.clone(),
            home: claim.value.owner.home(),
            owner: DurableOwner::of(attachment, &claim.value.owner),
            modified: claim.modified,
        }
    }

    /// The durable owner whose record the demand changes.
    pub fn durable_owner(&self) -> Option<DurableOwner> {
        match self {
            Self::Take(ask) => ask.durable_owner(),
            Self::Release { owner, .. } => owner.clone(),
        }
    }

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
            Self::Release { owner: Some(_), .. } => BTreeSet::new(),
            Self::Release { held, .. } => held
                .iter()
                .flat_map(|held| Question::block(&held.slot()))
                .collect(),
        }
    }
}

/// The decision on one demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The granted addresses. The commit of the plan claims them.
    Granted(Vec<Held>),
    /// The addresses that this attachment of the same pod held. The commit of the plan moves its claim.
    TakenOver(Attachment, Vec<Held>),
    /// The addresses that the durable owner kept. The commit of the plan gives them to the attachment.
    Revived(Vec<Held>),
    /// The durable owner keeps its addresses, and no others are given.
    Kept(DurableOwner, Kept),
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

/// The reason why a durable owner's addresses are not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// This attachment has them. Its claim is `None` if it cannot be read.
    InUse(Attachment, Option<Box<Claim>>),
    /// The request does not allow these addresses.
    Unwanted(Vec<Held>),
    /// The owner has changed since the request was made.
    Changed,
}

/// The reason why an ADD gets no addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// The durable owners to delete.
    pub ended: Vec<End>,
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
    /// The condition on the durable owner, which the commit binds to the claim; `None` of a claim without one.
    pub owner: Option<OwnerGuard>,
}

/// A condition on a durable owner, at the commit that binds it to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerGuard {
    /// There is no such owner.
    Absent,
    /// Nothing has written the owner since this revision.
    Modified(Revision),
    /// The plan releases the claim of the attachment that the owner names. Every commit that writes such an owner writes
    /// that claim, so the claim's revision says enough.
    Covered,
}

/// A claim that a plan deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The attachment of the claim.
    pub attachment: Attachment,
    /// The home of the claim.
    pub home: Option<Home>,
    /// The durable owner that rests from then on, with the addresses of the claim.
    pub rests: Option<(DurableOwner, Vec<Held>)>,
    /// The revision of the claim's last write.
    pub modified: Revision,
}

impl Release {
    /// The release that `demand` asks for.
    fn of(demand: &Demand) -> Self {
        match demand {
            Demand::Release {
                attachment,
                held,
                home,
                owner,
                modified,
            } => Self {
                attachment: attachment.clone(),
                home: home.clone(),
                rests: owner.clone().map(|owner| (owner, held.clone())),
                modified: *modified,
            },
            Demand::Take(ask) => unreachable!("{} releases nothing", ask.attachment),
        }
    }
}

/// A durable owner that a plan deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The owner.
    pub owner: DurableOwner,
    /// The revision of the owner's last write.
    pub modified: Revision,
}

/// Serves `demands` in order from `facts`. It serves as many demands as fit into `budget`, and at
/// least one if its facts were read. It stops at the first demand that the facts alone cannot
/// decide.
pub fn decide(facts: &Facts, demands: &[Demand], budget: Budget) -> Plan {
    let mut sheet = Sheet::new(facts);
    let mut plan = Plan::default();
    let mut seen = BTreeSet::new();
    let mut owners = BTreeSet::new();
    for demand in demands {
        let is_owner_new = demand
            .durable_owner()
            .is_none_or(|owner| owners.insert(owner));
        if !(seen.insert(demand.attachment()) && is_owner_new) {
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
        let fits = plan.verdicts.is_empty() || sheet.cost(seen.len(), owners.len()).fits(budget);
        if !(short_of_unmodified && fits) {
            sheet = before;
            break;
        }
        match (demand, &verdict) {
            (Demand::Take(ask), Verdict::Granted(held)) => {
                plan.given.push(Grant {
                    ask: ask.clone(),
                    held: held.clone(),
                    owner: ask.durable_owner().map(|_| OwnerGuard::Absent),
                });
            }
            (Demand::Release { .. }, Verdict::Released) => {
                plan.released.push(Release::of(demand));
            }
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
        Demand::Take(ask) => match durable::changed(ask, sheet.facts()) {
            Some(verdict) => Ok(verdict),
            None => judge_take(sheet, ask),
        },
        Demand::Release { owner: Some(_), .. } => Ok(Verdict::Released),
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
    for Want {
        range,
        usable,
        choice,
    } in wants
    {
        let found = match choice {
            Choice::Lowest => sheet
                .lowest_free(&range.pool, usable)?
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

/// The plan that ends the durable `owner`, which rests: its addresses become free. The error has the questions to ask
/// first.
pub fn end(
    facts: &Facts,
    owner: &DurableOwner,
    held: &[Held],
    modified: Revision,
) -> Result<Plan, Vec<Question>> {
    let mut sheet = Sheet::new(facts);
    for held in held {
        let freed = sheet.free(&held.slot(), held.address.bit());
        freed.map_err(|Unknown(questions)| questions)?;
    }
    let (blocks, ensured) = sheet.into_changes();
    Ok(Plan {
        blocks,
        ensured,
        ended: vec![End {
            owner: owner.clone(),
            modified,
        }],
        ..Plan::default()
    })
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
    /// The attachment whose claim the plan moves to another attachment.
    pub fn predecessor(&self) -> Option<&Attachment> {
        match &self.verdicts[..] {
            [Verdict::TakenOver(old, _)] => Some(old),
            _ => None,
        }
    }

    /// Whether the plan moves addresses from one record to another, and so touches no block.
    pub fn moves(&self) -> bool {
        self.blocks.is_empty() && !self.writes_nothing()
    }

    /// Whether the plan writes no block, no claim and no owner.
    pub fn writes_nothing(&self) -> bool {
        let claims = self.given.len() + self.released.len();
        self.blocks.is_empty() && claims == 0 && self.ended.is_empty()
    }

    /// The verdict of a plan on one demand.
    pub fn only_verdict(self) -> Verdict {
        let mut verdicts = self.verdicts.into_iter();
        verdicts.next().expect("a full decision has a verdict")
    }
}
