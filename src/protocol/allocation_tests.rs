//! The allocator against a naive model, on the memory model of etcd.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures::executor::block_on;
use proptest::prelude::*;

use std::time::Duration;

use crate::operation::perform;
use crate::session::{Commit, Session};
use whereabouts_audit::invariants::audit;
use whereabouts_clock::{Chance, Still};
use whereabouts_core::address::{Address, Interval, Name, Pool, Range, RangeSpec};
use whereabouts_core::allocator::{Budget, Demand, Reach, Shortage, Verdict, decide};
use whereabouts_core::claim::Owner;
use whereabouts_core::claim::{Ask, Attachment, Choice, Held, Want};
use whereabouts_store::keys::Keys;
use whereabouts_store::memory::{MemoryStore, MemoryWatch};
use whereabouts_store::snapshot::Query;
use whereabouts_store::{
    At, CommitError, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View,
};

/// The memory model, counting requests.
#[derive(Default)]
struct Counted {
    store: MemoryStore,
    reads: Cell<usize>,
    commits: Cell<usize>,
}

impl Store for Counted {
    type Watch = MemoryWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        self.reads.set(self.reads.get() + 1);
        self.store.read(reads, at).await
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        self.commits.set(self.commits.get() + 1);
        self.store.commit(txn).await
    }

    async fn grant(&self, _: i64) -> Result<Lease, Unavailable> {
        panic!("nobody else is there, so there is no queue")
    }

    async fn keep_alive(&self, _: LeaseId) -> Result<(), Unavailable> {
        panic!("there is no lease")
    }

    async fn revoke(&self, _: LeaseId) -> Result<(), Unavailable> {
        panic!("there is no lease")
    }

    async fn watch(&self, _: &[Vec<u8>]) -> Result<MemoryWatch, Unavailable> {
        panic!("nobody else is there, so there is no queue")
    }
}

/// A store with its naive model: who holds which addresses.
struct Bench {
    store: Counted,
    keys: Keys,
    chance: Chance,
    clock: Still,
    held: BTreeMap<Attachment, Vec<Held>>,
    taken: BTreeSet<(Pool, Address)>,
}

impl Bench {
    fn new() -> Self {
        Self {
            store: Counted::default(),
            keys: Keys::new("/w/"),
            chance: Chance::new(1),
            clock: Still::default(),
            held: BTreeMap::new(),
            taken: BTreeSet::new(),
        }
    }

    fn session(&self) -> Session<'_, Counted, Still> {
        let deadline = Duration::from_mins(1);
        Session::new(&self.store, &self.clock, &self.chance, &self.keys, deadline)
    }

    fn holds(&mut self, attachment: &Attachment, held: &[Held]) {
        self.taken.extend(
            held.iter()
                .map(|held| (held.range.pool.clone(), held.address)),
        );
        self.held.insert(attachment.clone(), held.to_vec());
    }

    fn lets_go(&mut self, attachment: &Attachment) {
        for held in self.held.remove(attachment).unwrap_or_default() {
            self.taken.remove(&(held.range.pool, held.address));
        }
    }

    /// The answer of the naive model to a request: go through all addresses, one after the other.
    fn expected(&self, ask: &Ask) -> Result<Vec<Held>, Shortage> {
        let mut found: Vec<Held> = Vec::new();
        for Want {
            range,
            usable,
            choice,
        } in &ask.wants
        {
            let free = |address: &Address| {
                !self.taken.contains(&(range.pool.clone(), *address))
                    && !found.iter().any(|held| held.address == *address)
                    && !address.ends_in_zero()
            };
            let address = match choice {
                Choice::Exactly(address) => Some(*address).filter(free).ok_or_else(|| {
                    Shortage::Taken(Held {
                        range: range.clone(),
                        address: *address,
                    })
                }),
                Choice::Lowest => usable
                    .iter()
                    .flat_map(|interval| addresses(*interval))
                    .find(free)
                    .ok_or_else(|| Shortage::Exhausted(range.clone())),
            }?;
            found.push(Held {
                range: range.clone(),
                address,
            });
        }
        Ok(found)
    }

    fn add(&mut self, ask: &Ask) -> Verdict {
        let expected = match self.held.get(&ask.attachment) {
            Some(_) => None,
            None => Some(self.expected(ask)),
        };
        let verdict = block_on(perform(&self.session(), &Demand::Take(ask.clone())))
            .expect("nothing fails in memory");
        match (&verdict, expected) {
            (Verdict::Granted(held), Some(Ok(expected))) => {
                assert_eq!(*held, expected);
                self.holds(&ask.attachment, &expected);
            }
            (Verdict::Short(shortage), Some(Err(expected))) => assert_eq!(*shortage, expected),
            (Verdict::Held(claim) | Verdict::HoldsOther(claim), None) => {
                assert_eq!(claim.held, self.held[&ask.attachment]);
            }
            (verdict, expected) => panic!("{verdict:?}, expected {expected:?}"),
        }
        verdict
    }

    fn delete(&mut self, attachment: &Attachment) {
        let session = self.session();
        block_on(whereabouts_core::verbs::del(&session, attachment, &[]))
            .expect("nothing fails in memory");
        self.lets_go(attachment);
    }

    fn check(&self) {
        let audit = audit(&self.keys, &self.store.store.entries());
        assert_eq!(audit.findings, []);
        assert_eq!(audit.claims, self.held.len());
        assert_eq!(
            audit.set_bits,
            self.held.values().map(Vec::len).sum::<usize>()
        );
        assert_eq!(audit.tickets, 0);
    }

    /// The requests of `act`: reads and commits.
    fn count(&mut self, act: impl FnOnce(&mut Self)) -> (usize, usize) {
        let before = (self.store.reads.get(), self.store.commits.get());
        act(self);
        (
            self.store.reads.get() - before.0,
            self.store.commits.get() - before.1,
        )
    }
}

