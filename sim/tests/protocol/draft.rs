//! What a process writes, decided from one state.

use crate::etcd::{Key, Revision, Txn, Value, Verb, members};
use crate::{Plant, Scenario, State, Verdict};

/// The addresses of the first block; the next one's are two bits higher.
pub(crate) const BLOCK: u8 = 0b11;

impl State {
    pub(crate) fn check(&self, txn: &mut Txn, key: Key) {
        txn.unchanged.push((key, self.etcd.modified(key)));
    }

    /// Deletes a ticket; touches the next if it is the oldest, or checks that there is none.
    pub(crate) fn removal(&self, ticket: Key) -> Txn {
        let mut txn = Txn::default();
        self.check(&mut txn, ticket);
        txn.writes.push((ticket, None));
        let queue = queue_of(ticket);
        match self.etcd.queue(queue)[..] {
            [(oldest, _)] if oldest == ticket => txn.nobody_in = 1 << queue,
            [(oldest, _), (next, entry), ..] if oldest == ticket => {
                self.check(&mut txn, next);
                txn.writes.push((next, Some((entry.value, entry.lease))));
            }
            _ => {}
        }
        txn
    }

    /// What makes `txn` impossible: one key that it checks is written anew, with the same value.
    pub(crate) fn fence(&self, txn: &Txn) -> Option<Txn> {
        let checked = |old: &&(Key, Revision)| !matches!(old, (Key::Claim(_), 0));
        let old = txn.unchanged.iter().find(checked)?;
        let now = self.etcd.get(old.0).map(|entry| (entry.value, entry.lease));
        let value = now.unwrap_or((Value::Addresses(0), None));
        let (unchanged, writes) = (vec![*old], vec![(old.0, Some(value))]);
        Some(Txn {
            unchanged,
            writes,
            ..Txn::default()
        })
    }

    pub(crate) fn is_oldest(&self, ticket: Key) -> bool {
        self.etcd
            .queue(queue_of(ticket))
            .first()
            .is_some_and(|oldest| oldest.0 == ticket)
    }
}

/// A transaction in the making.
pub(crate) struct Draft<'a> {
    scenario: &'a Scenario,
    state: &'a State,
    txn: Txn,
    taken: u8,
    touched: u8,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(scenario: &'a Scenario, state: &'a State) -> Self {
        let taken = state.etcd.blocks().fold(0, |all, block| all | block);
        Self {
            scenario,
            state,
            txn: Txn::default(),
            taken,
            touched: 0,
        }
    }

    /// Decides one demand: the lowest free addresses, or the release of the claim. `Full` and what
    /// the claim tells already write nothing.
    pub(crate) fn serve(&mut self, attachment: u8, demand: Value) -> Verdict {
        let claim = Key::Claim(attachment);
        let release = matches!(demand, Value::Release(..));
        let blind = release && self.scenario.plant == Some(Plant::ClaimUnchecked);
        if let Some(verdict) = self.state.told(attachment, demand).filter(|_| !blind) {
            return verdict;
        }
        let (value, changed, verdict) = match demand {
            Value::Take(ranges) => {
                let mut given = 0;
                for range in members(ranges) {
                    let range = self.scenario.ranges[usize::from(range)];
                    match range & !self.taken & !given {
                        0 => return Verdict::Full,
                        free => given |= 1 << free.trailing_zeros(),
                    }
                }
                self.taken |= given;
                (
                    Some((Value::Addresses(given), None)),
                    given,
                    Verdict::Granted,
                )
            }
            Value::Release(_, held) => {
                self.taken &= !held;
                (None, held, Verdict::Released)
            }
            Value::Addresses(_) | Value::Refused => unreachable!("nobody asks for {demand:?}"),
        };
        self.touched |= changed;
        if !blind {
            self.state.check(&mut self.txn, claim);
        }
        self.txn.writes.push((claim, value));
        verdict
    }

    /// Adds the blocks.
    pub(crate) fn finish(mut self) -> Txn {
        for block in 0..4 {
            let addresses = BLOCK << (2 * block);
            if self.touched & addresses != 0 {
                let key = Key::Block(block);
                if self.scenario.plant != Some(Plant::BlockUnchecked) {
                    self.state.check(&mut self.txn, key);
                }
                let value = (Value::Addresses(self.taken & addresses), None);
                self.txn.writes.push((key, Some(value)));
            }
        }
        self.txn
    }
}

impl Scenario {
    /// The holder's next batch, and its verdict on its own demand after it. `None`: there is nobody
    /// to serve.
    pub(crate) fn batch(
        &self,
        state: &State,
        holder: usize,
        decided: Option<Verdict>,
    ) -> Option<(Txn, Option<Verdict>)> {
        let own = state.processes[holder].ticket;
        let mut draft = Draft::new(self, state);
        draft.txn.holder = Some((holder, queue_of(own)));
        if self.plant != Some(Plant::TicketUnchecked) {
            state.check(&mut draft.txn, own);
        }
        let (mut seen, mut done) = (0_u8, decided);
        let queue = state.etcd.queue(queue_of(own));
        for &(key, entry) in &queue {
            let Key::Ticket(id, verb, attachment) = key else {
                unreachable!("{key:?} is queued")
            };
            if entry.value == Value::Refused || key == own && decided.is_some() {
                continue;
            }
            if seen >> attachment & 1 == 1 || seen.count_ones() == self.batch {
                break;
            }
            let verdict = draft.serve(attachment, entry.value);
            if verdict == Verdict::Full && draft.touched != 0 {
                break;
            }
            seen |= 1 << attachment;
            if key == own {
                done = Some(verdict);
            } else {
                state.check(&mut draft.txn, key);
                let refused = (Value::Refused, entry.lease);
                draft
                    .txn
                    .writes
                    .push((key, (verdict == Verdict::Full).then_some(refused)));
            }
            let add = Key::Ticket(id, Verb::Add, attachment);
            if verb == Verb::Del && add != own && state.etcd.get(add).is_some() {
                state.check(&mut draft.txn, add);
                draft.txn.writes.push((add, None));
            }
        }
        (seen != 0).then(|| (draft.finish(), done))
    }
}

fn queue_of(ticket: Key) -> u8 {
    match ticket {
        Key::Ticket(queue, ..) => queue,
        Key::Block(_) | Key::Claim(_) => unreachable!("{ticket:?} is in no queue"),
    }
}
