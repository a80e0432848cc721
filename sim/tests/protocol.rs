//! The protocol of `docs/ARCHITECTURE.md` alone, as a model that shares no code with the rest: all
//! interleavings of three ADDs, with up to two faults anywhere.
//!
//! A process reads, decides and sends a transaction in one step; in a later one, or never, it is applied
//! or refused. Its sender may go on without a reply: a lost request, a lost reply, a late request. A lease
//! may end under its process, be it that the process gave up. Who is killed or stopped takes no step for a
//! while or for ever, as anybody may.
//!
//! Not modelled: DEL and whatever else frees an address, requests with two ranges, the search, a second
//! lease of one process, and what serves progress and order alone, such as time, wake-ups, handing over,
//! and that an optimistic commit checks that nobody is in line.

use std::collections::BTreeMap;

use stateright::{Checker, HasDiscoveries, Model, Property};

/// Sets of addresses. The ranges overlap in the first block.
const BLOCKS: [usize; 2] = [0b0011, 0b1100];
const RANGES: [usize; 2] = [0b0011, 0b0110];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Block(usize),
    /// Of an attachment.
    Claim(usize),
    /// Of a range and an attachment. Its value is the process whose lease it has.
    Ticket(usize, usize),
    Lease(usize),
}
use Key::{Block, Claim, Lease, Ticket};

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Txn {
    /// What must be as it was read.
    checks: Vec<(Key, Option<(usize, u8)>)>,
    writes: BTreeMap<Key, Option<usize>>,
    /// Who relies on holding the lock.
    holder: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Commits without a ticket, if nobody is in line.
    Try,
    Queue,
    Granted,
    /// The range is full, or the lease ended.
    Failed,
}
use At::{Failed, Granted, Queue, Try};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    /// A value, and how often it was written: its revision, as nobody puts a ticket twice.
    entries: BTreeMap<Key, (usize, u8)>,
    /// The attachments in line for each range, the one with the oldest ticket first.
    queues: [Vec<usize>; 2],
    processes: Vec<At>,
    /// Transactions on their way, and who waits for the reply.
    sent: Vec<(Option<usize>, Txn)>,
    faults: u8,
    /// A holder wrote without its lease, or a ticket changed hands.
    unfenced: bool,
}

impl State {
    fn value(&self, key: Key) -> Option<usize> {
        self.entries.get(&key).map(|entry| entry.0)
    }

    /// The sum and the union of all addresses under a kind of key: equal unless some overlap.
    fn addresses(&self, kind: fn(usize) -> Key) -> (usize, usize) {
        let sets = (0..3).filter_map(|id| self.value(kind(id)));
        sets.fold((0, 0), |(sum, union), set| (sum + set, union | set))
    }

    fn apply(&mut self, index: usize) {
        let (_, txn) = self.sent.remove(index);
        let is_as_read = |(key, read): &(Key, _)| self.entries.get(key).copied() == *read;
        if txn.checks.iter().all(is_as_read) {
            self.unfenced |= txn.holder.is_some_and(|p| self.value(Lease(p)).is_none());
            for (key, value) in txn.writes {
                self.write(key, value);
            }
        }
    }

    fn write(&mut self, key: Key, value: Option<usize>) {
        let old = self.entries.remove(&key);
        let times = old.map_or(1, |entry| entry.1 + 1);
        self.entries
            .extend(value.map(|value| (key, (value, times))));
        match (key, old, value) {
            (Ticket(range, of), None, Some(_)) => self.queues[range].push(of),
            (Ticket(range, of), _, None) => self.queues[range].retain(|other| *other != of),
            (Ticket(..), Some(old), Some(new)) => self.unfenced |= old.0 != new,
            (Block(_) | Claim(_) | Lease(_), ..) => {}
        }
    }

    fn end_lease(&mut self, process: usize) {
        for (key, entry) in self.entries.clone() {
            if matches!(key, Ticket(..) | Lease(_)) && entry.0 == process {
                self.write(key, None);
            }
        }
    }
}

/// Attachments, ranges, and where each starts.
type Processes = [(usize, usize, At); 3];

struct World {
    processes: Processes,
    /// The rule that is broken.
    without: &'static str,
}

impl World {
    fn check(&self, rule: &str, state: &State, key: Key, txn: &mut Txn) {
        if self.without != rule {
            txn.checks.push((key, state.entries.get(&key).copied()));
        }
    }

    /// Gives each the lowest free address, as long as there is one.
    fn give(&self, state: &State, range: usize, attachments: &[usize], txn: &mut Txn) {
        let mut taken = state.addresses(Block).1;
        for &attachment in attachments {
            let (claim, ticket) = (Claim(attachment), Ticket(range, attachment));
            let free = RANGES[range] & !taken;
            if free == 0 || state.value(claim).is_some() {
                continue;
            }
            let address = free & free.wrapping_neg();
            let block = usize::from(address & BLOCKS[1] != 0);
            taken |= address;
            self.check("blocks are checked", state, Block(block), txn);
            self.check("claims are checked", state, claim, txn);
            txn.writes.insert(Block(block), Some(taken & BLOCKS[block]));
            txn.writes.insert(claim, Some(address));
            if state.value(ticket) != txn.holder {
                self.check("served tickets are checked", state, ticket, txn);
                txn.writes.insert(ticket, None);
            }
        }
    }

