//! The protocol of `docs/PROTOCOL.md` alone, as a model that shares no code with the rest. A process reads, decides
//! and sends a transaction in one step. In a later step, or never, the transaction is applied or refused. Up to two
//! faults strike. A sender goes on without a reply (a lost request, a lost reply, a late request). A lease ends under
//! its process. A process gives up. A killed process takes no further step. Revisions are not counted, as none
//! comes twice: a write makes void what relies on the one before. Not modelled: full ranges, two for one, GC, order,
//! time.

use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeMap;

/// An attachment and a verb; with the range, and where a process starts.
type Request = (usize, Verb);
type Processes = [(Request, usize, At); 3];
/// Sets of addresses. The ranges overlap in the second block.
const BLOCKS: [usize; 2] = [0b0001, 0b1110];
const RANGES: [usize; 2] = [0b0111, 0b1110];
const WORLDS: [Processes; 4] = [
    [((0, Add), 0, Try), ((1, Add), 0, Lead), ((0, Del), 0, Lead)],
    [((0, Add), 0, Lead), ((0, Add), 0, Lead), ((1, Add), 0, Try)],
    [((0, Add), 0, Try), ((1, Add), 0, Lead), ((2, Add), 1, Try)],
    [((0, Add), 0, Try), ((0, Add), 1, Try), ((1, Add), 1, Lead)],
];

