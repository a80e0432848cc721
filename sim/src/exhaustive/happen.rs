//! What happens when a choice is taken: requests are carried out, answers arrive, faults strike.

use whereabouts_store::keys::Key;
use whereabouts_store::record::{self, Lock};
use whereabouts_store::{CommitError, LeaseId, Outcome, Txn, Unavailable, View, WatchEnded, Write};

use super::automaton::{Automata, Place, Stand, Verb};
use super::choice::{Arriving, Choice, ProcessId};
use super::judge;
use super::moment::{Late, Moment, WatchAt};
use super::setting::Setting;
use super::tape::{Answer, Request};
use crate::planted::{self, Piece, Reader};
use crate::step::Step;

/// What was seen to happen, for the trace.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The request that was carried out, or not.
    pub request: Option<Request>,
    /// What came of it.
    pub answer: Option<Answer>,
    /// Operations that ended, and how.
    pub ended: Vec<(usize, String)>,
}

impl Moment {
    /// Takes `choice`. `Err` is a finding.
    pub fn happen(
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
                        // Who is offered a lock needs no lease.
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
                self.end(process, None, setting, automata);
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

    fn request(&self, process: ProcessId, automata: &Automata) -> Option<Request> {
        let place = self.runs[process].place.expect("it has not ended");
        match automata.stand(place) {
            Stand::Asks { request, .. } => Some(request.as_ref().clone()),
            Stand::Pauses(_) | Stand::Ended(_) => None,
        }
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

    fn twist(&self, process: ProcessId, view: &mut View, setting: &Setting) {
        let reader = match &setting.verbs[self.operation(process, setting)] {
            Verb::Del(attachment, _) => Reader::Deletes(attachment),
            Verb::Add(ask) => Reader::Adds(&ask.attachment),
        };
        planted::twist_view(setting.bug, &setting.keys, reader, view);
    }

    fn carry_out(&mut self, process: ProcessId, request: &Request, setting: &Setting) -> Answer {
        match request {
            Request::Read(reads, at) => {
                let mut view = self.state.read(reads, planted::read_at(setting.bug, *at));
                if let Ok(view) = &mut view {
                    self.twist(process, view, setting);
                }
                let forgotten = matches!(view, Err(Unavailable::Compacted));
                assert!(!forgotten, "what is read is not forgotten before: {at:?}");
                Answer::View(view)
            }
            Request::Commit(txn) => {
                let operation = self.operation(process, setting);
                let mut outcome = self.commit(txn, operation, setting);
                if let Ok(Outcome::Done(view) | Outcome::Conflict(view)) = &mut outcome {
                    self.twist(process, view, setting);
                }
                Answer::Outcome(outcome.map_err(CommitError::Unavailable))
            }
            Request::KeepAlive(lease) => Answer::Done(self.state.keep_alive(*lease)),
            Request::Revoke(lease) => Answer::Done(self.state.revoke(*lease)),
            Request::Watch(keys) => {
                self.runs[process].watch = Some(WatchAt {
                    keys: keys.clone(),
                    seen: vec![self.state.revision(); keys.len()],
                });
                Answer::Done(Ok(()))
            }
            Request::Grant | Request::Next => unreachable!("{request:?} is no step"),
        }
    }

    fn commit(
        &mut self,
        txn: &Txn,
        operation: usize,
        setting: &Setting,
    ) -> Result<Outcome, Unavailable> {
        let (bug, keys) = (setting.bug, &setting.keys);
        let of = Some(setting.verbs[operation].attachment());
        for Piece { mut txn, last } in planted::twist_txn(bug, keys, of, txn) {
            planted::twist_arrival(bug, keys, of, &mut txn, &self.state);
            let outcome = self.state.commit(&txn);
            if last || !matches!(outcome, Ok(Outcome::Done(_))) {
                return outcome;
            }
        }
        unreachable!("one of the transactions is the last")
    }

    fn tell(&mut self, process: ProcessId, arriving: Arriving) -> Answer {
        let revision = self.state.revision();
        let untold = self.watch(process).untold(&self.state);
        let watch = self.runs[process].watch.as_mut();
        let seen = &mut watch.expect("who waits for events has a watch").seen;
        let mut events = Vec::new();
        for (key, of_key) in untold.into_iter().enumerate() {
            if arriving == Arriving::All || arriving == Arriving::OfKey(key) {
                seen[key] = revision;
                events.extend(of_key);
            }
        }
        events.sort_by_key(whereabouts_store::Event::revision);
        Answer::Events(Ok(events))
    }

    /// An answer arrives, and the process goes on until it asks something that others can see.
    fn answer(
        &mut self,
        process: ProcessId,
        answer: Answer,
        setting: &Setting,
        automata: &mut Automata,
        seen: &mut Seen,
    ) -> Result<(), String> {
        let operation = self.operation(process, setting);
        self.begin(operation);
        seen.answer = Some(answer.clone());
        self.runs[process].read_at = match &answer {
            Answer::View(Ok(view))
            | Answer::Outcome(Ok(Outcome::Done(view) | Outcome::Conflict(view))) => {
                Some(view.revision)
            }
            _ => self.runs[process].read_at,
        };
        let mut next = Some(answer);
        let mut place = self.runs[process].place.expect("it has not ended");
        while let Some(answer) = next.take() {
            place = automata.advance(place, answer);
            self.runs[process].place = Some(place);
            next = self.unseen(process, place, setting, automata);
        }
        if matches!(automata.stand(place), Stand::Asks { request, .. } if matches!(**request, Request::Next))
        {
            // Whoever waits reads anew when it is woken.
            self.runs[process].read_at = None;
        }
        if let Stand::Ended(end) = automata.stand(place).clone() {
            seen.ended.push((operation, end.to_string()));
            self.end(process, Some(place), setting, automata);
            judge::ended(self, operation, &end, setting)?;
        }
        Ok(())
    }

    /// The answer to a request that nobody else can see: it need not be told from the step before.
    fn unseen(
        &mut self,
        process: ProcessId,
        place: Place,
        setting: &Setting,
        automata: &Automata,
    ) -> Option<Answer> {
        let Stand::Asks { request, .. } = automata.stand(place) else {
            return None;
        };
        match &**request {
            Request::Watch(keys) if self.is_private(process, keys, setting) => {
                let request = Request::Watch(keys.clone());
                Some(self.carry_out(process, &request, setting))
            }
            Request::Grant => {
                let run = &mut self.runs[process];
                run.granted += 1;
                let id = self.last_lease(process, setting)?;
                let ttl = std::time::Duration::from_secs(10);
                Some(Answer::Lease(whereabouts_store::Lease { id, ttl }))
            }
            Request::Revoke(lease) if !self.is_needed(*lease) => {
                Some(Answer::Done(self.state.revoke(*lease)))
            }
            Request::Read(..)
            | Request::Commit(_)
            | Request::KeepAlive(_)
            | Request::Revoke(_)
            | Request::Watch(_)
            | Request::Next => None,
        }
    }

    /// Whether nobody else can write these keys before the process itself does: the claim and the
    /// ticket of an attachment that only this operation is about.
    fn is_private(&self, process: ProcessId, keys: &[Vec<u8>], setting: &Setting) -> bool {
        process != self.sweeper()
            && !setting.has_rival(self.operation(process, setting))
            && !self.state.entries().any(|entry| keys.contains(&entry.key))
    }

    fn begin(&mut self, operation: usize) {
        if self.operations[operation].begun.is_none() {
            let over = |index: &usize| self.operations[*index].over.is_some();
            let before = (0..self.operations.len()).filter(over);
            let before = before.fold(0, |mask, index| mask | 1 << index);
            self.operations[operation].begun = Some((self.steps, before));
        }
    }

    /// The operation of a process is over; it goes on with its next one.
    fn end(
        &mut self,
        process: ProcessId,
        place: Option<Place>,
        setting: &Setting,
        automata: &Automata,
    ) {
        let operation = self.operation(process, setting);
        self.operations[operation].over = Some((self.steps, place));
        let granted = self.runs[process].granted;
        self.orphans.extend(&setting.leases[operation][..granted]);
        let run = &mut self.runs[process];
        run.at += 1;
        run.place = setting.processes[process]
            .get(run.at)
            .map(|verb| automata.beginning(*verb));
        run.watch = None;
        run.read_at = None;
        run.granted = 0;
    }

    fn set_late(&mut self, process: ProcessId, request: Option<Request>, setting: &Setting) {
        if let Some(Request::Commit(txn)) = request {
            self.late.push(Late {
                operation: self.operation(process, setting),
                place: self.runs[process].place.expect("it has not ended"),
                txn,
            });
        }
    }

    fn land(&mut self, late: &Late, setting: &Setting, seen: &mut Seen) -> Result<(), String> {
        let before = self.state.revision();
        let outcome = self.commit(&late.txn, late.operation, setting);
        let wrote = self.state.revision() > before;
        let done = matches!(outcome, Ok(Outcome::Done(_)));
        seen.answer = Some(Answer::Outcome(outcome.map_err(CommitError::Unavailable)));
        if !done && wrote {
            // It was refused, and has offered the lock to its sender, who does not wait for it any more.
            self.left_to_timers = true;
        }
        if !done || !wrote {
            return Ok(());
        }
        let sender = &self.operations[late.operation];
        match sender.over {
            Some((_, Some(_))) => judge::late_request(&late.txn, late.operation, setting)?,
            Some((_, None)) => {
                let attachment = setting.verbs[late.operation].attachment();
                let deleting = setting.processes[self.sweeper()].iter().any(|verb| {
                    setting.verbs[*verb].attachment() == attachment
                        && self.operations[*verb].begun.is_some()
                });
                if gives(&late.txn, late.operation, setting) {
                    self.late_ones.insert(late.operation);
                    if deleting {
                        self.excused.insert(late.operation);
                    }
                }
            }
            None => {}
        }
        Ok(())
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

    /// The foreigner gives up the lock as a holder does.
    fn withdraw_foreign(&mut self, setting: &Setting) {
        self.foreign = false;
        let lock = setting.keys.encode(&Key::Lock(setting.queue.clone()));
        let (from, until) = setting.keys.tickets(&setting.queue);
        let waiting = self
            .state
            .entries()
            .filter(|entry| entry.key >= from && entry.key < until);
        let writes = match waiting.min_by_key(|entry| entry.created) {
            Some(next) => {
                let Ok(Key::Ticket(seat)) = setting.keys.decode(&next.key) else {
                    unreachable!("nothing else is among the tickets");
                };
                let (id, _) = record::decode_ticket(&seat, &next.value).expect("it was written");
                let offered = Write::Put {
                    key: lock,
                    value: record::encode_lock(&Lock::from(&id)),
                    lease: 0,
                };
                vec![offered, Write::Touch(next.key.clone())]
            }
            None => vec![Write::Delete(lock)],
        };
        let txn = Txn {
            writes,
            ..Txn::default()
        };
        self.state.commit(&txn).expect("it is well formed");
    }
}

fn unknown(request: Option<&Request>, setting: &Setting) -> Answer {
    let unknown = Err(CommitError::Unknown("the link was cut".to_owned()));
    Answer::Outcome(match request {
        Some(Request::Commit(txn)) => {
            planted::twist_outcome(setting.bug, Step::of_commit(txn), txn, unknown)
        }
        _ => unknown,
    })
}

/// Whether a transaction claims, or queues, for the attachment of `operation`.
fn gives(txn: &Txn, operation: usize, setting: &Setting) -> bool {
    let attachment = setting.verbs[operation].attachment();
    txn.writes.iter().any(|write| match write {
        Write::Put { key, value, .. } => match setting.keys.decode(key) {
            Ok(Key::Claim(of)) => of == *attachment,
            Ok(Key::Ticket(_)) => {
                record::decode_whose_ticket(value).is_ok_and(|of| of == *attachment)
            }
            Ok(Key::Open(_) | Key::Full(_) | Key::Lock(_) | Key::Cluster) | Err(_) => false,
        },
        Write::Rewrite { .. }
        | Write::Touch(_)
        | Write::Delete(_)
        | Write::Ensure { .. }
        | Write::DeleteUnlessNewer { .. } => false,
    })
}
