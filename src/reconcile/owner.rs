//! Which durable owners end, because no StatefulSet wants their pods any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use whereabouts_core::allocator::{Revision, Stored};
use whereabouts_core::durable::{DurableOwner, OwnerState, stateful_name};

use crate::absence::Absences;
use crate::claim::{PodName, is_object_name};
use crate::judge::{Rules, Standing, Stay};
use crate::observation::Answer;
use crate::run::{Judged, Run};

/// The place of a StatefulSet in the API server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// The ordinals of the pods that a StatefulSet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordinals {
    /// `spec.ordinals.start`: the first one.
    pub start: u32,
    /// `spec.replicas`: their number.
    pub replicas: u32,
}

/// What a live GET of a StatefulSet's name found: its ordinals, no StatefulSet, or an error.
pub type SetAnswer = Result<Option<Ordinals>, String>;

/// A durable owner, as it was read before any question to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedOwner {
    /// The owner.
    pub owner: DurableOwner,
    /// The revision of its last write. Its end checks it.
    pub revision: Revision,
    /// Whether no attachment has its addresses.
    pub is_at_rest: bool,
}

/// Why nothing wants a durable owner any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerEvidence {
    /// No StatefulSet has the name.
    SetGone,
    /// The StatefulSet of that name does not want the ordinal.
    OrdinalUnwanted,
}

/// A round that has begun: the owners are read, and nothing has been asked yet.
#[derive(Debug)]
pub struct OwnerRound {
    candidates: Vec<Candidate>,
    total: usize,
}

#[derive(Debug)]
struct Candidate {
    ordinal: u32,
    owner: JudgedOwner,
    pod: PodName,
    set: SetName,
}

/// How long the answers of a round prove that nothing wants an owner. A StatefulSet can be made again.
pub const OWNER_EVIDENCE_LASTS: Duration = Duration::from_secs(12);

/// The live answers of one round. All questions were asked after the owners had been read.
#[derive(Clone, Debug)]
pub struct OwnerLook {
    /// A moment before the first question.
    pub begun: Duration,
    /// A moment after the last answer.
    pub ended: Duration,
    /// StatefulSets, by name.
    pub sets: BTreeMap<SetName, SetAnswer>,
    /// Pods, by name.
    pub pods: BTreeMap<PodName, Answer>,
}

/// A durable owner at rest, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerJudgement {
    /// The owner as it was read.
    pub owner: JudgedOwner,
    /// Its standing after this round.
    pub standing: Standing<OwnerEvidence>,
}

/// What earlier rounds saw, and the rules.
#[derive(Debug)]
pub struct OwnerJudge {
    grace: Duration,
    absences: Absences<DurableOwner>,
    run: Run<DurableOwner>,
}

impl Ordinals {
    fn want(self, ordinal: u32) -> bool {
        let place = ordinal.checked_sub(self.start);
        place.is_some_and(|place| place < self.replicas)
    }
}

impl JudgedOwner {
    /// The judged part of `owner`.
    pub fn of(owner: &DurableOwner, state: &Stored<OwnerState>) -> Self {
        Self {
            owner: owner.clone(),
            revision: state.modified,
            is_at_rest: matches!(state.value, OwnerState::Resting { .. }),
        }
    }
}

impl Judged for OwnerJudgement {
    type Key = DurableOwner;
    type Evidence = OwnerEvidence;

    fn record(&self) -> (&DurableOwner, Revision) {
        (&self.owner.owner, self.owner.revision)
    }

    fn standing(&mut self) -> &mut Standing<OwnerEvidence> {
        &mut self.standing
    }
}

impl OwnerEvidence {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::SetGone, Self::OrdinalUnwanted];

    /// Its name in logs, events and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::SetGone => "stateful-set-gone",
            Self::OrdinalUnwanted => "ordinal-unwanted",
        }
    }
}

impl fmt::Display for OwnerEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Candidate {
    /// `None` if an attachment has the owner's addresses, or if the API server cannot tell who wants them: a name without
    /// an ordinal belongs to no StatefulSet. Such an owner stays.
    fn of(owner: JudgedOwner) -> Option<Self> {
        let DurableOwner { namespace, pod, .. } = &owner.owner;
        let (set, ordinal) = stateful_name(pod)?;
        let can_be_asked = [namespace, pod, set].into_iter().all(is_object_name);
        if !owner.is_at_rest || !can_be_asked {
            return None;
        }
        let set = SetName {
            namespace: namespace.clone(),
            name: set.to_owned(),
        };
        let pod = PodName {
            namespace: namespace.clone(),
            name: pod.clone(),
        };
        Some(Self {
            ordinal,
            owner,
            pod,
            set,
        })
    }

