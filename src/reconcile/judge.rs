//! The judgement: one look after the other, and what they prove together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use whereabouts_core::allocator::Revision;
use whereabouts_core::claim::Attachment;

use crate::absence::Absences;
use crate::claim::{JudgedClaim, PodName};
use crate::history::NodeHistory;
use crate::observation::{Evidence, Look, NodeState, PodState};
use crate::run::{Judged, Run};

/// Graces for which a kubelet must have been heard of. One is not enough: a node that is cut off stays Ready for up to
/// 50 s, unnoticed, and its kubelet needs time to end the pod when it is back.
const READY_GRACES: u32 = 2;

/// How long after a look the next one can see a renewed Lease: a kubelet renews it every ten seconds.
const LEASE_RENEWAL: Duration = Duration::from_secs(11);

/// How a judge judges.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The time between two answers that are evidence together.
    pub grace: Duration,
    /// How long a run is, which may release fifty claims or a tenth of all. For durable owners it is the same.
    pub run: Duration,
    /// Whether a run may release any number.
    pub force: bool,
}

/// What earlier rounds saw, and the rules.
#[derive(Debug)]
pub struct Judge {
    rules: Rules,
    /// Of the pods with the UIDs of claims.
    absences: Absences<Attachment>,
    nodes: BTreeMap<String, NodeHistory>,
    run: Run<Attachment>,
}

/// A round that has begun: the claims are read, and nothing has been asked yet.
#[derive(Debug)]
pub struct Round {
    candidates: Vec<JudgedClaim>,
    total: usize,
}

/// Why a claim or a durable owner stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stay {
    /// A pod with its UID exists; for an owner, a pod of its name.
    PodPresent,
    /// Its StatefulSet wants its ordinal.
    OrdinalWanted,
    /// Its node may still run the pod: it is not Ready, has no taint, and its object exists.
    NodeNotReady,
    /// The API server gave no answer, for this reason.
    Unknown(String),
}

/// What is known of one candidate: a claim, or a durable owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<E = Evidence> {
    /// It can be released at the judged revision.
    Releasable(E),
    /// The evidence is complete, but the run has released as much as one run may.
    HeldBack(E),
    /// The evidence is complete, but a release has failed. The next one may be tried at this moment.
    PutOff(E, Duration),
    /// The evidence may be complete at this moment.
    Waiting(Duration),
    /// It is in use, as far as can be told.
    InUse(Stay),
}

/// A candidate and its standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The claim as it was read.
    pub claim: JudgedClaim,
    /// Its standing after this round.
    pub standing: Standing,
}

impl Round {
    /// The nodes to ask for.
    pub fn nodes(&self) -> BTreeSet<&str> {
        let subjects = self.candidates.iter().filter_map(JudgedClaim::subject);
        subjects.map(|subject| subject.node).collect()
    }

    /// The pods to ask for: those of nodes whose state allows evidence.
    pub fn pods(&self, nodes: &BTreeMap<String, NodeState>) -> BTreeSet<&PodName> {
        let subjects = self.candidates.iter().filter_map(JudgedClaim::subject);
        subjects
            .filter(|subject| nodes.get(subject.node).is_some_and(allows_evidence))
            .map(|subject| subject.pod)
            .collect()
    }
}

impl Judged for Judgement {
    type Key = Attachment;
    type Evidence = Evidence;

    fn record(&self) -> (&Attachment, Revision) {
        (&self.claim.attachment, self.claim.revision)
    }

    fn standing(&mut self) -> &mut Standing {
        &mut self.standing
    }
}

fn allows_evidence(state: &NodeState) -> bool {
    match state {
        NodeState::Ready { .. } | NodeState::Missing | NodeState::OutOfService => true,
        NodeState::NotReady | NodeState::Unknown(_) => false,
    }
}

