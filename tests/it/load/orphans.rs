//! Tickets of processes that were killed while they waited. A ticket has no lease: it is served by
//! who holds the lock next, or removed by DEL or GC, and delays nobody for long.

use serde_json::json;
use whereabouts_core::address::{Address, Pool};
use whereabouts_core::allocator::{Demand, Shortage};
use whereabouts_core::claim::{Held, Home, RangeId};
use whereabouts_store::Write;
use whereabouts_store::keys::{Key, QueuedVerb};
use whereabouts_store::record::{self, Ticket};

use crate::plugin::{
    Foreigner, Network, Pod, Site, attachment, await_in_line, beside, kill_in_line, lock_key, pods,
    put, seated_apart, ticket_key,
};
use crate::support::poll;

const CIDR: &str = "10.0.0.0/24";

/// The fate of the lock after the process was killed in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Its holder goes on.
    Held,
    /// Its holder gives it up, and so offers it to the dead.
    Offered,
    /// Its holder crashes, too.
    Free,
}

const ALL: [Then; 3] = [Then::Held, Then::Offered, Then::Free];

/// Kills a process of `pod` in the queue. Gives the process that holds the lock then, if one does.
fn killed(site: &Site, network: &Network, verb: &str, pod: &Pod, then: Then) -> Option<Foreigner> {
    let holder = Foreigner::hold(site, CIDR);
    kill_in_line(site, network, verb, pod);
    match then {
        Then::Held => return Some(holder),
        Then::Offered => holder.leave(site),
        Then::Free => holder.crash(site),
    }
    let lock = site.entry(&lock_key(CIDR));
    let expected = (then == Then::Offered).then_some(0);
    assert_eq!(lock.map(|lock| lock.lease), expected, "{then:?}");
    None
}

/// The lock was offered to the dead: who waits behind it takes the lock, and serves its request, too.
#[test]
fn the_dead_are_served_by_who_waits_behind_them() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let dead = Pod::new("dead");
    let holder = Foreigner::hold(&site, CIDR);
    kill_in_line(&site, &network, "ADD", &dead);
    let mut patient = network.call("ADD", &Pod::new("patient")).start();
    await_in_line(&site, 2, &mut patient);
    holder.leave(&site);
    patient.finish().result();
    site.assert_at_rest(2);
    network.del(&dead).assert_silent();
    site.assert_at_rest(1);
}

#[test]
fn a_ticket_of_the_dead_is_in_nobodys_way_while_the_lock_is_free() {
    let site = Site::shared();
    let network = site.network(CIDR);
    killed(&site, &network, "ADD", &Pod::new("dead"), Then::Free);
    let ticket = ticket_key(CIDR, QueuedVerb::Add, &Pod::new("dead"));
    let before = site.entry(&ticket).expect("it is left");
    assert_eq!(network.add(&Pod::new("c")).address(), "10.0.0.1/24");
    network.del(&Pod::new("c")).assert_silent();
    assert_eq!(site.entry(&ticket), Some(before), "not even touched");
}

#[test]
fn del_removes_the_ticket_of_an_add_that_was_killed() {
    for then in ALL {
        let site = Site::shared();
        let network = site.network(CIDR);
        let dead = Pod::new("dead");
        let holder = killed(&site, &network, "ADD", &dead, then);
        network.del(&dead).assert_silent();
        assert_eq!(
            site.entry(&ticket_key(CIDR, QueuedVerb::Add, &dead)),
            None,
            "{then:?}"
        );
        if let Some(holder) = holder {
            assert_eq!(site.audit().locks, 1, "the lock is another's");
            holder.leave(&site);
        }
        site.assert_at_rest(0);
    }
}

/// The lock was offered to the dead process. With its ticket the offer goes to the waiter behind it. That waiter is
/// dead, too, so no other process can have touched its ticket.
#[test]
fn del_of_the_dead_wakes_who_waits_behind_them() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let [first, second] = ["first", "second"].map(Pod::new);
    let holder = Foreigner::hold(&site, CIDR);
    kill_in_line(&site, &network, "ADD", &first);
    kill_in_line(&site, &network, "ADD", &second);
    holder.leave(&site);
    let waiting = || {
        let ticket = site.entry(&ticket_key(CIDR, QueuedVerb::Add, &second));
        ticket.expect("it waits").modified
    };
    let before = waiting();
    network.del(&first).assert_silent();
    assert!(waiting() > before, "it was not woken");
    assert_eq!(site.audit().locks, 1, "the lock is offered");
    network.del(&second).assert_silent();
    site.assert_at_rest(0);
}

