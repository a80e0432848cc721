//! Requests, counted by etcd itself: what a verb costs, whatever the size and fill of the range.

use serde_json::json;
use whereabouts_core::address::{Address, Range};
use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::RangeId;
use whereabouts_store::Write;
use whereabouts_store::keys::QueuedVerb;
use whereabouts_store::record::{self, Ticket};

use crate::plugin::fill::{fill, fill_with, filler};
use crate::plugin::{
    Answer, Foreigner, Network, Pod, Site, attachment, await_in_line, newer_ticket, put, range,
    seated_apart, ticket_key,
};
use crate::support::etcd::Cluster;
use crate::support::poll;

/// Every request that there is to etcd for a plugin.
const REQUESTS: [(&str, &str, &str); 9] = [
    ("KV", "Txn", "unary"),
    ("KV", "Range", "unary"),
    ("KV", "Put", "unary"),
    ("KV", "DeleteRange", "unary"),
    ("Lease", "LeaseGrant", "unary"),
    ("Lease", "LeaseRevoke", "unary"),
    ("Lease", "LeaseKeepAlive", "bidi_stream"),
    ("Watch", "Watch", "bidi_stream"),
    ("Auth", "Authenticate", "unary"),
];

/// The counters of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    /// Requests of any kind, as they begin.
    begun: u64,
    /// Transactions that were answered; a read is one too.
    transactions: u64,
    /// The proposals to raft: all writes, also refused ones, and no reads.
    proposals: u64,
    /// The writes that changed something.
    revisions: u64,
    /// Leases granted.
    leases: u64,
}

impl Counts {
    fn of(site: &Site) -> Self {
        // A counter with labels is absent until the first of its kind.
        let metric = |name: &str| site.cluster.members[0].metric(name).unwrap_or(0);
        let begun = |(service, method, kind): (&str, &str, &str)| {
            metric(&format!(
                "grpc_server_started_total{{grpc_method=\"{method}\",\
                 grpc_service=\"etcdserverpb.{service}\",grpc_type=\"{kind}\"}}"
            ))
        };
        let handled = |service: &str, method: &str| {
            metric(&format!(
                "grpc_server_handled_total{{grpc_code=\"OK\",grpc_method=\"{method}\",\
                 grpc_service=\"etcdserverpb.{service}\",grpc_type=\"unary\"}}"
            ))
        };
        Self {
            begun: REQUESTS.into_iter().map(begun).sum(),
            transactions: handled("KV", "Txn"),
            proposals: metric("etcd_server_proposals_committed_total"),
            revisions: metric("etcd_debugging_mvcc_current_revision"),
            leases: handled("Lease", "LeaseGrant"),
        }
    }

    /// The cost of `act`.
    fn during<T>(site: &Site, act: impl FnOnce() -> T) -> (Self, T) {
        let before = Self::of(site);
        let done = act();
        let after = Self::of(site);
        let cost = Self {
            begun: after.begun - before.begun,
            transactions: after.transactions - before.transactions,
            proposals: after.proposals - before.proposals,
            revisions: after.revisions - before.revisions,
            leases: after.leases - before.leases,
        };
        (cost, done)
    }
}

/// So many reads and so many writes, none of them refused, and no lease.
fn cost(reads: u64, writes: u64) -> Counts {
    Counts {
        begun: reads + writes,
        transactions: reads + writes,
        proposals: writes,
        revisions: writes,
        leases: 0,
    }
}

/// A cluster that does nothing but what the test asks of it.
fn quiet_site() -> Site {
    let cluster = Cluster::start(1);
    poll("the members agree on their version", || {
        cluster.members[0]
            .knows_its_clusters_version()
            .then_some(())
    });
    Site::of(cluster)
}

#[track_caller]
fn check(site: &Site, expected: Counts, act: impl FnOnce() -> Answer) -> Answer {
    let (counted, answer) = Counts::during(site, act);
    assert_eq!(answer.exit_code, Some(0), "{answer:?}");
    assert_eq!(counted, expected);
    answer
}

