//! The two ways of a request, the checked commit and the lock, and that neither passes the other.
//!
//! That an uncontended ADD takes no lease is counted in `counts`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::json;
use whereabouts_clock::Chance;
use whereabouts_core::address::Name;
use whereabouts_core::claim::{Ask, Attachment, Owner, Want};
use whereabouts_core::verbs;
use whereabouts_etcd::SystemClock;
use whereabouts_etcd::{EtcdStore, EtcdWatch};
use whereabouts_protocol::session::Session;
use whereabouts_store::{
    At, CommitError, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View,
};

use crate::plugin::{
    Foreigner, Pod, Running, Site, TIMEOUT_S, await_in_line, beside, log_folder, pods, put, range,
};
use crate::support::run;

const CIDR: &str = "10.0.0.0/24";

#[test]
fn an_add_waits_while_another_has_the_lock_and_goes_on_when_it_is_given_up() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let foreigner = Foreigner::hold(&site, CIDR);
    let mut add = network.call("ADD", &Pod::new("waiting")).start();
    await_in_line(&site, 1, &mut add);
    assert_eq!(site.audit().claims, 0, "it has not passed the lock");
    foreigner.leave(&site);
    assert_eq!(add.finish().address(), "10.0.0.1/24");
    site.assert_at_rest(1);
}

#[test]
fn a_del_waits_while_another_has_the_lock_and_goes_on_when_it_is_given_up() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let pod = Pod::new("leaving");
    network.add(&pod).result();
    let foreigner = Foreigner::hold(&site, CIDR);
    let mut del = network.call("DEL", &pod).start();
    await_in_line(&site, 1, &mut del);
    assert_eq!(site.audit().claims, 1, "it has not passed the lock");
    foreigner.leave(&site);
    del.finish().assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn the_lock_of_one_range_delays_no_other() {
    let site = Site::shared();
    let _foreigner = Foreigner::hold(&site, CIDR);
    let other = site.network("10.1.0.0/24");
    assert_eq!(other.add(&Pod::new("free")).address(), "10.1.0.1/24");
    other.del(&Pod::new("free")).assert_silent();
}

#[test]
fn a_dual_stack_add_waits_while_another_has_the_lock_of_any_of_its_ranges() {
    let site = Site::shared();
    let network = site
        .network(CIDR)
        .ipam(json!({"ipRanges": [{"range": "fd00::/64"}]}));
    let foreigner = Foreigner::hold(&site, "fd00::/64");
    let mut add = network.call("ADD", &Pod::new("waiting")).start();
    await_in_line(&site, 1, &mut add);
    assert_eq!(site.audit().claims, 0, "it has not passed the lock");
    foreigner.leave(&site);
    assert_eq!(add.finish().addresses(), ["10.0.0.1/24", "fd00::1/64"]);
}

#[test]
fn check_and_status_do_not_wait_for_the_lock() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let pod = Pod::new("c");
    let previous = network.add(&pod).result();
    let _foreigner = Foreigner::hold(&site, CIDR);
    let before = site.entries();
    network.check(&pod, &previous).assert_silent();
    network.status().assert_silent();
    assert_eq!(
        network.add(&pod).result(),
        previous,
        "nor does an ADD that holds its address"
    );
    network.del(&Pod::new("unknown")).assert_silent();
    assert_eq!(site.entries(), before);
}

#[test]
fn those_who_wait_find_out_for_themselves_that_the_holder_has_crashed() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let foreigner = Foreigner::hold(&site, CIDR);
    let mut waiting: Vec<Running> = Vec::new();
    for (before, pod) in pods(3).iter().enumerate() {
        waiting.push(network.call("ADD", pod).start());
        await_in_line(&site, before + 1, &mut waiting[before]);
    }
    foreigner.crash(&site);
    let addresses: BTreeSet<String> = waiting
        .into_iter()
        .map(|add| add.finish().address())
        .collect();
    let lowest = ["10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"];
    assert_eq!(addresses, lowest.map(str::to_owned).into());
    site.assert_at_rest(3);
}

/// The lock is offered to a dead process, and the process that offered it is dead, too.
#[test]
fn a_lock_that_is_offered_and_that_nobody_takes_is_taken_by_who_comes_next() {
    let site = Site::shared();
    let network = site.network(CIDR);
    put(&site, Foreigner::lock(&site, CIDR, 0));
    assert_eq!(network.add(&Pod::new("c")).address(), "10.0.0.1/24");
    site.assert_at_rest(1);
    put(&site, Foreigner::lock(&site, CIDR, 0));
    network.del(&Pod::new("c")).assert_silent();
    site.assert_at_rest(0);
}

/// A verb that must wait ends by its deadline with code 11, and nothing is left of it.
fn check_deadline(verb: &str, pod: &Pod, site: &Site) {
    let folder = log_folder();
    let log = folder.path().join("log");
    let keys = json!({"timeout": TIMEOUT_S, "log_file": log, "log_level": "debug"});
    let network = site.network(CIDR).ipam(keys);
    let foreigner = Foreigner::hold(site, CIDR);
    let before = site.entries();
    // The details depend on whether it was just looking where it stands.
    let late = network.call(verb, pod).run();
    late.assert_error(11, &["deadline"]);
    assert!(!late.stdout.contains("not available"), "{late:?}");
    let log = fs::read_to_string(&log).expect("it was written");
    assert_eq!(site.entries(), before, "something is left: {log}");
    foreigner.leave(site);
}