/// The same, where those who wait cannot be read, but for the last.
#[test]
fn del_of_the_dead_wakes_who_waits_behind_tickets_that_cannot_be_read() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let [first, last] = ["first", "last"].map(Pod::new);
    let holder = Foreigner::hold(&site, CIDR);
    kill_in_line(&site, &network, "ADD", &first);
    for pod in seated_apart(70) {
        let key = ticket_key(CIDR, QueuedVerb::Add, &pod);
        if key != ticket_key(CIDR, QueuedVerb::Add, &first) {
            put_value(&site, &key, b"garbage".to_vec());
        }
    }
    kill_in_line(&site, &network, "ADD", &last);
    holder.leave(&site);
    let waiting = || {
        let ticket = site.entry(&ticket_key(CIDR, QueuedVerb::Add, &last));
        ticket.expect("it waits").modified
    };
    let before = waiting();
    network.del(&first).assert_silent();
    assert!(waiting() > before, "it was not woken");
    assert_eq!(site.audit().locks, 1, "the lock is offered");
}

/// That the claim of one cannot be read says nothing of the others.
#[test]
fn gc_removes_tickets_of_dels_beside_a_claim_that_cannot_be_read() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let (damaged, released) = (Pod::new("a-damaged"), Pod::new("released"));
    put_release(&site, &damaged, 1);
    put_release(&site, &released, 1);
    let claim = Key::Claim(attachment("net", &damaged));
    put_value(&site, &claim, b"garbage".to_vec());
    let home = Home {
        node: "node-1".to_owned(),
        pod_uid: None,
    };
    let on_node = Key::OnNode(home, attachment("net", &damaged));
    put_value(&site, &on_node, record::encode_on_node());
    network.gc(Some(&[])).assert_error(107, &["a-damaged"]);
    assert_eq!(left(&site), ["a-damaged Del"]);
}

#[test]
fn an_add_again_is_not_held_up_by_the_ticket_of_one_that_was_killed() {
    for then in [Then::Offered, Then::Free] {
        let site = Site::shared();
        let network = site.network(CIDR);
        let pod = Pod::new("again");
        killed(&site, &network, "ADD", &pod, then);
        assert_eq!(network.add(&pod).address(), "10.0.0.1/24", "{then:?}");
        network.del(&pod).assert_silent();
        site.assert_at_rest(0);
    }
}

#[test]
fn a_second_del_removes_the_ticket_of_one_that_was_killed() {
    for then in [Then::Offered, Then::Free] {
        let site = Site::shared();
        let network = site.network(CIDR);
        let pod = Pod::new("leaving");
        network.add(&pod).result();
        killed(&site, &network, "DEL", &pod, then);
        network.del(&pod).assert_silent();
        site.assert_at_rest(0);
    }
}

/// While somebody holds the lock the second DEL waits behind the first, and learns from the claim.
#[test]
fn a_second_del_waits_for_the_ticket_of_one_that_was_killed_to_be_served() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let pod = Pod::new("leaving");
    network.add(&pod).result();
    let holder = killed(&site, &network, "DEL", &pod, Then::Held);
    let second = network.call("DEL", &pod).start();
    let other = network.call("ADD", &Pod::new("other")).start();
    holder.expect("it goes on").leave(&site);
    second.finish().assert_silent();
    other.finish().result();
    site.assert_at_rest(1);
}

#[test]
fn del_removes_the_ticket_of_a_del_whose_claim_is_gone() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let (pod, claimed) = (Pod::new("leaving"), Pod::new("claimed"));
    network.add(&claimed).result();
    put_release(&site, &pod, 1);
    network.del(&pod).assert_silent();
    site.assert_at_rest(1);
}

/// The range is full, and the one who was told so died before it could leave.
#[test]
fn the_refused_dead_go_with_their_del_and_the_lock_with_them() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/30");
    for pod in pods(2) {
        network.add(&pod).result();
    }
    let dead = Pod::new("dead");
    let holder = Foreigner::hold(&site, "10.0.0.0/30");
    kill_in_line(&site, &network, "ADD", &dead);
    let mut late = network.call("ADD", &Pod::new("late")).start();
    await_in_line(&site, 2, &mut late);
    holder.leave(&site);
    late.finish().assert_error(101, &["10.0.0.0/30"]);
    let key = ticket_key("10.0.0.0/30", QueuedVerb::Add, &dead);
    let left = site.entry(&key).expect("it is its own to delete");
    let left = site.ticket(&left).expect("it can be read");
    assert!(matches!(left, (_, Ticket::Refused { .. })), "{left:?}");
    // Others get on all the same.
    network.del(&Pod::new("c0")).assert_silent();
    network.del(&dead).assert_silent();
    site.assert_at_rest(1);
}

/// A refused process leaves by itself, so an answer that stays is of the dead.
#[test]
fn an_add_again_takes_over_the_ticket_of_one_that_was_killed_after_it_was_refused() {
    let site = Site::shared();
    let pod = Pod::new("again");
    let holder = Foreigner::hold(&site, CIDR);
    let refused = Ticket::Refused {
        sender: 7,
        node: None,
        shortage: Shortage::Taken(held()),
    };
    put_ticket(&site, &pod, QueuedVerb::Add, &refused);
    let key = ticket_key(CIDR, QueuedVerb::Add, &pod);
    let dead = site.entry(&key).expect("it was put");
    let mut add = site.network(CIDR).call("ADD", &pod).start();
    poll("it stands in the queue", || {
        assert!(add.is_running(), "it must not end before");
        site.entry(&key).filter(|own| own.value != dead.value)
    });
    holder.leave(&site);
    assert_eq!(add.finish().address(), "10.0.0.1/24");
    site.assert_at_rest(1);
}