impl Judge {
    /// A judge that has seen nothing.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            absences: Absences::default(),
            nodes: BTreeMap::new(),
            run: Run::new(&rules),
        }
    }

    /// Begins a round with all claims, as they have just been read. `is_cached` tells whether a cache shows a pod with a
    /// UID: such a claim is in use, and no candidate. A claim without a pod's UID, a pod's name or a node is none either.
    pub fn begin(
        &mut self,
        claims: impl IntoIterator<Item = JudgedClaim>,
        is_cached: impl Fn(&str) -> bool,
    ) -> Round {
        let mut total = 0;
        let claims = claims.into_iter().inspect(|_| total += 1);
        let candidates: Vec<JudgedClaim> = claims
            .filter(|claim| {
                let subject = claim.subject();
                subject.is_some_and(|subject| !is_cached(subject.uid))
            })
            .collect();
        Round { candidates, total }
    }

    /// Ends a round with the answers to its questions, and tells of each candidate what all rounds prove together.
    pub fn decide(&mut self, round: Round, look: &Look) -> Vec<Judgement> {
        self.remember_nodes(look);
        let earlier = std::mem::take(&mut self.absences);
        let mut judgements: Vec<(Duration, Judgement)> = Vec::new();
        for claim in round.candidates {
            let (since, standing) = self.judge(&claim, &earlier, look);
            judgements.push((since, Judgement { claim, standing }));
        }
        self.run.allot(judgements, round.total, look.begun)
    }

    /// Counts the release of `claim`, as it was judged. Each release that was tried is told, by this or by the next one.
    pub fn released(&mut self, claim: &JudgedClaim) {
        self.run.succeeded(&claim.attachment);
    }

    /// Notes that the release of `claim`, as it was judged, has failed now. The claim comes after all others in later rounds.
    pub fn failed(&mut self, claim: &JudgedClaim, now: Duration) {
        self.run.failed(&claim.attachment, claim.revision, now);
    }

    /// The moment from which on another round can prove more; `None` if nothing is being waited for.
    pub fn due(&self, judgements: &[Judgement]) -> Option<Duration> {
        self.run
            .due(judgements.iter().map(|judgement| &judgement.standing))
    }

    fn remember_nodes(&mut self, look: &Look) {
        let histories = look.nodes.iter().filter_map(|(node, state)| {
            let history = NodeHistory::after(self.nodes.get(node), state, look.begun, look.ended);
            Some((node.clone(), history?))
        });
        // The history of a node that was not asked for is broken.
        self.nodes = histories.collect();
    }

    /// The standing of a claim, and the first look that found its pod absent.
    fn judge(
        &mut self,
        claim: &JudgedClaim,
        earlier: &Absences<Attachment>,
        look: &Look,
    ) -> (Duration, Standing) {
        let subject = claim.subject().expect("a candidate has a subject");
        let pod = look.pods.get(subject.pod);
        let pod = pod.map(|answer| PodState::of(subject.uid, answer));
        if let Some(stay) = stay(look.nodes.get(subject.node), pod) {
            return (look.ended, Standing::InUse(stay));
        }
        let JudgedClaim {
            attachment,
            revision,
            ..
        } = claim;
        let since = self
            .absences
            .note(earlier, attachment.clone(), *revision, look.ended);
        let (evidence, due) = self.evidence(subject.node, since);
        let standing = if due <= look.begun {
            Standing::Releasable(evidence)
        } else {
            Standing::Waiting(due)
        };
        (since, standing)
    }

    /// The evidence that the state of a node will be, and the moment from which on it counts for a pod that has been
    /// absent since `absent`.
    fn evidence(&self, node: &str, absent: Duration) -> (Evidence, Duration) {
        let grace = self.rules.grace;
        match self.nodes.get(node) {
            None => (Evidence::NodeOutOfService, absent + grace),
            Some(NodeHistory::Missing { since }) => {
                (Evidence::NodeGone, absent.max(*since) + grace)
            }
            Some(NodeHistory::Ready {
                since,
                looked,
                heard_after,
                ..
            }) => {
                let wanted = absent.max(*since) + grace * READY_GRACES;
                let is_heard = heard_after.is_some_and(|heard| heard >= wanted);
                let due = if is_heard {
                    wanted
                } else {
                    wanted.max(*looked + LEASE_RENEWAL)
                };
                (Evidence::PodGoneNodeReady, due)
            }
        }
    }
}

/// Why a claim stays by the answers of one look.
fn stay(node: Option<&NodeState>, pod: Option<PodState>) -> Option<Stay> {
    match node {
        None => return Some(Stay::Unknown("its node was not asked for".to_owned())),
        Some(NodeState::Unknown(reason)) => return Some(Stay::Unknown(reason.clone())),
        Some(NodeState::NotReady) => return Some(Stay::NodeNotReady),
        Some(NodeState::Ready { .. } | NodeState::Missing | NodeState::OutOfService) => {}
    }
    match pod {
        None => Some(Stay::Unknown("its pod was not asked for".to_owned())),
        Some(PodState::Unknown(reason)) => Some(Stay::Unknown(reason)),
        Some(PodState::Present) => Some(Stay::PodPresent),
        Some(PodState::Absent) => None,
    }
}
