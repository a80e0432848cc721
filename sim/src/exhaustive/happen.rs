//! The consequences of a choice: requests are carried out, answers arrive, faults strike.

use whereabouts_store::{CommitError, LeaseId, Unavailable, WatchEnded};

use super::arrive::Seen;
use super::automaton::Automata;
use super::choice::{Choice, ProcessId};
use super::judge;
use super::moment::Moment;
use super::setting::Setting;
use super::tape::{Answer, Request};
use crate::planted::twist;
use crate::vocabulary::Step;

impl Moment {
    /// Takes `choice`. `Err` is a finding.
    pub(super) fn happen(
        &mut self,
        choice: Choice,
        setting: &Setting,
        automata: &mut Automata,
    ) -> Result<Seen, String> {
        self.steps += 1;
        let mut seen = Seen::default();
        if choice.is_fault() {
            self.budget.faults -= 1;
        }
        match choice {
            Choice::Step(process) => {
                let answer = match self.request(process, automata) {
                    Some(request) => {
                        seen.request = Some(request.clone());
                        let offered = self.has_offered_lock(setting);
                        let answer = self.carry_out(process, &request, setting);
                        // A process to which a lock is offered needs no lease.
                        if !offered {
                            judge::fenced(self, process, &request, &answer, setting)?;
                        }
                        answer
                    }
                    None => Answer::Time,
                };
                self.answer(process, answer, setting, automata, &mut seen)?;
            }
            Choice::Tell(process, arriving) => {
                let answer = self.tell(process, arriving);
                self.answer(process, answer, setting, automata, &mut seen)?;
            }
            Choice::Wake(process) => {
                if self.budget.early_timers > 0 {
                    self.budget.early_timers -= 1;
                } else if !self.left_to_timers {
                    judge::slow_timer(self, process, setting)?;
                }
                self.answer(process, Answer::Time, setting, automata, &mut seen)?;
            }
            Choice::LoseReply(process) => {
                let request = self.strike(process, setting, automata, &mut seen);
                if let Some(request) = &request {
                    self.carry_out(process, request, setting);
                }
                let unknown = unknown(request.as_ref(), setting);
                self.answer(process, unknown, setting, automata, &mut seen)?;
            }
            Choice::Delay(process) => {
                let request = self.strike(process, setting, automata, &mut seen);
                let unknown = unknown(request.as_ref(), setting);
                self.set_late(process, request, setting);
                self.answer(process, unknown, setting, automata, &mut seen)?;
            }
            Choice::Fail(process) => {
                let error = Unavailable::Later("the link was cut".to_owned());
                self.strike(process, setting, automata, &mut seen);
                self.answer(
                    process,
                    Answer::Done(Err(error)),
                    setting,
                    automata,
                    &mut seen,
                )?;
            }
            Choice::EndWatch(process) => {
                self.strike(process, setting, automata, &mut seen);
                let answer = Answer::Events(Err(WatchEnded("it was cut".to_owned())));
                self.answer(process, answer, setting, automata, &mut seen)?;
            }
            Choice::Kill(process) => {
                // It may be the one who was to take the lock.
                self.left_to_timers = true;
                let request = self.strike(process, setting, automata, &mut seen);
                self.set_late(process, request, setting);
                self.end(process, None, setting);
            }
            Choice::EndLease(process) => {
                let operation = self.operation(process, setting);
                self.struck.insert(operation);
                self.unleased.insert(operation);
                self.left_to_timers = true;
                let lease = self.last_lease(process, setting);
                self.end_lease(lease.expect("only who has a lease can lose it"));
            }
            Choice::Expire(index) => {
                self.left_to_timers = true;
                let lease = self.orphans.remove(index);
                self.end_lease(lease);
            }
            Choice::ForeignLeaves => self.withdraw_foreign(setting),
            Choice::Land(index) => {
                let late = self.late.remove(index);
                seen.request = Some(Request::Commit(late.txn.clone()));
                self.land(&late, setting, &mut seen)?;
            }
        }
        self.forget_orphans();
        self.forget_past();
        Ok(seen)
    }

    /// Compacts what no watch has still to tell of and nobody may read more of, so that a copy of
    /// the moment costs less.
    fn forget_past(&mut self) {
        let now = self.state.revision();
        let reading = self.runs.iter().filter_map(|run| run.read_at);
        let mut needed = reading.min().unwrap_or(now);
        for watch in self.runs.iter_mut().filter_map(|run| run.watch.as_mut()) {
            let untold = watch.untold(&self.state);
            for (seen, events) in watch.seen.iter_mut().zip(untold) {
                if events.is_empty() {
                    *seen = now;
                }
                needed = needed.min(*seen);
            }
        }
        // It may be compacted that far already.
        drop(self.state.compact(needed));
    }

    /// A fault strikes a process: which, and what it was asking.
    fn strike(
        &mut self,
        process: ProcessId,
        setting: &Setting,
        automata: &Automata,
        seen: &mut Seen,
    ) -> Option<Request> {
        self.struck.insert(self.operation(process, setting));
        seen.request = self.request(process, automata);
        seen.request.clone()
    }

    fn end_lease(&mut self, lease: LeaseId) {
        self.state.revoke(lease).expect("it is alive");
    }

    fn forget_orphans(&mut self) {
        let (needed, others) = std::mem::take(&mut self.orphans)
            .into_iter()
            .partition(|lease| self.is_needed(*lease));
        self.orphans = needed;
        for lease in others {
            if self.is_alive(lease) {
                self.end_lease(lease);
            }
        }
    }
}

fn unknown(request: Option<&Request>, setting: &Setting) -> Answer {
    let unknown = Err(CommitError::Unknown("the link was cut".to_owned()));
    Answer::Outcome(match request {
        Some(Request::Commit(txn)) => {
            twist::twist_outcome(setting.bug, Step::of_commit(txn), txn, unknown)
        }
        _ => unknown,
    })
}
