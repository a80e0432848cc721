//! The executions of a runtime for an attachment, and the faults that strike them.

use std::time::Duration;

use whereabouts_core::claim::{Ask, Attachment, RangeId};
use whereabouts_core::verbs::{CheckRequest, Expectation};

use super::Runtime;
use super::process::{self, Answer, Job, Process};
use crate::judge::says_unknown;
use crate::setup::Shape;
use crate::vocabulary::{Fault, NodeId, Step, Used, Verb};

/// How often a DEL is sent before its runtime turns to other things, while faults last.
const DELETE_TRIES: u64 = 4;

impl Runtime {
    /// Adds, and perhaps again: after a failure, or just so. Not once the node was lost again. Whether it has once
    /// succeeded.
    pub(super) async fn add(&self, node: NodeId, lost: u64, ask: &Ask) -> bool {
        let cluster = &self.0.cluster;
        let chance = cluster.world().chance();
        let queues: Vec<RangeId> = ask.wants.iter().map(|want| want.range.clone()).collect();
        let attachment = &ask.attachment;
        let mut is_added = false;
        for _ in 0..2 {
            while self.node(node).collecting.get() {
                cluster.world().sleep(Duration::from_millis(1)).await;
            }
            if self.node(node).lost.get() != lost {
                break;
            }
            self.know(attachment, node, &queues);
            self.node(node).adding.set(self.node(node).adding.get() + 1);
            let answer = self.execute(node, Job::Add(ask.clone())).await;
            self.node(node).adding.set(self.node(node).adding.get() - 1);
            let again = match &answer {
                Some(Answer::Done(held)) => {
                    is_added = true;
                    if chance.below(4) == 0 {
                        let previous = held
                            .iter()
                            .map(whereabouts_core::claim::Held::interface_address);
                        let previous = previous.collect();
                        let (attachment, statics) = (attachment.clone(), Vec::new());
                        let check = CheckRequest {
                            attachment,
                            previous,
                            statics,
                            claim: Expectation::Needed,
                        };
                        self.check(node, check).await;
                    }
                    chance.below(6) == 0
                }
                Some(Answer::Failed(_)) => chance.below(2) == 0,
                Some(Answer::Refused) | None => false,
            };
            if !again {
                break;
            }
        }
        is_added
    }

    pub(super) async fn check(&self, node: NodeId, check: CheckRequest) {
        let attachment = check.attachment.clone();
        let lost = self.node(node).lost.get();
        let answer = self.execute(node, Job::Check(check)).await;
        let healthy = self.0.cluster.knobs().faults.is_empty();
        if healthy && self.node(node).lost.get() == lost && !matches!(answer, Some(Answer::Done(_)))
        {
            let text = format!("CHECK of {attachment}, which was added: {answer:?}");
            self.0.cluster.judge().accuse(6, text);
        }
    }

    /// Deletes until that succeeds; while faults last, not for ever.
    pub(crate) async fn delete(&self, node: NodeId, attachment: &Attachment) {
        let cluster = &self.0.cluster;
        let queues = match self.0.known.borrow().get(attachment) {
            Some((_, queues)) => queues.clone(),
            None => return,
        };
        cluster.judge().no_longer_used(attachment);
        for _ in 0..DELETE_TRIES {
            let job = Job::Del(attachment.clone(), queues.clone());
            if let Some(Answer::Done(_)) = self.execute(node, job.clone()).await {
                self.0.known.borrow_mut().remove(attachment);
                if cluster.world().chance().below(5) == 0 {
                    let is_calm = cluster.is_calm();
                    let again = self.execute(node, job).await;
                    if is_calm && !matches!(again, Some(Answer::Done(_))) {
                        let text = format!("a second DEL of {attachment}: {again:?}");
                        cluster.judge().accuse(6, text);
                    }
                }
                return;
            }
        }
    }

    /// Executes a process and waits for it, unless the runtime forgets it. `None`: no answer.
    pub(super) async fn execute(&self, node: NodeId, job: Job) -> Option<Answer> {
        let cluster = &self.0.cluster;
        let world = cluster.world();
        let process = process::start(cluster, node, job);
        self.node(node).running.borrow_mut().push(process.clone());
        if cluster.strikes(Fault::Killed) {
            self.some_moment(&process).await;
            self.kill(&process, Fault::Killed);
        } else if cluster.strikes(Fault::Paused) {
            self.some_moment(&process).await;
            let pause = Duration::from_millis(world.chance().below(30_000));
            cluster.count_fault(Fault::Paused, &process.identity);
            cluster.note_pause(process.identity.id, pause);
            world.pause(process.task);
            world.sleep(pause).await;
            world.resume(process.task);
        } else if process.identity.verb == Verb::Add && cluster.strikes(Fault::Orphaned) {
            self.some_moment(&process).await;
            cluster.count_fault(Fault::Orphaned, &process.identity);
            process.identity.used.set(Used::ByNobody);
            self.suspect(&process);
            return None;
        }
        let answer = process.ended().await;
        self.node(node)
            .running
            .borrow_mut()
            .retain(|other| other.task != process.task);
        if let Some(Answer::Failed(reason)) = &answer {
            if says_unknown(reason) {
                self.suspect(&process);
            }
            // Of two processes of one attachment, the second takes over the first one's ticket.
            let has_mate = cluster.judge().has_mate(process.identity.id);
            // A durable owner that came into being meanwhile takes the ticket of another container of its name out.
            let may_be_taken_out = has_mate || cluster.knobs().shape == Shape::Sticky;
            let is_taken_out = may_be_taken_out && reason.contains("the ticket");
            if cluster.knobs().faults.is_empty() && !is_taken_out {
                let text = format!("{} failed without a fault: {reason}", process.identity);
                cluster.judge().accuse(10, text);
            }
        }
        answer
    }

    /// A moment in the life of a process: any, or when it waits in a queue, if it soon does.
    pub(super) async fn some_moment(&self, process: &Process) {
        let world = self.0.cluster.world();
        let delay_us = self.0.cluster.knobs().delay_us;
        let longest = Duration::from_micros(world.chance().below(30 * delay_us));
        if world.chance().below(2) == 0 {
            return world.sleep(longest).await;
        }
        let until = world.elapsed() + 4 * longest;
        while process.identity.step.get() != Step::Wait && world.elapsed() < until {
            world.sleep(Duration::from_micros(1 + delay_us / 4)).await;
        }
    }

    pub(super) fn kill(&self, process: &Process, fault: Fault) {
        if process.answer().is_none() {
            self.0.cluster.count_fault(fault, &process.identity);
            match process.identity.step.get() {
                // A request that takes addresses, or leads to it, may be on its way.
                Step::Commit | Step::TakeOver | Step::Join | Step::Batch => self.suspect(process),
                _ => {}
            }
            process::kill(&self.0.cluster, process);
        }
    }

    pub(super) fn suspect(&self, process: &Process) {
        if let Some(attachment) = &process.identity.attachment {
            self.0.suspects.borrow_mut().insert(attachment.clone());
        }
    }

    /// Counts a fault that strikes everybody who waits for something.
    pub(crate) fn count_for_all(&self, fault: Fault) {
        for node in self.0.nodes.values() {
            for process in node
                .running
                .borrow()
                .iter()
                .filter(|process| process.answer().is_none())
            {
                self.0.cluster.count_fault(fault, &process.identity);
            }
        }
    }
}