fn addresses(interval: Interval) -> impl Iterator<Item = Address> {
    let family = interval.first().family();
    (interval.first().number()..=interval.last().number())
        .map(move |number| Address::new(family, number).expect("inside the family"))
}

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().expect("an address").into()
}

fn range(cidr: &str, exclusions: &[&str]) -> Range {
    Range::new(RangeSpec {
        exclusions: exclusions
            .iter()
            .map(|text| Interval::of(text.parse().expect("a CIDR")))
            .collect(),
        ..RangeSpec::of(cidr.parse().expect("a CIDR"))
    })
    .expect("a range")
}

fn attachment(number: usize) -> Attachment {
    Attachment {
        network: Name::new("net").expect("a name"),
        container: Name::new(&format!("c{number}")).expect("a name"),
        interface: "eth0".to_owned(),
    }
}

fn ask(number: usize, wants: Vec<Want>) -> Ask {
    Ask {
        attachment: attachment(number),
        wants,
        owner: Owner::default(),
        may_take_over: true,
    }
}

#[test]
fn an_add_is_one_read_and_one_commit_at_any_fill_and_a_delete_two_reads_and_one_commit() {
    let mut bench = Bench::new();
    let range = range("10.0.0.0/21", &[]);
    let size = usize::try_from(range.size()).expect("small");
    for number in 0..size {
        let want = Want::lowest(&range);
        let count = bench.count(|bench| {
            let verdict = bench.add(&ask(number, vec![want]));
            assert!(matches!(verdict, Verdict::Granted(_)));
        });
        assert_eq!(count, (1, 1), "ADD {number}");
    }
    bench.check();
    let full = bench.count(|bench| {
        let verdict = bench.add(&ask(size, vec![Want::lowest(&range)]));
        let range = Want::lowest(&range).range;
        assert_eq!(verdict, Verdict::Short(Shortage::Exhausted(range)));
    });
    assert_eq!(full, (1, 0));
    assert_eq!(bench.count(|bench| bench.delete(&attachment(700))), (2, 1));
    assert_eq!(bench.count(|bench| bench.delete(&attachment(700))), (1, 0));
    let again = bench.count(|bench| {
        bench.add(&ask(size + 1, vec![Want::lowest(&range)]));
    });
    assert_eq!(again, (1, 1));
    bench.check();
    for number in 0..=size + 1 {
        bench.delete(&attachment(number));
    }
    bench.check();
}

