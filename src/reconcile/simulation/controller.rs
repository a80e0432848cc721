//! A controller in a world: its rounds take time, its questions fail, its cache lags, and it starts anew.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use whereabouts_clock::Chance;
use whereabouts_core::claim::Attachment;

use super::world::World;
use crate::{Answer, Judge, JudgedClaim, Look, NodeState, PodName, Round, Rules, Standing};

const GRACE: u64 = 60;

/// A way in which other allocators freed, or kept, what they should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// Pods are listed first, and claims read afterwards.
    ClaimsAfterPods,
    /// A pod with the name of a claim's pod counts as that pod.
    NameWithoutUid,
    /// An error counts as the absence of the pod.
    ErrorAsAbsence,
    /// The cache answers.
    CacheAsEvidence,
    /// A Node that is missing counts as dead at once.
    MissingAtOnce,
    /// A release takes the claim at any revision.
    ReleaseUnguarded,
    /// One look suffices.
    OneLook,
}

enum Phase {
    Idle,
    Read(Round),
    NodesAsked(Round, BTreeMap<String, NodeState>),
}

pub(super) struct Controller {
    bug: Option<Bug>,
    judge: Judge,
    phase: Phase,
    begun: Duration,
    /// When it goes on.
    next: u64,
    /// Most seconds between two rounds.
    pace: u64,
    /// Its clock begins anywhere.
    clock: u64,
    /// Until then it gets no answer about pods.
    outage: u64,
    /// Seconds by which its cache is behind.
    lag: u64,
    releases: VecDeque<(u64, Attachment, i64)>,
    lists: Vec<(Look, BTreeMap<PodName, String>)>,
}

fn judge(bug: Option<Bug>) -> Judge {
    let grace = if bug == Some(Bug::OneLook) { 0 } else { GRACE };
    Judge::new(Rules {
        grace: Duration::from_secs(grace),
        run: Duration::from_secs(GRACE),
        force: false,
    })
}

impl Controller {
    pub(super) fn new(bug: Option<Bug>, chance: &Chance) -> Self {
        Self {
            bug,
            judge: judge(bug),
            phase: Phase::Idle,
            begun: Duration::ZERO,
            next: 0,
            pace: 5 + chance.below(55),
            clock: chance.below(1_000_000),
            outage: 0,
            lag: chance.below(200),
            releases: VecDeque::new(),
            lists: Vec::new(),
        }
    }