macro_rules! words {
    ($($name:ident: $($word:ident $(($($of:ty),+))?)+;)+) => { $(
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        enum $name { $($word $(($($of),+))?),+ } use $name::{$($word),+};
    )+ };
}
words! {
    // A claim is of an attachment, a lock of a range, a ticket of both. Locks and tickets hold who put them.
    Key: Block(usize) Claim(usize) Lock(usize) Ticket(usize, Request) Lease(usize);
    Verb: Add Del;
    // Try commits without the lock, if there is none; Lead goes for it. Both put a ticket if another has it.
    At: Try Lead Wait Leave Ended;
    Action: Step(usize) GiveUp(usize) Expire(usize) Apply(usize) TimeOut(usize);
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Txn {
    /// The condition of each key: there and unmodified since the read, or not there.
    checks: BTreeMap<Key, bool>,
    writes: BTreeMap<Key, Option<usize>>,
    /// The key that its sender, without a reply, writes anew to make the transaction void.
    fence: Option<Key>,
    is_holder: bool,
    /// Refused, it gives its sender the lock, if nobody has it: without a lease, but that may end, too.
    offers: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    entries: BTreeMap<Key, usize>,
    processes: Vec<At>,
    /// Transactions on their way, their senders, and whether these wait.
    sent: Vec<(usize, bool, Txn)>,
    faults: u8,
    broken: &'static str,
}

impl State {
    fn value(&self, key: Key) -> Option<usize> {
        self.entries.get(&key).copied()
    }

    /// All addresses: the sum of those of claims, their union, less if some overlap, and that of blocks.
    fn sets(&self) -> [usize; 3] {
        let all = |kind: fn(usize) -> Key| (0..3).filter_map(move |id| self.value(kind(id)));
        let union = |kind| all(kind).fold(0, |union, set| union | set);
        [all(Claim).sum(), union(Claim), union(Block)]
    }

    fn queue(&self, range: usize) -> Vec<Request> {
        let waits = |request: &Request| self.value(Ticket(range, *request)).is_some();
        let all = (0..3).flat_map(|id| [(id, Add), (id, Del)]);
        all.filter(waits).collect()
    }

    /// Gives each the lowest free address, or frees what it has.
    fn serve(&self, range: usize, asked: &[Request], txn: &mut Txn) {
        let mut taken = self.sets()[2];
        for &(id, verb) in asked {
            let (claim, ticket) = (Claim(id), Ticket(range, (id, verb)));
            let (held, free) = (self.value(claim), RANGES[range] & !taken);
            let is_first = !txn.writes.contains_key(&claim);
            if txn.is_holder && is_first && self.value(ticket).is_some() {
                txn.writes.insert(ticket, None);
            }
            if is_first && held.is_some() == (verb == Del) {
                let address = held.unwrap_or(free & free.wrapping_neg());
                let block = usize::from(address & BLOCKS[1] != 0);
                taken ^= address;
                txn.writes.insert(claim, held.xor(Some(address)));
                txn.writes.insert(Block(block), Some(taken & BLOCKS[block]));
                txn.fence = Some(Block(block));
            }
        }
    }

    fn write(&mut self, key: Key, new: Option<usize>) {
        self.entries.remove(&key);
        self.entries.extend(new.map(|new| (key, new)));
        for (_, _, txn) in &mut self.sent {
            txn.fence = txn.fence.filter(|fence| *fence != key);
            if txn.checks.get(&key) == Some(&true) {
                (txn.checks, txn.writes, txn.fence) = Default::default();
            }
        }
        let is_bound = |lock: &Key| self.value(*lock).map(Lease) == Some(key);
        if let Some(lock) = [Lock(0), Lock(1)].into_iter().find(is_bound) {
            self.write(lock, None);
        }
    }
}

struct World {
    processes: Processes,
    without: &'static str,
}

impl World {
    fn check(&self, state: &State, key: Key, txn: &mut Txn) {
        let rule = match key {
            Block(_) => "blocks are checked",
            Claim(_) => "claims are checked",
            Ticket(..) => "tickets are checked",
            Lock(_) | Lease(_) if txn.is_holder => "holders are fenced",
            Lock(_) | Lease(_) => "others know the lock",
        };
        let read = Some(state.value(key).is_some()).filter(|_| self.without != rule);
        txn.checks.extend(read.map(|read| (key, read)));
    }

    /// Deletes a ticket or the lock; without a lock then, touches the next in line, or checks that none is.
    fn delete(&self, state: &State, range: usize, gone: Key, txn: &mut Txn) {
        txn.writes.insert(gone, None);
        let all = self.processes.map(|who| Ticket(range, who.0));
        let is_left = |key: &&Key| **key != gone && state.value(**key).is_some();
        match all.iter().find(is_left) {
            _ if gone != Lock(range) && state.value(Lock(range)).is_some() => {}
            Some(next) => _ = txn.writes.insert(*next, state.value(*next)),
            None => all.iter().for_each(|key| self.check(state, *key, txn)),
        }
    }

    /// Where a process goes, and what it sends; `None` while it waits.
    fn step(&self, state: &State, p: usize) -> Option<(At, Txn)> {
        let (at, (request, range, _)) = (state.processes[p], self.processes[p]);
        let (lock, ticket, claim) = (Lock(range), Ticket(range, request), Claim(request.0));
        let (holder, sender) = (state.value(lock), state.value(ticket));
        let is_done = state.value(claim).is_some() == (request.1 == Add);
        let add = Ticket(range, (request.0, Add));
        let cancels = is_done && add != ticket && state.value(add).is_some();
        let is_own = |s: &&(_, _, Txn)| s.0 == p && self.without != "the unknown is fenced";
        let fence = state.sent.iter().filter(is_own).find_map(|s| s.2.fence);
        let (mut to, mut txn) = (at, Txn::default());
        txn.is_holder = holder == Some(p);
        let fence = fence.filter(|key| at == Leave || txn.is_holder || *key != lock);
        match (at, fence) {
            (_, Some(key)) => _ = txn.writes.insert(key, state.value(key).or(Some(0))),
            (Leave, _) if sender == Some(p) => self.delete(state, range, ticket, &mut txn),
            (Leave, _) if txn.is_holder => self.delete(state, range, lock, &mut txn),
            (Leave | Ended, _) => to = Ended,
            _ if cancels => self.delete(state, range, add, &mut txn),
            _ if txn.is_holder => {
                let own = Some(request).filter(|_| at != Wait);
                let asked: Vec<_> = own.into_iter().chain(state.queue(range)).collect();
                state.serve(range, &asked, &mut txn);
                txn.fence = Some(lock);
                to = if txn.writes.is_empty() { Leave } else { at };
            }
            _ if is_done || at == Wait && sender != Some(p) => to = Leave,
            (Try | Lead, _) if sender == Some(p) => to = Wait,
            (Try, _) if holder.is_none() => {
                state.serve(range, &[request], &mut txn);
                txn.offers = !txn.writes.is_empty();
            }
            _ if holder.is_none() => {
                txn.writes.insert(lock, Some(p));
                txn.checks.insert(Lease(p), true);
            }
            _ if sender.is_none() => {
                txn.writes.insert(ticket, Some(p));
                self.check(state, claim, &mut txn);
                txn.fence = Some(lock);
            }
            _ => {}
        }
        let keys: Vec<_> = txn.writes.keys().copied().collect();
        for key in keys.iter().chain([&lock]) {
            self.check(state, *key, &mut txn);
        }
        (to != at || !keys.is_empty()).then_some((to, txn))
    }

    fn apply(&self, state: &mut State, index: usize) {
        let (p, waits, txn) = state.sent.remove(index);
        let (_, range, _) = self.processes[p];
        let is_false = |(key, there): (&Key, &bool)| !there && state.value(*key).is_some();
        if txn.writes.is_empty() || txn.checks.iter().any(is_false) {
            if txn.offers && state.value(Lock(range)).is_none() {
                state.write(Lock(range), Some(p));
            }
            return;
        } else if txn.is_holder && state.value(Lock(range)) != Some(p) {
            state.broken = "fenced";
        }
        for (&key, &new) in &txn.writes {
            let verb = if state.value(key).is_none() { Add } else { Del };
            let mut all = self.processes.iter().zip(&state.processes);
            let is_late = all.all(|(p, at)| (Claim(p.0.0), p.0.1) != (key, verb) || *at == Ended);
            match key {
                Claim(_) if is_late => state.broken = "settled",
                Ticket(..) if verb == Add && waits => state.processes[p] = Wait,
                _ => {}
            }
            state.write(key, new);
        }
        let is_lone = txn.writes.len() == 1 && txn.writes.keys().all(|key| *key >= Lock(0));
        if is_lone && state.value(Lock(range)).is_none() && !state.queue(range).is_empty() {
            state.broken = "in line";
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State::default();
        state.processes.extend(self.processes.map(|who| who.2));
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend((0..3).flat_map(|p| [Step(p), GiveUp(p), Expire(p)]));
        actions.extend((0..state.sent.len()).flat_map(|txn| [Apply(txn), TimeOut(txn)]));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let waits = |p| last.sent.iter().any(|sent| (sent.0, sent.1) == (p, true));
        match action {
            Step(p) | GiveUp(p) if waits(p) || last.processes[p] == Ended => return None,
            Step(p) => {
                let (at, txn) = self.step(last, p)?;
                state.processes[p] = at;
                state.sent.push((p, !txn.writes.is_empty(), txn));
                if at == Ended {
                    state.write(Lease(p), None);
                }
            }
            GiveUp(p) => state.processes[p] = Leave,
            Expire(p) => state.write(Lease(p), None),
            Apply(index) => self.apply(&mut state, index),
            TimeOut(index) => state.sent[index].1 = false,
        }
        state
            .sent
            .retain(|s| s.1 || s.2.offers || !s.2.writes.is_empty());
        state.sent.sort();
        let is_change = state != *last;
        state.faults += u8::from(!matches!(action, Step(_) | Apply(_)));
        (is_change && state.faults <= 2).then_some(state)
    }

    /// "settled": no claim comes or goes once all who asked for that have ended. "in line": no ticket is put,
    /// and none is left behind without a touch, where there is no lock.
    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("unique", |_, s: &State| s.sets()[0] == s.sets()[1]),
            Property::always("agree", |_, s: &State| s.sets()[1] == s.sets()[2]),
            Property::always("fenced", |_, s: &State| s.broken != "fenced"),
            Property::always("settled", |_, s: &State| s.broken != "settled"),
            Property::always("in line", |_, s: &State| s.broken != "in line"),
        ]
    }
}

#[test]
fn the_protocol_keeps_its_promises() {
    for (processes, without) in WORLDS.map(|processes| (processes, "nothing")) {
        let world = World { processes, without };
        let checker = world.checker().spawn_dfs().join();
        let (states, steps) = (checker.unique_state_count(), checker.state_count());
        println!("{processes:?}: {states} states, {steps} steps");
        checker.assert_properties();
        assert!(states > 30_000, "{states} states of {processes:?}");
    }
}

#[test]
fn what_is_planted_is_found() {
    for (without, promise, world) in [
        ("blocks are checked", "unique", 2),
        ("claims are checked", "agree", 3),
        ("holders are fenced", "fenced", 0),
        ("others know the lock", "settled", 1),
        ("others know the lock", "in line", 0),
        ("tickets are checked", "settled", 1),
        ("tickets are checked", "in line", 0),
        ("the unknown is fenced", "settled", 0),
    ] {
        let (processes, only) = (WORLDS[world], HasDiscoveries::AnyOf([promise].into()));
        let world = World { processes, without };
        let checker = world.checker().finish_when(only).spawn_bfs().join();
        checker.assert_any_discovery(promise);
    }
}