/// Seats are few, so the ticket of another attachment can be at the seat of the one that is deleted.
#[test]
fn del_takes_its_own_ticket_at_either_seat_and_no_other() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let dead = Pod::new("dead");
    let holder = Foreigner::hold(&site, CIDR);
    kill_in_line(&site, &network, "ADD", &dead);
    network.del(&beside(&dead)).assert_silent();
    assert_eq!(left(&site), ["dead Add"]);
    // Nor does the DEL of the dead take that of the other, which waits at a seat of its own.
    let mut add = network.call("ADD", &beside(&dead)).start();
    await_in_line(&site, 2, &mut add);
    network.del(&dead).assert_silent();
    assert_eq!(site.audit().tickets, 1, "the other still waits");
    // It comes back to the seat, and a DEL finds it at the other one, too.
    kill_in_line(&site, &network, "ADD", &dead);
    let lost = beside(&beside(&dead));
    kill_in_line(&site, &network, "ADD", &lost);
    assert_eq!(site.audit().tickets, 3);
    network.del(&lost).assert_silent();
    assert_eq!(site.audit().tickets, 2);
    holder.leave(&site);
    assert_eq!(add.finish().address(), "10.0.0.1/24");
    network.del(&dead).assert_silent();
    site.assert_at_rest(1);
}

/// The ticket of a DEL that is to release the claim that was written at `modified`.
fn put_release(site: &Site, pod: &Pod, modified: i64) {
    let ticket = Ticket::Asks {
        sender: 7,
        demand: Demand::Release {
            attachment: attachment("net", pod),
            held: vec![held()],
            home: None,
            owner: None,
            modified,
        },
        trace: None,
    };
    put_ticket(site, pod, QueuedVerb::Del, &ticket);
}

fn held() -> Held {
    let address: std::net::IpAddr = "10.0.0.9".parse().expect("an address");
    Held {
        range: RangeId {
            pool: Pool::default(),
            cidr: CIDR.parse().expect("a CIDR"),
        },
        address: Address::from(address),
    }
}

fn put_ticket(site: &Site, pod: &Pod, verb: QueuedVerb, ticket: &Ticket) {
    let value = record::encode_ticket(&attachment("net", pod), ticket);
    put_value(site, &ticket_key(CIDR, verb, pod), value);
}

fn put_value(site: &Site, key: &Key, value: Vec<u8>) {
    let write = Write::Put {
        key: site.keys().encode(key),
        value,
        lease: 0,
    };
    put(site, write);
}

/// Which tickets are left, by their containers and verbs.
fn left(site: &Site) -> Vec<String> {
    let tickets = site.entries();
    let tickets = tickets.iter().filter_map(|entry| site.ticket(entry));
    let ids = tickets.map(|(id, _)| format!("{} {:?}", id.attachment.container, id.verb));
    ids.collect()
}

#[test]
fn gc_removes_tickets_of_its_node_and_network_that_nobody_waits_with_and_no_others() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let there = network.clone().ipam(json!({"node_name": "node-2"}));
    let foreign = network.clone().config(json!({"name": "net-2"}));
    let (leaving, released) = (Pod::new("leaving"), Pod::new("released"));
    there.add(&leaving).result();
    let holder = Foreigner::hold(&site, CIDR);
    kill_in_line(&site, &network, "ADD", &Pod::new("gone"));
    kill_in_line(&site, &network, "ADD", &Pod::new("valid"));
    kill_in_line(&site, &there, "ADD", &Pod::new("elsewhere"));
    kill_in_line(&site, &foreign, "ADD", &Pod::new("foreign"));
    kill_in_line(&site, &there, "DEL", &leaving);
    put_release(&site, &released, 1);
    for (name, node) in [("refused", "node-1"), ("refused-elsewhere", "node-2")] {
        let refused = Ticket::Refused {
            sender: 7,
            node: Some(node.to_owned()),
            shortage: Shortage::Taken(held()),
        };
        put_ticket(&site, &Pod::new(name), QueuedVerb::Add, &refused);
    }
    assert_eq!(left(&site).len(), 8);
    network.gc(None).assert_silent();
    assert_eq!(left(&site).len(), 8, "without a list nothing is collected");
    network.gc(Some(&[&Pod::new("valid")])).assert_silent();
    let others = [
        "foreign Add",
        "elsewhere Add",
        "leaving Del",
        "refused-elsewhere Add",
        "valid Add",
    ];
    let mut stay = left(&site);
    stay.sort();
    let mut expected = others.map(str::to_owned);
    expected.sort();
    assert_eq!(stay, expected);
    assert_eq!(site.audit().locks, 1, "the lock is another's");
    // Once the claim is gone, whoever collects removes the ticket of its DEL, too.
    holder.crash(&site);
    there.gc(Some(&[])).assert_silent();
    assert_eq!(left(&site), ["foreign Add", "valid Add"]);
    assert_eq!(site.audit().claims, 0);
}
