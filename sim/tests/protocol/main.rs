//! The protocol of `docs/ARCHITECTURE.md` alone, as a model that shares no code with the rest: all
//! interleavings of a few processes with a few faults.
//!
//! Modelled: blocks of two addresses, claims, and tickets with leases in an abstract etcd; ADD and
//! DEL with optimistic tries, queue, batches, hand-over, leaving, fences and giving up. A request is
//! sent in one step and applied in another. When no reply comes in time (`TimeOut`) it is applied at
//! any later time (`Land`) or never: a lost request, a lost reply or a late request. A killed process
//! takes no more steps, a paused one takes its next step late, and a lease may end (`Expire`) under
//! a live process. A process ends its lease before it ends, unless it is killed.
//!
//! Not modelled: time; watches and touches as wake-ups (who has something to do does it at any later
//! time); `open/`, `full/` and the search; failed reads; limits of operations; a second lease of one
//! process; requested addresses; CHECK and GC.
//!
//! Only the order of revisions matters, so each step replaces them by their ranks, and drops late
//! requests that can never be applied any more.

mod checks;
mod draft;
mod etcd;

use draft::{BLOCK, Draft};
use etcd::{Entry, Etcd, Key, Revision, Txn, Value, Verb, members};
use stateright::{Model, Property};

/// A small world, and what may happen in it.
#[derive(Clone, Debug)]
struct Scenario {
    name: &'static str,
    /// The addresses of each range.
    ranges: &'static [u8],
    /// What each attachment holds at first.
    held: &'static [u8],
    /// Processes: attachment, verb, ranges. Each starts when those of the other verb before it of
    /// the same attachment have ended.
    jobs: &'static [(u8, Verb, u8)],
    /// Optimistic tries; none where others are always in the queue.
    tries: u8,
    /// Demands that a batch serves at most.
    batch: u32,
    faults: Faults,
    reaches: &'static [&'static str],
    plant: Option<Plant>,
}

/// Something that is deliberately wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    BlockUnchecked,
    TicketUnchecked,
    ClaimUnchecked,
    TicketOverAnother,
    UnknownIsFailure,
    /// The last revocation is tried once, even if a ticket may still be put with the lease.
    RevocationLost,
}

/// How many are left of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Faults {
    time_outs: u8,
    kills: u8,
    expiries: u8,
    give_ups: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    etcd: Etcd,
    processes: Vec<Process>,
    late: Vec<Txn>,
    left: Faults,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    at: At,
    demand: Value,
    ticket: Key,
    sent: Option<Sent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Look,
    Try(u8),
    Join,
    Line(Option<Verdict>),
    Leave(Verdict),
    Revoke(Verdict),
    End(Verdict),
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Verdict {
    Granted,
    Full,
    Released,
    Failed,
}
use Verdict::{Failed, Full, Granted, Released};

/// A request without a reply so far, and where its sender goes on after the reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sent {
    txn: Txn,
    done: At,
    refused: At,
    settles: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Step(usize),
    Deliver(usize),
    TimeOut(usize),
    Land(usize),
    Kill(usize),
    Expire(usize),
    GiveUp(usize),
}

impl State {
    /// What the claim alone tells of a demand.
    fn told(&self, attachment: u8, demand: Value) -> Option<Verdict> {
        match (demand, self.etcd.modified(Key::Claim(attachment))) {
            (Value::Release(..), 0) => Some(Released),
            (Value::Release(read, _), now) if read != now => Some(Failed),
            (Value::Release(..), _) | (_, 0) => None,
            _ => Some(Granted),
        }
    }

    /// The same state with ranks for revisions, and without requests that are never applied.
    fn in_short(mut self) -> Self {
        let etcd = &self.etcd;
        self.late.retain(|txn| !etcd.is_hopeless(txn));
        self.late.sort();
        let mut revisions: Vec<&mut Revision> = self.etcd.revisions().collect();
        revisions.extend(self.late.iter_mut().flat_map(Txn::revisions));
        for process in &mut self.processes {
            if matches!(process.at, At::End(_) | At::Killed) {
                process.demand = Value::Refused;
            }
            revisions.extend(process.demand.revision());
            revisions.extend(
                process
                    .sent
                    .iter_mut()
                    .flat_map(|sent| sent.txn.revisions()),
            );
        }
        let mut ranks: Vec<Revision> = revisions.iter().map(|revision| **revision).collect();
        ranks.push(0);
        ranks.sort_unstable();
        ranks.dedup();
        for revision in revisions {
            let rank = ranks
                .binary_search(revision)
                .expect("each revision has a rank");
            *revision = Revision::try_from(rank).expect("there are few revisions");
        }
        self
    }
}