#[track_caller]
fn check_add(site: &Site, network: &Network, pod: &Pod, address: &str) {
    let answer = check(site, cost(1, 1), || network.add(pod));
    assert_eq!(answer.addresses()[0], address);
}

#[test]
fn an_uncontended_add_is_one_read_and_one_write_and_no_lease() {
    let site = quiet_site();
    let network = site.network("10.0.0.0/24");
    check_add(&site, &network, &Pod::new("first"), "10.0.0.1/24");
    check_add(&site, &network, &Pod::new("second"), "10.0.0.2/24");
}

#[test]
fn an_address_that_stays_costs_as_much_as_another() {
    let site = quiet_site();
    let network = site
        .network("10.0.0.0/24")
        .ipam(json!({"sticky": "statefulset"}));
    for container in ["first", "second"] {
        let pod = Pod::new(container).argument("K8S_POD_NAME=web-0");
        check_add(&site, &network, &pod, "10.0.0.1/24");
        check(&site, cost(2, 1), || network.del(&pod));
    }
}

#[test]
fn an_uncontended_dual_stack_add_is_one_read_and_one_write() {
    let site = quiet_site();
    let network = site.network("10.0.0.0/24");
    let dual = network.ipam(json!({"ipRanges": [{"range": "fd00::/64"}]}));
    check_add(&site, &dual, &Pod::new("dual"), "10.0.0.1/24");
}

#[test]
fn the_same_add_again_is_two_reads() {
    let site = quiet_site();
    let network = site.network("10.0.0.0/24");
    let pod = Pod::new("c");
    network.add(&pod).result();
    check(&site, cost(2, 0), || network.add(&pod));
}

#[test]
fn the_first_add_of_a_cluster_notes_whose_the_store_is_and_the_others_cost_no_more_for_it() {
    let site = quiet_site();
    let network = site.network("10.0.0.0/24");
    let network = network.ipam(json!({"cluster_id": "west"}));
    // One that is refused, one that notes it, and one that claims.
    let first = Counts {
        begun: 5,
        transactions: 5,
        proposals: 3,
        revisions: 2,
        leases: 0,
    };
    check(&site, first, || network.add(&Pod::new("first")));
    check_add(&site, &network, &Pod::new("second"), "10.0.0.2/24");
    check(&site, cost(2, 1), || network.del(&Pod::new("first")));
}

#[test]
fn a_del_is_two_reads_at_most_and_one_write() {
    let site = quiet_site();
    let network = site.network("10.0.0.0/24");
    let pod = Pod::new("c");
    network.add(&pod).result();
    check(&site, cost(2, 1), || network.del(&pod));
    site.assert_at_rest(0);
}

#[test]
fn a_del_of_the_unknown_writes_nothing() {
    let site = quiet_site();
    let network = site.network("10.0.0.0/24");
    check(&site, cost(1, 0), || network.del(&Pod::new("unknown")));
}

#[test]
fn check_is_two_reads_and_status_is_one() {
    let site = quiet_site();
    let network = site.network("10.0.0.0/24");
    let pod = Pod::new("c");
    let previous = network.add(&pod).result();
    check(&site, cost(2, 0), || network.check(&pod, &previous));
    check(&site, cost(1, 0), || network.status());
}

#[test]
fn an_add_on_a_nearly_full_range_is_one_read_and_one_write() {
    let site = quiet_site();
    let network = site.network("10.0.0.0/21");
    let range = range("10.0.0.0/21");
    fill(&site, &range, size(&range) - 2);
    check_add(&site, &network, &Pod::new("penultimate"), "10.0.7.253/21");
    check_add(&site, &network, &Pod::new("last"), "10.0.7.254/21");
    let (counted, full) = Counts::during(&site, || network.add(&Pod::new("late")));
    full.assert_error(101, &["all of its 2039 addresses are taken"]);
    assert_eq!(counted, cost(1, 0), "that it is full costs one read");
}