#[test]
fn the_last_addresses_of_a_family_are_given_and_then_it_is_full() {
    for (cidr, last) in [
        ("255.255.255.0/24", "255.255.255.254"),
        ("255.255.255.254/31", "255.255.255.255"),
        (
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fe00/119",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ),
    ] {
        let mut bench = Bench::new();
        let range = range(cidr, &[]);
        let size = usize::try_from(range.size()).expect("small");
        for number in 0..size {
            bench.add(&ask(number, vec![Want::lowest(&range)]));
        }
        let held = &bench.held[&attachment(size - 1)];
        assert_eq!(held[0].address, address(last));
        assert!(matches!(
            bench.add(&ask(size, vec![Want::lowest(&range)])),
            Verdict::Short(Shortage::Exhausted(_))
        ));
        bench.check();
    }
}

#[test]
fn all_of_ipv6_is_a_range() {
    let mut bench = Bench::new();
    let all = range("::/0", &["::/1"]);
    bench.add(&ask(0, vec![Want::lowest(&all)]));
    assert_eq!(bench.held[&attachment(0)][0].address, address("8000::"));
    bench.check();
}

#[test]
fn many_intervals_cost_one_read_for_each_group_of_full_ones() {
    let mut bench = Bench::new();
    // Of the first twenty blocks the last eight addresses each, of the others nothing.
    let parts = ["0/25", "128/26", "192/27", "224/28", "240/29"];
    let holes: Vec<String> = (0..20)
        .flat_map(|block| parts.map(|part| format!("10.0.{block}.{part}")))
        .chain(["10.0.20.0/22".to_owned(), "10.0.24.0/21".to_owned()])
        .collect();
    let holes: Vec<&str> = holes.iter().map(String::as_str).collect();
    let range = range("10.0.0.0/19", &holes);
    assert_eq!(range.intervals().len(), 20);
    let size = usize::try_from(range.size()).expect("small");
    let mut reads = BTreeSet::new();
    for number in 0..size {
        let (read, commits) = bench.count(|bench| {
            bench.add(&ask(number, vec![Want::lowest(&range)]));
        });
        assert_eq!(commits, 1);
        reads.insert(read);
    }
    assert_eq!(reads, BTreeSet::from([1, 2, 3]));
    assert!(matches!(
        bench.add(&ask(size, vec![Want::lowest(&range)])),
        Verdict::Short(Shortage::Exhausted(_))
    ));
    bench.check();
}

#[test]
fn a_request_with_several_ranges_gets_all_or_nothing() {
    let mut bench = Bench::new();
    let (v4, v6) = (range("10.0.0.0/24", &[]), range("fd00::/127", &[]));
    let both = || vec![Want::lowest(&v4), Want::lowest(&v6)];
    bench.add(&ask(0, both()));
    bench.add(&ask(1, both()));
    let before = bench.store.store.revision();
    assert!(matches!(
        bench.add(&ask(2, both())),
        Verdict::Short(Shortage::Exhausted(_))
    ));
    assert_eq!(bench.store.store.revision(), before, "nothing was written");
    assert!(matches!(bench.add(&ask(1, both())), Verdict::Held(_)));
    assert!(matches!(
        bench.add(&ask(1, vec![Want::lowest(&v4)])),
        Verdict::HoldsOther(_)
    ));
    bench.check();
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Action {
    Add {
        ranges: Vec<usize>,
        exactly: Option<u32>,
    },
    Delete(usize),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let add = (
        proptest::collection::btree_set(0..5_usize, 1..3),
        any::<bool>(),
        0..2_000_u32,
    )
        .prop_map(|(ranges, exactly, offset)| Action::Add {
            ranges: ranges.into_iter().collect(),
            exactly: exactly.then_some(offset),
        });
    let delete = (0..400_usize).prop_map(Action::Delete);
    proptest::collection::vec(prop_oneof![3 => add, 1 => delete], 1..400)
}

/// Windows on one pool that overlap, some with exclusions, one at the end of the family.
fn windows() -> [Range; 5] {
    [
        range("10.0.0.0/22", &[]),
        range("10.0.0.128/25", &["10.0.0.140/30", "10.0.0.200/32"]),
        range("10.0.2.0/23", &["10.0.2.0/24"]),
        range("fd00::f0/124", &[]),
        range("fd00::/119", &["fd00::80/121"]),
    ]
}

fn wants(ranges: &[usize], exactly: Option<u32>) -> Vec<Want> {
    let windows = windows();
    let want = |(place, index): (usize, &usize)| {
        let range = &windows[*index];
        let first = Address::from(range.cidr().network());
        let chosen = exactly.filter(|_| place == 0).and_then(|offset| {
            let chosen = Address::new(first.family(), first.number() + u128::from(offset))?;
            Want::exactly(range, chosen).ok()
        });
        chosen.unwrap_or_else(|| Want::lowest(range))
    };
    ranges.iter().enumerate().map(want).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn histories_agree_with_the_naive_model(actions in actions()) {
        let mut bench = Bench::new();
        for (number, action) in actions.into_iter().enumerate() {
            match action {
                Action::Add { ranges, exactly } => {
                    bench.add(&ask(number, wants(&ranges, exactly)));
                }
                Action::Delete(which) => bench.delete(&attachment(which)),
            }
        }
        bench.check();
    }

    /// A batch is the same as its demands one after the other, as far as it goes.
    #[test]
    fn a_batch_agrees_with_the_naive_model(
        before in actions(),
        batch in proptest::collection::vec((proptest::collection::btree_set(0..5_usize, 1..3), any::<bool>()), 1..80),
        most in 8..128_usize,
    ) {
        let mut bench = Bench::new();
        for (number, action) in before.into_iter().enumerate() {
            if let Action::Add { ranges, exactly } = action {
                bench.add(&ask(number, wants(&ranges, exactly)));
            }
        }
        let claims: Vec<Attachment> = bench.held.keys().cloned().collect();
        let mut releases = claims.into_iter();
        let mut demands: Vec<Demand> = Vec::new();
        for (number, (ranges, release)) in batch.into_iter().enumerate() {
            let ranges: Vec<usize> = ranges.into_iter().collect();
            let take = Demand::Take(ask(1_000 + number, wants(&ranges, None)));
            demands.push(match releases.next().filter(|_| release) {
                None => take,
                Some(attachment) => {
                    let query = [Query::Claim(attachment.clone())];
                    let snapshot = block_on(bench.session().snapshot(&query)).expect("memory");
                    let claim = snapshot.claim(&attachment).expect("read").expect("it is there");
                    let (held, modified) = (claim.value.held.clone(), claim.modified);
                    Demand::Release { attachment, held, home: None, owner: None, modified }
                }
            });
        }
        let queries: BTreeSet<Query> = demands
            .iter()
            .flat_map(|demand| demand.block_questions(Reach::Batch))
            .map(Query::Blocks)
            .collect();
        let queries: Vec<Query> = queries.into_iter().collect();
        let budget = Budget { compares: most, operations: most };
        let session = bench.session();
        let mut snapshot = block_on(session.snapshot(&queries)).expect("memory");
        let mut plan = decide(snapshot.facts(), &demands, budget);
        while plan.verdicts.is_empty() {
            let missing: Vec<Query> = plan.missing.into_iter().map(Query::Blocks).collect();
            block_on(session.extend(&mut snapshot, &missing)).expect("memory");
            plan = decide(snapshot.facts(), &demands, budget);
        }
        let mut draft = session.draft();
        draft.plan(&plan, Duration::ZERO);
        prop_assert!(matches!(block_on(session.commit(draft)), Ok(Commit::Done(_))));
        for (demand, verdict) in demands.iter().zip(&plan.verdicts) {
            match (demand, verdict) {
                (Demand::Take(ask), Verdict::Granted(held)) => {
                    prop_assert_eq!(Ok(held.clone()), bench.expected(ask));
                    bench.holds(&ask.attachment, held);
                }
                (Demand::Take(ask), Verdict::Short(shortage)) => {
                    prop_assert_eq!(Err(shortage.clone()), bench.expected(ask));
                }
                (Demand::Release { attachment, .. }, Verdict::Released) => {
                    bench.lets_go(attachment);
                }
                (demand, verdict) => prop_assert!(false, "{:?}: {:?}", demand, verdict),
            }
        }
        bench.check();
    }
}