impl Scenario {
    /// Takes the next step of a process, if it has one now.
    fn step(&self, state: &mut State, p: usize) -> Option<()> {
        let (attachment, verb, ranges) = self.jobs[p];
        let Process {
            at,
            demand,
            ticket,
            ref sent,
        } = state.processes[p];
        let ended = |o: usize| matches!(state.processes[o].at, At::End(_) | At::Killed);
        let awaited = |o: &usize| self.jobs[*o].0 == attachment && self.jobs[*o].1 != verb;
        if sent.is_some() || !(0..p).filter(awaited).all(ended) {
            return None;
        }
        let told = state.told(attachment, demand);
        let mine = state
            .etcd
            .get(ticket)
            .filter(|entry| entry.lease == Some(p));
        let claim = Key::Claim(attachment);
        let go = |state: &mut State, at| state.processes[p].at = at;
        let send = |state: &mut State, txn, done, refused, settles| {
            state.processes[p].sent = Some(Sent {
                txn,
                done,
                refused,
                settles,
            });
        };
        match at {
            At::Look => {
                let tickets =
                    members(ranges).map(|queue| Key::Ticket(queue, Verb::Add, attachment));
                if let Some(ticket) = tickets
                    .into_iter()
                    .find(|key| state.etcd.get(*key).is_some())
                {
                    send(state, state.removal(ticket), at, at, false);
                } else if let Some(entry) = state.etcd.get(claim) {
                    let held = state.etcd.addresses(claim);
                    state.processes[p].demand = Value::Release(entry.modified, held);
                    go(state, At::Try(0));
                } else {
                    go(state, At::End(Released));
                }
            }
            At::Try(tries) => self.try_once(state, p, tries),
            At::Join => match (mine, told) {
                _ if !state.etcd.is_alive(p) => go(state, At::End(Failed)),
                (Some(_), _) => go(state, At::Line(None)),
                (None, Some(verdict)) => go(state, At::Revoke(verdict)),
                (None, None) => {
                    let mut txn = Txn::default();
                    state.check(&mut txn, claim);
                    if self.plant != Some(Plant::TicketOverAnother) {
                        if state.etcd.get(ticket).is_some() {
                            return None;
                        }
                        state.check(&mut txn, ticket);
                    }
                    txn.writes.push((ticket, Some((demand, Some(p)))));
                    send(state, txn, At::Line(None), at, false);
                }
            },
            At::Line(decided) => match (decided, told, mine) {
                (None, Some(verdict), _) => go(state, At::Leave(verdict)),
                (None, None, None) => go(state, At::Leave(Failed)),
                (
                    None,
                    None,
                    Some(Entry {
                        value: Value::Refused,
                        ..
                    }),
                ) => go(state, At::Leave(Full)),
                (Some(verdict), _, None) => go(state, At::Revoke(verdict)),
                (_, _, Some(_)) if !state.is_oldest(ticket) => return None,
                (_, _, Some(_)) => match self.batch(state, p, decided) {
                    Some((txn, done)) => send(state, txn, At::Line(done), at, true),
                    None => send(state, state.removal(ticket), at, at, false),
                },
            },
            At::Leave(_) if mine.is_some() => send(state, state.removal(ticket), at, at, false),
            At::Leave(Failed) => go(state, At::Revoke(told.unwrap_or(Failed))),
            At::Leave(verdict) => go(state, At::Revoke(verdict)),
            At::Revoke(verdict) => {
                state.etcd.end_lease(p);
                go(state, At::End(verdict));
            }
            At::End(_) | At::Killed => return None,
        }
        Some(())
    }

    /// An optimistic try, or the way to the queue.
    fn try_once(&self, state: &mut State, p: usize, tries: u8) {
        let (attachment, verb, ranges) = self.jobs[p];
        let demand = state.processes[p].demand;
        let told = state.told(attachment, demand);
        let go = |state: &mut State, at| state.processes[p].at = at;
        let blind = verb == Verb::Del && self.plant == Some(Plant::ClaimUnchecked);
        let busy = members(ranges).find(|queue| !state.etcd.queue(*queue).is_empty());
        match told.filter(|_| !blind) {
            Some(Failed) => go(state, At::Look),
            Some(verdict) => go(state, At::End(verdict)),
            None if busy.is_some() || tries == self.tries => {
                let queue = busy.or(members(ranges).next()).expect("a job has a range");
                state.processes[p].ticket = Key::Ticket(queue, verb, attachment);
                state.etcd.grant(p);
                go(state, At::Join);
            }
            None => {
                let mut draft = Draft::new(self, state);
                match draft.serve(attachment, demand) {
                    Full => go(state, At::End(Full)),
                    verdict => {
                        let mut txn = draft.finish();
                        txn.nobody_in = ranges;
                        let (done, refused) = (At::End(verdict), At::Try(tries + 1));
                        state.processes[p].sent = Some(Sent {
                            txn,
                            done,
                            refused,
                            settles: true,
                        });
                    }
                }
            }
        }
    }