    /// Does what is due now. Fails if it releases the claim of a living sandbox.
    pub(super) fn tick(
        &mut self,
        world: &mut World,
        chance: &Chance,
        is_faulty: bool,
    ) -> Result<(), String> {
        self.release(world)?;
        if is_faulty && chance.below(500) == 0 {
            *self = Self::new(self.bug, chance);
        }
        if world.now < self.next {
            return Ok(());
        }
        if self.bug == Some(Bug::ClaimsAfterPods) {
            self.list_and_judge(world, chance);
            return Ok(());
        }
        self.next = world.now + chance.below(3);
        let fails = is_faulty && chance.below(6) == 0;
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => self.phase = Phase::Read(self.read(world)),
            Phase::Read(round) => self.phase = Self::ask_nodes(self.bug, round, world, fails),
            Phase::NodesAsked(round, nodes) => {
                self.decide(round, nodes, world, chance, fails);
                self.next = world.now + 5 + chance.below(self.pace);
            }
        }
        Ok(())
    }

    fn time(&self, world: &World) -> Duration {
        Duration::from_secs(self.clock + world.now)
    }

    fn read(&mut self, world: &World) -> Round {
        let cache = world.pods_before(self.lag);
        let round = self.judge.begin(world.claims(), |uid| {
            cache.values().any(|cached| cached == uid)
        });
        self.begun = self.time(world);
        round
    }

    fn ask_nodes(bug: Option<Bug>, round: Round, world: &World, fails: bool) -> Phase {
        let ask = |name: &str| match world.node(name) {
            _ if fails => NodeState::Unknown("timeout".to_owned()),
            NodeState::Missing if bug == Some(Bug::MissingAtOnce) => NodeState::OutOfService,
            state => state,
        };
        let nodes = round
            .nodes()
            .into_iter()
            .map(|name| (name.to_owned(), ask(name)));
        let nodes = nodes.collect();
        Phase::NodesAsked(round, nodes)
    }

    fn decide(
        &mut self,
        round: Round,
        nodes: BTreeMap<String, NodeState>,
        world: &World,
        chance: &Chance,
        fails: bool,
    ) {
        if fails && chance.below(4) == 0 {
            self.outage = world.now + chance.below(300);
        }
        let is_out = world.now < self.outage;
        let cache = world.pods_before(self.lag);
        let asked: Vec<&PodName> = round.pods(&nodes).into_iter().collect();
        let mut pods = BTreeMap::new();
        for name in asked {
            let answer = if is_out || fails && chance.below(2) == 0 {
                Err("timeout".to_owned())
            } else {
                Ok(world.pod(name))
            };
            // An answer may be missing altogether.
            if !fails || chance.below(4) > 0 {
                pods.insert(name.clone(), self.as_planted(name, answer, &cache, world));
            }
        }
        let look = Look {
            begun: self.begun,
            ended: self.time(world),
            nodes,
            pods,
        };
        self.judge_look(round, &look, world, chance);
    }

    fn as_planted(
        &self,
        name: &PodName,
        answer: Answer,
        cache: &BTreeMap<PodName, String>,
        world: &World,
    ) -> Answer {
        match (self.bug, answer) {
            (Some(Bug::ErrorAsAbsence), Err(_)) => Ok(None),
            (Some(Bug::CacheAsEvidence), _) => Ok(cache.get(name).cloned()),
            (Some(Bug::NameWithoutUid), Ok(Some(_))) => Ok(claimed_uid(name, world)),
            (_, answer) => answer,
        }
    }

    fn judge_look(&mut self, round: Round, look: &Look, world: &World, chance: &Chance) {
        for judgement in self.judge.decide(round, look) {
            if let Standing::Releasable(_) = judgement.standing {
                let JudgedClaim {
                    attachment,
                    revision,
                    ..
                } = judgement.claim;
                let at = world.now + 1 + chance.below(3);
                self.releases.push_back((at, attachment, revision));
            }
        }
    }

    fn release(&mut self, world: &mut World) -> Result<(), String> {
        let now = world.now;
        let is_due = |(at, _, _): &mut (u64, Attachment, i64)| *at <= now;
        while let Some((_, key, revision)) = self.releases.pop_front_if(is_due) {
            let revision = (self.bug != Some(Bug::ReleaseUnguarded)).then_some(revision);
            world.release(&key, revision)?;
        }
        Ok(())
    }

    /// Lists pods for three graces, and judges afterwards what is claimed by then.
    fn list_and_judge(&mut self, world: &World, chance: &Chance) {
        let time = self.time(world);
        let nodes = world.node_names().into_iter().map(|name| {
            let state = world.node(&name);
            (name, state)
        });
        let look = Look {
            begun: time,
            ended: time,
            nodes: nodes.collect(),
            pods: BTreeMap::new(),
        };
        self.lists.push((look, world.pods_before(0)));
        self.next = world.now + 12;
        if self.lists.len() < 15 {
            return;
        }
        // Claims come and go meanwhile.
        self.next = world.now + 1;
        if chance.below(3) > 0 {
            return;
        }
        self.judge = judge(self.bug);
        for (mut look, pods) in std::mem::take(&mut self.lists) {
            let round = self.judge.begin(world.claims(), |_| false);
            let asked = round.pods(&look.nodes);
            look.pods = asked
                .into_iter()
                .map(|name| (name.clone(), Ok(pods.get(name).cloned())))
                .collect();
            self.judge_look(round, &look, world, chance);
        }
    }
}

/// The UID of a claim whose pod has this name.
fn claimed_uid(name: &PodName, world: &World) -> Option<String> {
    let claims = world.claims();
    let mut claims = claims
        .iter()
        .filter(|claim| claim.pod.as_ref() == Some(name));
    claims.find_map(|claim| {
        claim
            .pod_uid
            .clone()
            .filter(|uid| world.pod(name).as_ref() != Some(uid))
    })
}