#[test]
fn an_add_on_a_full_range_with_one_hole_is_one_read_and_one_write() {
    let site = quiet_site();
    let network = site.network("10.0.0.0/21");
    let range = range("10.0.0.0/21");
    fill(&site, &range, size(&range));
    // The filler that has 10.0.5.1: five blocks of 255 were before it.
    check(&site, cost(2, 1), || network.del(&filler(5 * 255)));
    check(&site, cost(1, 0), || network.status());
    check_add(&site, &network, &Pod::new("hole"), "10.0.5.1/21");
    site.assert_at_rest(size(&range));
}

#[test]
fn an_add_on_a_fragmented_range_is_one_read_and_one_write() {
    let site = quiet_site();
    let network = site.network("10.0.0.0/21");
    let range = range("10.0.0.0/21");
    let addresses = range.intervals().iter().flat_map(|interval| {
        let next = |address: &Address| address.successor();
        let within = |address: &Address| *address <= interval.last();
        std::iter::successors(Some(interval.first()), next).take_while(within)
    });
    let odd = addresses.filter(|address| address.number() % 2 == 1);
    fill_with(&site, &range, odd);
    check_add(&site, &network, &Pod::new("first"), "10.0.0.2/21");
    check_add(&site, &network, &Pod::new("second"), "10.0.0.4/21");
}

#[test]
fn an_add_on_a_range_with_a_few_exclusions_is_one_read_and_one_write() {
    let site = quiet_site();
    let network = site.network("10.0.0.0/16");
    let exclude = ["10.0.0.0/24", "10.0.2.0/23", "10.0.9.0/24"];
    let network = network.ipam(json!({"exclude": exclude}));
    check_add(&site, &network, &Pod::new("c"), "10.0.1.1/16");
}

/// So many tickets that cannot be served stand first in the queue of `cidr`, and some ADDs behind them: whoever has
/// the lock serves itself and then those, in order, in one batch, and nobody waits for a timer.
fn check_read_on(site: &Site, cidr: &str, count: usize, value: impl Fn(&Pod) -> Vec<u8>) {
    for pod in seated_apart(count) {
        let write = Write::Put {
            key: site.keys().encode(&ticket_key(cidr, QueuedVerb::Add, &pod)),
            value: value(&pod),
            lease: 0,
        };
        put(site, write);
    }
    let before = site.audit().tickets - count;
    let gate = Foreigner::hold(site, cidr);
    let network = site.network(cidr);
    let stem = cidr.trim_end_matches("0/24");
    let expected: Vec<String> = (1..=5).map(|last| format!("{stem}{last}/24")).collect();
    let mut adds = Vec::new();
    for number in 1..=5 {
        let pod = Pod::new(&format!("{stem}{number}"));
        let mut add = network.call("ADD", &pod).start();
        await_in_line(site, before + count + number, &mut add);
        adds.push(add);
    }
    let (counted, addresses) = Counts::during(site, || {
        gate.leave(site);
        let answers = adds.into_iter().map(|add| add.finish().address());
        answers.collect::<Vec<_>>()
    });
    let mut in_order = addresses.clone();
    let holder = in_order.iter().position(|address| *address == expected[0]);
    let own = in_order.remove(holder.expect("the holder has the first"));
    in_order.insert(0, own);
    assert_eq!(
        in_order, expected,
        "behind the holder, in the order of their tickets"
    );
    // The lock is offered, a batch serves all, and the lock is given up.
    assert_eq!((counted.revisions, counted.leases), (3, 0), "{counted:?}");
}

#[test]
fn tickets_that_cannot_be_served_are_read_beyond_however_many() {
    let site = quiet_site();
    check_read_on(&site, "10.0.0.0/24", 64, |_| b"garbage".to_vec());
    check_read_on(&site, "10.0.1.0/24", 300, newer_ticket);
    check_read_on(&site, "10.0.2.0/24", 64, |pod| {
        let refused = Ticket::Refused {
            sender: 7,
            node: None,
            shortage: Shortage::Exhausted(RangeId::of(&range("10.0.2.0/24"))),
        };
        record::encode_ticket(&attachment("net", pod), &refused)
    });
}

fn size(range: &Range) -> usize {
    usize::try_from(range.size()).expect("a small range")
}
