//! A moment of a world, and the steps from it.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::claim::Attachment;
use whereabouts_kubernetes::api::Write;
use whereabouts_kubernetes::memory::Model;
use whereabouts_kubernetes::names;
use whereabouts_kubernetes::object::{Kind, Object};
use whereabouts_kubernetes::protocol::{Answer, Next, Purpose, Request, Step};

use super::bugs::{Bug, Scratch};
use super::judge::{self, Answers, Bit, Broken, Moment, TakenSince, Watch};
use super::process::{End, Job, Process};

/// A process of a world: its job, and the processes that must have ended before it begins.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) job: Job,
    pub(super) after: Vec<usize>,
}

/// A process at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Run {
    Waiting,
    Running {
        process: Box<Process>,
        step: Box<Step>,
        watch: Box<Watch>,
        scratch: Box<Scratch>,
    },
    Ended,
}

/// One step from a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The next request of a process is carried out and answered.
    Serve(usize),
    /// It is carried out, and its reply is lost.
    LoseReply(usize),
    /// It lands later or never, and its sender knows nothing.
    Delay(usize),
    /// The process is killed; its request is not sent.
    Kill(usize),
    /// The process is killed; its request lands later or never.
    KillLate(usize),
    /// A late write lands.
    Land(usize),
}

impl Choice {
    fn is_fault(self) -> bool {
        !matches!(self, Self::Serve(_) | Self::Land(_))
    }
}

/// A moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) model: Model,
    pub(super) runs: Vec<Run>,
    pub(super) late: Vec<Write>,
    pub(super) answers: Answers,
    pub(super) faults: u32,
    /// Whether a fault has struck: then dead bits and claims of nobody may be left.
    pub(super) is_faulty: bool,
    pub(super) revision: u64,
    /// The addresses that were taken since each attachment was added first. `None` in small worlds, where it would tell apart
    /// moments that are equal for all processes.
    pub(super) since: Option<BTreeMap<Attachment, TakenSince>>,
}

impl State {
    pub(super) fn new(model: Model, jobs: &[Planned], faults: u32) -> Self {
        Self {
            model,
            runs: vec![Run::Waiting; jobs.len()],
            late: Vec::new(),
            answers: Answers::default(),
            faults,
            is_faulty: false,
            revision: 0,
            since: None,
        }
    }

    /// Starts the processes that can begin.
    pub(super) fn start(&mut self, jobs: &[Planned]) {
        for (index, planned) in jobs.iter().enumerate() {
            let is_ended = |other: &usize| self.runs[*other] == Run::Ended;
            if self.runs[index] != Run::Waiting || !planned.after.iter().all(is_ended) {
                continue;
            }
            judge::begins(self, &planned.job);
            self.note_start(&planned.job);
            let mut process = Process::new(&planned.job, &format!("p{index}"));
            let Next::Ask(step) = process.begin() else {
                unreachable!("each verb asks something");
            };
            let watch = Box::new(self.watch_of(&planned.job));
            self.runs[index] = Run::Running {
                process: Box::new(process),
                step,
                watch,
                scratch: Box::default(),
            };
        }
    }

