//! A controller in a world: its rounds take time, its questions fail, its cache lags, and it starts anew.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use whereabouts_clock::Chance;

use super::GRACE;
use super::world::{Objects, World};
use crate::{
    Answer, JudgedOwner, Ordinals, OwnerJudge, OwnerLook, OwnerRound, PodName, Rules, SetAnswer,
    SetName, Standing,
};

/// A way to end an owner that must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// An owner with an attachment is judged, and ends, like one at rest.
    AttachedToo,
    /// The end takes the owner at any revision.
    EndUnguarded,
    /// An error counts as the absence of the object.
    ErrorAsAbsence,
    /// The cache answers which ordinals are wanted.
    SetsOfCache,
    /// Every StatefulSet begins at ordinal 0.
    StartIgnored,
    /// A StatefulSet of the name wants every ordinal.
    OrdinalIgnored,
    /// A pod of the name does not count: orphans, and pods that end.
    PodsIgnored,
    /// StatefulSets and pods are listed first, and owners read afterwards.
    OwnersAfterSets,
    /// One look suffices.
    OneLook,
}

enum Phase {
    Idle,
    Read(OwnerRound),
    SetsAsked(OwnerRound, BTreeMap<SetName, SetAnswer>),
}

pub(super) struct Controller {
    bug: Option<Bug>,
    judge: OwnerJudge,
    phase: Phase,
    begun: Duration,
    /// When it goes on.
    next: u64,
    /// Most seconds between two rounds.
    pace: u64,
    /// Its clock begins anywhere.
    clock: u64,
    /// Until then it gets no answer.
    outage: u64,
    /// Seconds by which its cache is behind.
    lag: u64,
    ends: VecDeque<(u64, JudgedOwner)>,
    lists: Vec<(Duration, Objects)>,
}