#[test]
fn an_add_whose_deadline_comes_in_the_queue_is_code_11_and_its_ticket_is_gone() {
    let site = Site::shared();
    let pod = Pod::new("late");
    check_deadline("ADD", &pod, &site);
    assert_eq!(site.network(CIDR).add(&pod).address(), "10.0.0.1/24");
}

#[test]
fn a_del_whose_deadline_comes_in_the_queue_is_code_11_and_releases_nothing() {
    let site = Site::shared();
    let pod = Pod::new("late");
    site.network(CIDR).add(&pod).result();
    check_deadline("DEL", &pod, &site);
    site.network(CIDR).del(&pod).assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn a_del_cancels_the_waiting_add_of_its_own_attachment() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let (pod, other) = (Pod::new("cancelled"), Pod::new("other"));
    let foreigner = Foreigner::hold(&site, CIDR);
    let mut add = network.call("ADD", &pod).start();
    await_in_line(&site, 1, &mut add);
    let mut second = network.call("ADD", &other).start();
    await_in_line(&site, 2, &mut second);
    network.del(&pod).assert_silent();
    add.finish()
        .assert_error(11, &["10.0.0.0/24", "deleted before"]);
    assert_eq!(site.audit().tickets, 1, "the other still waits");
    foreigner.leave(&site);
    assert_eq!(second.finish().address(), "10.0.0.1/24");
    site.assert_at_rest(1);
}

/// CNI forbids it, and a runtime does it: it is only safe.
#[test]
fn a_second_process_of_an_attachment_takes_over_the_ticket_of_the_first_and_its_place() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let pod = Pod::new("twice");
    let foreigner = Foreigner::hold(&site, CIDR);
    let mut first = network.call("ADD", &pod).start();
    await_in_line(&site, 1, &mut first);
    let mut other = network.call("ADD", &Pod::new("other")).start();
    await_in_line(&site, 2, &mut other);
    let second = network.call("ADD", &pod).start();
    first
        .finish()
        .assert_error(11, &["10.0.0.0/24", "taken over"]);
    assert_eq!(site.audit().tickets, 2, "the second one waits");
    foreigner.leave(&site);
    assert_eq!(second.finish().address(), "10.0.0.1/24");
    assert_eq!(other.finish().address(), "10.0.0.2/24");
    site.assert_at_rest(2);
}

#[test]
fn a_lock_that_is_taken_between_the_read_and_the_commit_of_an_add_refuses_the_commit() {
    let site = Site::shared();
    let store = site.store();
    run(async {
        let lease = store.grant(300).await.expect("it grants").id;
        let interruption = Txn {
            writes: vec![Foreigner::lock(&site, CIDR, lease)],
            ..Txn::default()
        };
        let store = Interrupted {
            store: &store,
            interruption: RefCell::new(Some(interruption)),
        };
        let (keys, chance) = (site.keys(), Chance::new(1));
        let deadline = Duration::from_secs(TIMEOUT_S);
        let session = Session::new(&store, &SystemClock, &chance, &keys, deadline);
        let late = verbs::add(&session, &ask("hasty")).await;
        let late = late.expect_err("it waits");
        assert_eq!(late.code(), 11, "{late}");
        assert!(store.interruption.borrow().is_none(), "it came between");
    });
    let audit = site.audit();
    assert_eq!((audit.claims, audit.set_bits, audit.tickets), (0, 0, 0));
    assert_eq!(audit.locks, 1, "the lock is another's");
}

/// Seats are few, so two attachments can share one. The second waits at one of its own.
#[test]
fn two_attachments_that_share_a_seat_wait_both_and_in_order() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let first = Pod::new("first");
    let foreigner = Foreigner::hold(&site, CIDR);
    let mut one = network.call("ADD", &first).start();
    await_in_line(&site, 1, &mut one);
    let mut second = network.call("ADD", &beside(&first)).start();
    await_in_line(&site, 2, &mut second);
    let mut third = network.call("ADD", &Pod::new("third")).start();
    await_in_line(&site, 3, &mut third);
    foreigner.leave(&site);
    let addresses = [one, second, third].map(|add| add.finish().address());
    assert_eq!(addresses, ["10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"]);
    site.assert_at_rest(3);
}

fn ask(container: &str) -> Ask {
    Ask {
        attachment: Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: "eth0".to_owned(),
        },
        wants: vec![Want::lowest(&range(CIDR))],
        owner: Owner::default(),
        may_take_over: true,
    }
}

/// etcd, in which somebody commits something just before the first commit of ours.
struct Interrupted<'a> {
    store: &'a EtcdStore,
    interruption: RefCell<Option<Txn>>,
}

impl Store for Interrupted<'_> {
    type Watch = EtcdWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        self.store.read(reads, at).await
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        let interruption = self.interruption.take();
        if let Some(interruption) = interruption {
            self.store.commit(&interruption).await?;
        }
        self.store.commit(txn).await
    }

    async fn grant(&self, ttl_s: i64) -> Result<Lease, Unavailable> {
        self.store.grant(ttl_s).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        self.store.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable> {
        self.store.revoke(lease).await
    }

    async fn watch(&self, keys: &[Vec<u8>]) -> Result<EtcdWatch, Unavailable> {
        self.store.watch(keys).await
    }
}