    /// Where a process goes, and what it sends; `None` while it waits.
    fn step(&self, state: &State, p: usize) -> Option<(At, Txn)> {
        let (at, (attachment, range, _)) = (state.processes[p], self.processes[p]);
        let (ticket, queue) = (Ticket(range, attachment), &state.queues[range]);
        let owner = state.value(ticket);
        let has_claim = state.value(Claim(attachment)).is_some();
        let overwrites = self.without == "tickets are not overwritten";
        let mut txn = Txn::default();
        match at {
            Granted | Failed => return None,
            Try if queue.is_empty() => self.give(state, range, &[attachment], &mut txn),
            _ if owner == Some(p) && queue[0] == attachment => {
                txn.holder = owner;
                self.check("holders are fenced", state, ticket, &mut txn);
                self.give(state, range, queue, &mut txn);
            }
            _ if has_claim || state.value(Lease(p)).is_none() => {}
            _ if owner.is_none() || owner != Some(p) && overwrites => {
                self.check("leases are checked", state, Lease(p), &mut txn);
                self.check("claims are checked", state, Claim(attachment), &mut txn);
                self.check("tickets are not overwritten", state, ticket, &mut txn);
                txn.writes.insert(ticket, Some(p));
            }
            Queue | Try => return None,
        }
        let end = if has_claim { Granted } else { Failed };
        Some((if txn.writes.is_empty() { end } else { Queue }, txn))
    }

    /// Makes an unknown transaction impossible: what it checks first is written anew, as it is. The
    /// put of a ticket is repeated instead.
    fn fence(&self, state: &State, mut txn: Txn) -> Option<Txn> {
        let key = txn.checks.first()?.0;
        txn.checks.truncate(1);
        txn.writes = [(key, state.value(key).or(Some(0)))].into();
        let is_commit = matches!(key, Block(_) | Ticket(..));
        (is_commit && self.without != "unknown is not failure").then_some(txn)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Step(usize),
    Expire(usize),
    Apply(usize),
    TimeOut(usize),
}
use Action::{Apply, Expire, Step, TimeOut};

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State::default();
        for (p, process) in self.processes.iter().enumerate() {
            state.processes.push(process.2);
            state.write(Lease(p), Some(p));
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend((0..3).flat_map(|p| [Step(p), Expire(p)]));
        actions.extend((0..state.sent.len()).flat_map(|txn| [Apply(txn), TimeOut(txn)]));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Step(p) if last.sent.iter().any(|sent| sent.0 == Some(p)) => return None,
            Step(p) => {
                let (at, txn) = self.step(last, p)?;
                state.processes[p] = at;
                match at {
                    Granted | Failed => state.end_lease(p),
                    Queue | Try => state.sent.push((Some(p), txn)),
                }
            }
            Apply(index) => state.apply(index),
            TimeOut(index) => {
                let p = state.sent[index].0.take()?;
                let fence = self.fence(last, last.sent[index].1.clone());
                state.sent.extend(fence.map(|fence| (Some(p), fence)));
            }
            Expire(p) if last.value(Lease(p)).is_none() => return None,
            Expire(p) => state.end_lease(p),
        }
        state.faults += u8::from(matches!(action, TimeOut(_) | Expire(_)));
        state.sent.sort();
        (state.faults <= 2).then_some(state)
    }

    /// "settled": an attachment whose every ADD failed is given nothing later.
    fn properties(&self) -> Vec<Property<Self>> {
        let unique = |_: &Self, state: &State| state.addresses(Claim).0 == state.addresses(Claim).1;
        let agree = |_: &Self, state: &State| state.addresses(Claim).1 == state.addresses(Block).1;
        let settled = |world: &Self, state: &State| {
            let of = |id| (0..3).filter(move |p| world.processes[*p].0 == id);
            let failed = |id| of(id).all(|p| state.processes[p] == Failed);
            (0..3).all(|id| state.value(Claim(id)).is_none() || !failed(id))
        };
        vec![
            Property::always("unique", unique),
            Property::always("agree", agree),
            Property::always("fenced", |_: &Self, state: &State| !state.unfenced),
            Property::always("settled", settled),
        ]
    }
}

/// Each has more states than that.
const WORLDS: [(Processes, usize); 4] = [
    ([(0, 0, Try), (1, 0, Try), (2, 1, Queue)], 80_000),
    ([(0, 0, Queue), (1, 0, Queue), (2, 0, Queue)], 30_000),
    ([(0, 0, Try), (0, 1, Try), (1, 1, Queue)], 60_000),
    ([(0, 0, Queue), (0, 0, Queue), (1, 0, Try)], 25_000),
];

#[test]
fn the_protocol_keeps_its_promises() {
    for (processes, floor) in WORLDS {
        let without = "nothing";
        let world = World { processes, without };
        let checker = world.checker().spawn_dfs().join();
        let (states, steps) = (checker.unique_state_count(), checker.state_count());
        println!("{processes:?}: {states} states, {steps} steps");
        checker.assert_properties();
        assert!(states > floor, "{states} states of {processes:?}");
    }
}

#[test]
fn what_is_planted_is_found() {
    for (without, promise, world) in [
        ("blocks are checked", "unique", 0),
        ("claims are checked", "agree", 2),
        ("leases are checked", "fenced", 1),
        ("holders are fenced", "fenced", 1),
        ("served tickets are checked", "settled", 1),
        ("tickets are not overwritten", "fenced", 3),
        ("unknown is not failure", "settled", 0),
    ] {
        let (processes, _) = WORLDS[world];
        let only = HasDiscoveries::AnyOf([promise].into());
        let world = World { processes, without };
        let checker = world.checker().finish_when(only).spawn_bfs().join();
        let path = checker.assert_any_discovery(promise).into_actions();
        println!("without \"{without}\": not {promise} after {path:?}");
    }
}