    /// Why the StatefulSet does not want the pod; or why the owner stays.
    fn unwanted(&self, set: Option<&SetAnswer>) -> Result<OwnerEvidence, Stay> {
        let unasked = || Stay::Unknown("its StatefulSet was not asked for".to_owned());
        match set.ok_or_else(unasked)? {
            Err(reason) => Err(Stay::Unknown(reason.clone())),
            Ok(Some(ordinals)) if ordinals.want(self.ordinal) => Err(Stay::OrdinalWanted),
            Ok(Some(_)) => Ok(OwnerEvidence::OrdinalUnwanted),
            Ok(None) => Ok(OwnerEvidence::SetGone),
        }
    }

    /// Why nothing wants the owner by the answers of one look; or why it stays. A pod of the name keeps the owner, whoever
    /// made it: a StatefulSet that is made again adopts the pods of the old one.
    fn evidence(&self, look: &OwnerLook) -> Result<OwnerEvidence, Stay> {
        let evidence = self.unwanted(look.sets.get(&self.set))?;
        let unasked = || Stay::Unknown("its pod was not asked for".to_owned());
        match look.pods.get(&self.pod).ok_or_else(unasked)? {
            Err(reason) => Err(Stay::Unknown(reason.clone())),
            Ok(Some(_)) => Err(Stay::PodPresent),
            Ok(None) => Ok(evidence),
        }
    }
}

impl OwnerRound {
    /// The StatefulSets to ask for.
    pub fn sets(&self) -> BTreeSet<&SetName> {
        let candidates = self.candidates.iter();
        candidates.map(|candidate| &candidate.set).collect()
    }

    /// The pods to ask for: those that no StatefulSet wants.
    pub fn pods(&self, sets: &BTreeMap<SetName, SetAnswer>) -> BTreeSet<&PodName> {
        let candidates = self.candidates.iter();
        candidates
            .filter(|candidate| candidate.unwanted(sets.get(&candidate.set)).is_ok())
            .map(|candidate| &candidate.pod)
            .collect()
    }
}

impl OwnerJudge {
    /// A judge that has seen nothing.
    pub fn new(rules: Rules) -> Self {
        Self {
            grace: rules.grace,
            absences: Absences::default(),
            run: Run::new(&rules),
        }
    }

    /// Begins a round with all durable owners, as they have just been read.
    pub fn begin(&mut self, owners: impl IntoIterator<Item = JudgedOwner>) -> OwnerRound {
        let mut total = 0;
        let owners = owners.into_iter().inspect(|_| total += 1);
        let candidates = owners.filter_map(Candidate::of).collect();
        OwnerRound { candidates, total }
    }

    /// Ends a round with the answers to its questions, and tells of each owner at rest what all rounds prove together.
    pub fn decide(&mut self, round: OwnerRound, look: &OwnerLook) -> Vec<OwnerJudgement> {
        let earlier = std::mem::take(&mut self.absences);
        let mut judgements: Vec<(Duration, OwnerJudgement)> = Vec::new();
        for candidate in round.candidates {
            let (since, standing) = self.judge(&candidate, &earlier, look);
            let owner = candidate.owner;
            judgements.push((since, OwnerJudgement { owner, standing }));
        }
        self.run.allot(judgements, round.total, look.begun)
    }

    /// Counts the end of `owner`, as it was judged. Each end that was tried is told, by this or by the next one.
    pub fn ended(&mut self, owner: &JudgedOwner) {
        self.run.succeeded(&owner.owner);
    }

    /// Notes that the end of `owner`, as it was judged, has failed now. The owner comes after all others in later rounds.
    pub fn failed(&mut self, owner: &JudgedOwner, now: Duration) {
        self.run.failed(&owner.owner, owner.revision, now);
    }

    /// The moment from which on another round can prove more; `None` if nothing is being waited for.
    pub fn due(&self, judgements: &[OwnerJudgement]) -> Option<Duration> {
        let standings = judgements.iter().map(|judgement| &judgement.standing);
        self.run.due(standings)
    }

    /// The standing of an owner, and the first look that found it unwanted.
    fn judge(
        &mut self,
        candidate: &Candidate,
        earlier: &Absences<DurableOwner>,
        look: &OwnerLook,
    ) -> (Duration, Standing<OwnerEvidence>) {
        let evidence = match candidate.evidence(look) {
            Ok(evidence) => evidence,
            Err(stay) => return (look.ended, Standing::InUse(stay)),
        };
        let JudgedOwner {
            owner, revision, ..
        } = &candidate.owner;
        let since = self
            .absences
            .note(earlier, owner.clone(), *revision, look.ended);
        let due = since + self.grace;
        let standing = if due <= look.begun {
            Standing::Releasable(evidence)
        } else {
            Standing::Waiting(due)
        };
        (since, standing)
    }
}