    /// No reply came in time.
    fn time_out(&self, state: &mut State, p: usize) {
        let Process { at, .. } = state.processes[p];
        let sent = state.processes[p].sent.take();
        state.processes[p].at = match (at, &sent) {
            (At::Revoke(verdict), None) => At::End(verdict),
            (At::Try(_), Some(_)) if self.plant == Some(Plant::UnknownIsFailure) => At::End(Failed),
            // Whether the lock was given up is to be seen.
            (At::Line(Some(verdict)), Some(Sent { settles: false, .. })) => At::Leave(verdict),
            _ => at,
        };
        let Some(Sent {
            txn,
            refused,
            settles,
            ..
        }) = sent
        else {
            return;
        };
        if settles && !matches!(state.processes[p].at, At::End(_)) {
            let fence = state.fence(&txn);
            state.processes[p].sent = fence.map(|txn| Sent {
                txn,
                done: refused,
                refused,
                settles,
            });
        }
        state.late.push(txn);
    }
}

impl Model for Scenario {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut etcd = Etcd::default();
        let claims = (0..).zip(self.held).filter(|(_, held)| **held != 0);
        let mut writes: Vec<(Key, u8)> = claims
            .map(|(attachment, held)| (Key::Claim(attachment), *held))
            .collect();
        let held = self.held.iter().fold(0, |all, held| all | held);
        writes.extend((0..4).map(|block| (Key::Block(block), held & (BLOCK << (2 * block)))));
        let writes = writes.into_iter().filter(|write| write.1 != 0);
        let writes = writes
            .map(|(key, held)| (key, Some((Value::Addresses(held), None))))
            .collect();
        etcd.apply(&Txn {
            writes,
            ..Txn::default()
        });
        let processes = self.jobs.iter().map(|&(attachment, verb, ranges)| {
            let (at, demand) = match verb {
                Verb::Add => (At::Try(0), Value::Take(ranges)),
                Verb::Del => (At::Look, Value::Refused),
            };
            Process {
                at,
                demand,
                ticket: Key::Ticket(0, verb, attachment),
                sent: None,
            }
        });
        let processes = processes.collect();
        vec![
            State {
                etcd,
                processes,
                late: Vec::new(),
                left: self.faults,
            }
            .in_short(),
        ]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let left = state.left;
        for (p, process) in state.processes.iter().enumerate() {
            let ended = matches!(process.at, At::End(_) | At::Killed);
            let (sent, alive) = (process.sent.is_some(), state.etcd.is_alive(p));
            let revokes = matches!(process.at, At::Revoke(_));
            let loses_it = self.plant == Some(Plant::RevocationLost);
            let hands_over = matches!(process.at, At::Line(Some(_)));
            let deadline = left.give_ups > 0 && matches!(process.at, At::Join | At::Line(None));
            let possible = [
                (!ended && !sent, Action::Step(p)),
                (sent, Action::Deliver(p)),
                (
                    left.time_outs > 0 && (sent || revokes && loses_it),
                    Action::TimeOut(p),
                ),
                (left.kills > 0 && !ended && (sent || alive), Action::Kill(p)),
                (alive && (ended || left.expiries > 0), Action::Expire(p)),
                (!sent && (hands_over || deadline), Action::GiveUp(p)),
            ];
            actions.extend(
                possible
                    .into_iter()
                    .filter(|(is, _)| *is)
                    .map(|(_, action)| action),
            );
        }
        actions.extend((0..state.late.len()).map(Action::Land));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut state = state.clone();
        match action {
            Action::Step(p) => self.step(&mut state, p)?,
            Action::Deliver(p) => {
                let sent = state.processes[p].sent.take()?;
                let done = state.etcd.apply(&sent.txn);
                state.processes[p].at = if done { sent.done } else { sent.refused };
            }
            Action::TimeOut(p) => {
                state.left.time_outs -= 1;
                self.time_out(&mut state, p);
            }
            Action::Land(index) => {
                let txn = state.late.remove(index);
                state.etcd.apply(&txn).then_some(())?;
            }
            Action::Kill(p) => {
                state.left.kills -= 1;
                state
                    .late
                    .extend(state.processes[p].sent.take().map(|sent| sent.txn));
                state.processes[p].at = At::Killed;
            }
            Action::Expire(p) => {
                if !matches!(state.processes[p].at, At::End(_) | At::Killed) {
                    state.left.expiries -= 1;
                }
                state.etcd.end_lease(p);
            }
            Action::GiveUp(p) => {
                let decided = match state.processes[p].at {
                    At::Line(decided) => decided,
                    _ => None,
                };
                state.left.give_ups -= u8::from(decided.is_none());
                state.processes[p].at = At::Leave(decided.unwrap_or(Failed));
            }
        }
        Some(state.in_short())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        checks::properties(self)
    }
}