    /// The steps that are possible.
    pub(super) fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for (index, run) in self.runs.iter().enumerate() {
            let Run::Running { step, .. } = run else {
                continue;
            };
            choices.push(Choice::Serve(index));
            if self.faults == 0 {
                continue;
            }
            choices.push(Choice::Kill(index));
            if matches!(step.request, Request::Write(_)) {
                choices.push(Choice::LoseReply(index));
                choices.push(Choice::Delay(index));
                choices.push(Choice::KillLate(index));
            }
        }
        choices.extend((0..self.late.len()).map(Choice::Land));
        choices
    }

    /// Takes a step, and judges what it leads to.
    pub(super) fn take(
        &mut self,
        jobs: &[Planned],
        choice: Choice,
        bug: Option<Bug>,
    ) -> Result<(), Broken> {
        self.watch(jobs);
        if choice.is_fault() {
            self.faults -= 1;
            self.is_faulty = true;
        }
        match choice {
            Choice::Land(late) => {
                let write = self.late.remove(late);
                Bug::serve_write(bug, &mut self.model, &write);
            }
            Choice::Kill(index) => self.runs[index] = Run::Ended,
            Choice::KillLate(index) => {
                self.delay(index);
                self.runs[index] = Run::Ended;
            }
            Choice::Delay(index) => {
                self.delay(index);
                self.answered(jobs, index, Some(Answer::Unknown), bug)?;
            }
            Choice::LoseReply(index) => {
                self.served(index, bug);
                self.answered(jobs, index, Some(Answer::Unknown), bug)?;
            }
            Choice::Serve(index) => {
                let answer = self.served(index, bug);
                self.answered(jobs, index, answer, bug)?;
            }
        }
        self.watch(jobs);
        if let Some(since) = &mut self.since {
            let bits = Self::bits(&self.model);
            let taken = bits.iter().map(|(block, bit, _)| (block.as_str(), *bit));
            for since in since.values_mut() {
                since.see(taken.clone());
            }
        }
        self.start(jobs);
        self.answers.moment(&self.model)
    }

    fn delay(&mut self, index: usize) {
        if let Run::Running { step, .. } = &self.runs[index]
            && let Request::Write(write) = &step.request
        {
            self.late.push(write.clone());
        }
    }

    fn served(&mut self, index: usize, bug: Option<Bug>) -> Option<Answer> {
        let before = Self::bits(&self.model);
        let Run::Running { step, scratch, .. } = &mut self.runs[index] else {
            return None;
        };
        let is_gift = step.purpose == Purpose::Give;
        let answer = Bug::serve(bug, &mut self.model, step, scratch);
        if is_gift {
            self.answers.note_gifts(&before, &self.model);
        }
        Some(answer)
    }

    fn answered(
        &mut self,
        jobs: &[Planned],
        index: usize,
        answer: Option<Answer>,
        bug: Option<Bug>,
    ) -> Result<(), Broken> {
        let Run::Running {
            process,
            step,
            watch,
            scratch,
        } = &mut self.runs[index]
        else {
            return Ok(());
        };
        let answer = Bug::answer(bug, step, answer.expect("it was served"), scratch);
        match process.on(answer) {
            Next::Ask(next) => {
                *step = next;
                Bug::request(bug, step, scratch);
                Ok(())
            }
            Next::Done(end) => {
                let watch = watch.clone();
                self.runs[index] = Run::Ended;
                let is_contested = watch.met_del || self.is_contested(jobs, index);
                judge::ends(self, &jobs[index].job, &end, &watch, is_contested)
            }
        }
    }

    /// Whether another container of the same pod has an ADD: the answer then need not last.
    fn is_contested(&self, jobs: &[Planned], index: usize) -> bool {
        let own = &jobs[index].job;
        let runs = self.runs.iter().zip(jobs).enumerate();
        runs.filter(|(other, _)| *other != index)
            .any(|(_, (run, planned))| match &planned.job {
                Job::Del(_) | Job::Leave(..) | Job::End(..) => false,
                Job::Add(ask) => {
                    *run != Run::Waiting
                        && ask.attachment != *own.attachment()
                        && ask.owner.pod_uid.is_some()
                        && own.pod_uid() == ask.owner.pod_uid.as_deref()
                }
            })
    }

    /// The addresses of an old container, or of a durable owner, need not be the lowest.
    fn note_start(&mut self, job: &Job) {
        if let (Job::Add(ask), None, Some(since)) = (job, job.pod_uid(), &mut self.since)
            && ask.durable_owner().is_none()
        {
            let since = since.entry(ask.attachment.clone());
            since.or_insert_with(|| TakenSince::now(&self.model));
        }
    }

    /// The judge's record of a process that begins now.
    fn watch_of(&self, job: &Job) -> Watch {
        let wants = match job {
            Job::Add(ask) => ask.wants.as_slice(),
            Job::Del(_) | Job::Leave(..) | Job::End(..) => &[],
        };
        Watch::new(&self.model, job.claim(), wants)
    }

    fn watch(&mut self, jobs: &[Planned]) {
        let Self { model, runs, .. } = self;
        let is_running = |(run, _): &(&Run, &Planned)| matches!(run, Run::Running { .. });
        let running = runs.iter().zip(jobs).filter(is_running);
        let deleted: Vec<Attachment> = running
            .filter(|(_, planned)| planned.job.is_del())
            .map(|(_, planned)| planned.job.attachment().clone())
            .collect();
        let moment = Moment::of(model);
        for (run, planned) in runs.iter_mut().zip(jobs) {
            if let Run::Running { watch, .. } = run {
                watch.see(&moment);
                watch.met_del |= deleted.contains(planned.job.attachment());
            }
        }
    }

    /// A step, in words.
    pub(super) fn told(&self, jobs: &[Planned], choice: Choice) -> String {
        let of = |index: usize| match &self.runs[index] {
            Run::Running { step, .. } => {
                let (job, purpose) = (&jobs[index].job, step.purpose);
                format!("{index} ({job}) {purpose:?}")
            }
            Run::Waiting | Run::Ended => String::new(),
        };
        match choice {
            Choice::Serve(index) => of(index),
            Choice::LoseReply(index) => format!("{}: the reply is lost", of(index)),
            Choice::Delay(index) => format!("{}: late", of(index)),
            Choice::Kill(index) => format!("{}: killed before", of(index)),
            Choice::KillLate(index) => format!("{}: killed, and late", of(index)),
            Choice::Land(late) => format!("{:?} lands", self.late[late]),
        }
    }

    /// The taken bits in words: the end of the block's name, the bit, and the claim.
    pub(super) fn told_bits(&self) -> String {
        let bits = Self::bits(&self.model);
        let told = bits.iter().map(|(block, bit, uid)| {
            let block = block.rsplit('-').next().unwrap_or_default();
            format!("{block}/{bit} {}", uid.get(2..6).unwrap_or_default())
                + uid.rsplit_once('#').map_or("", |(_, number)| number)
        });
        told.collect::<Vec<_>>().join(", ")
    }

    /// Whether all processes have ended.
    pub(super) fn is_over(&self) -> bool {
        self.runs.iter().all(|run| *run == Run::Ended)
    }

    /// Runs a verb to its end, alone and without faults.
    pub(super) fn run_alone(&mut self, job: &Job, attempt: &str) -> Result<End, Broken> {
        judge::begins(self, job);
        let watch = self.watch_of(job);
        let mut process = Process::new(job, attempt);
        let mut next = process.begin();
        for _ in 0..10_000 {
            match next {
                Next::Ask(step) => next = process.on(self.model.serve(&step.request)),
                Next::Done(end) => {
                    judge::ends(self, job, &end, &watch, false)?;
                    self.answers.moment(&self.model)?;
                    return Ok(end);
                }
            }
        }
        Err(Broken(format!("{job:?} does not end")))
    }

    /// Deletes a claim, as a process that is killed before it clears the bits.
    pub(super) fn die(&mut self, attachment: &Attachment) {
        self.answers.no_longer_used(attachment);
        let name = names::claim(attachment);
        let Some(claim) = self.model.get(Kind::Claim, &name) else {
            return;
        };
        let metadata = claim.metadata();
        let write = Write::Delete {
            kind: Kind::Claim,
            name,
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
        };
        self.model.serve(&Request::Write(write));
        self.is_faulty = true;
    }

    /// Removes the labels of a claim, as a person may.
    pub(super) fn unlabel(&mut self, attachment: &Attachment) {
        let name = names::claim(attachment);
        if let Some(Object::Claim(mut claim)) = self.model.get(Kind::Claim, &name).cloned() {
            claim.metadata.labels.clear();
            let write = Write::Replace(Object::Claim(claim));
            self.model.serve(&Request::Write(write));
        }
    }

    /// The blocks and bits that are taken, with the UIDs of their claims.
    pub(super) fn bits(model: &Model) -> BTreeSet<Bit> {
        let blocks = model.objects().filter_map(|object| match object {
            Object::Block(block) => Some(block),
            Object::Claim(_) => None,
        });
        blocks
            .flat_map(|block| {
                let name = block.metadata.name.clone();
                let taken = block.spec.taken.iter();
                taken.map(move |one| (name.clone(), one.bit, one.uid.clone()))
            })
            .collect()
    }
}