fn judge(bug: Option<Bug>) -> OwnerJudge {
    let grace = if bug == Some(Bug::OneLook) { 0 } else { GRACE };
    OwnerJudge::new(Rules {
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
            pace: 5 + chance.below(25),
            clock: chance.below(1_000_000),
            outage: 0,
            lag: chance.below(200),
            ends: VecDeque::new(),
            lists: Vec::new(),
        }
    }

    /// Does what is due now. Fails if it ends an owner that must stay.
    pub(super) fn tick(
        &mut self,
        world: &mut World,
        chance: &Chance,
        is_faulty: bool,
    ) -> Result<(), String> {
        self.end(world)?;
        if is_faulty && chance.below(500) == 0 {
            *self = Self::new(self.bug, chance);
        }
        if world.now < self.next {
            return Ok(());
        }
        if self.bug == Some(Bug::OwnersAfterSets) {
            self.list_and_judge(world, chance);
            return Ok(());
        }
        if is_faulty && chance.below(60) == 0 {
            self.outage = world.now + chance.below(200);
        }
        self.next = world.now + chance.below(3);
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => {
                self.begun = self.time(world);
                self.phase = Phase::Read(self.read(world));
            }
            Phase::Read(round) => {
                let sets = round.sets().into_iter();
                let sets = sets.filter_map(|name| self.ask_set(name, world, chance, is_faulty));
                let sets = sets.collect();
                self.phase = Phase::SetsAsked(round, sets);
            }
            Phase::SetsAsked(round, sets) => {
                let pods = round.pods(&sets).into_iter();
                let pods = pods.filter_map(|name| self.ask_pod(name, world, chance, is_faulty));
                let look = OwnerLook {
                    begun: self.begun,
                    pods: pods.collect(),
                    ended: self.time(world),
                    sets,
                };
                self.judge_look(round, &look, world, chance);
                self.next = world.now + 5 + chance.below(self.pace);
            }
        }
        Ok(())
    }

    fn time(&self, world: &World) -> Duration {
        Duration::from_secs(self.clock + world.now)
    }

    fn read(&mut self, world: &World) -> OwnerRound {
        let mut owners = world.owners();
        if self.bug == Some(Bug::AttachedToo) {
            for owner in &mut owners {
                owner.is_at_rest = true;
            }
        }
        self.judge.begin(owners)
    }

    /// What the API server answers: `None` is an answer that is missing altogether.
    fn asked<T>(
        &self,
        found: Option<T>,
        world: &World,
        chance: &Chance,
        is_faulty: bool,
    ) -> Option<Result<Option<T>, String>> {
        let fails = is_faulty && chance.below(12) == 0;
        if world.now >= self.outage && !fails {
            return Some(Ok(found));
        }
        if self.bug == Some(Bug::ErrorAsAbsence) {
            return Some(Ok(None));
        }
        (chance.below(4) > 0).then(|| Err("timeout".to_owned()))
    }

    fn ask_set(
        &self,
        name: &SetName,
        world: &World,
        chance: &Chance,
        is_faulty: bool,
    ) -> Option<(SetName, SetAnswer)> {
        let mut found = world.objects().sets.get(&name.name).copied();
        if self.bug == Some(Bug::SetsOfCache) {
            found = world.objects_before(self.lag).sets.get(&name.name).copied();
        }
        if self.bug == Some(Bug::StartIgnored) {
            found = found.map(|ordinals| Ordinals {
                start: 0,
                ..ordinals
            });
        }
        if self.bug == Some(Bug::OrdinalIgnored) {
            let (start, replicas) = (0, u32::MAX);
            found = found.map(|_| Ordinals { start, replicas });
        }
        let answer = self.asked(found, world, chance, is_faulty)?;
        Some((name.clone(), answer))
    }

    fn ask_pod(
        &self,
        name: &PodName,
        world: &World,
        chance: &Chance,
        is_faulty: bool,
    ) -> Option<(PodName, Answer)> {
        let found = world.objects().pods.get(&name.name).cloned();
        let found = found.filter(|_| self.bug != Some(Bug::PodsIgnored));
        let answer = self.asked(found, world, chance, is_faulty)?;
        Some((name.clone(), answer))
    }

    fn judge_look(&mut self, round: OwnerRound, look: &OwnerLook, world: &World, chance: &Chance) {
        for judgement in self.judge.decide(round, look) {
            if let Standing::Releasable(_) = judgement.standing {
                let at = world.now + 1 + chance.below(3);
                self.ends.push_back((at, judgement.owner));
            }
        }
    }

    fn end(&mut self, world: &mut World) -> Result<(), String> {
        let now = world.now;
        while let Some((_, owner)) = self.ends.pop_front_if(|(at, _)| *at <= now) {
            let revision = (self.bug != Some(Bug::EndUnguarded)).then_some(owner.revision);
            let may_be_attached = matches!(self.bug, Some(Bug::AttachedToo | Bug::EndUnguarded));
            world.end(&owner.owner.pod, revision, may_be_attached)?;
        }
        Ok(())
    }

    /// Lists objects for two graces, and judges afterwards which owners there are by then.
    fn list_and_judge(&mut self, world: &World, chance: &Chance) {
        self.lists.push((self.time(world), world.objects().clone()));
        self.next = world.now + 12;
        if self.lists.len() < 10 {
            return;
        }
        self.judge = judge(self.bug);
        for (time, objects) in std::mem::take(&mut self.lists) {
            let round = self.judge.begin(world.owners());
            let sets = round.sets().into_iter();
            let sets = sets.map(|name| (name.clone(), Ok(objects.sets.get(&name.name).copied())));
            let sets: BTreeMap<SetName, SetAnswer> = sets.collect();
            let pods = round.pods(&sets).into_iter();
            let pods = pods.map(|name| (name.clone(), Ok(objects.pods.get(&name.name).cloned())));
            let look = OwnerLook {
                begun: time,
                ended: time,
                pods: pods.collect(),
                sets,
            };
            self.judge_look(round, &look, world, chance);
        }
    }
}
