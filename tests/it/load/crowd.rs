//! Many processes at once: each address once, the lowest ones, and nothing left afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use crate::plugin::{Answer, Call, Network, Pod, Running, Site, pods};
use crate::support::etcd::Cluster;
use crate::support::poll;

const CROWD: usize = 64;

/// Begins all calls before it waits for the first.
fn at_once(calls: impl IntoIterator<Item = Call>) -> Vec<Answer> {
    let running: Vec<Running> = calls.into_iter().map(|call| call.start()).collect();
    running.into_iter().map(Running::finish).collect()
}

/// The addresses, which must all be different, without their lengths.
fn different(answers: &[Answer]) -> BTreeSet<String> {
    let addresses: Vec<String> = answers
        .iter()
        .flat_map(Answer::addresses)
        .map(|address| address.split('/').next().unwrap_or_default().to_owned())
        .collect();
    let set: BTreeSet<String> = addresses.iter().cloned().collect();
    assert_eq!(set.len(), addresses.len(), "twice: {addresses:?}");
    set
}

fn lowest(count: usize) -> BTreeSet<String> {
    (1..=count).map(|last| format!("10.0.0.{last}")).collect()
}

/// All attachments, each with the network that it is in, are added at once and deleted at once.
fn check(site: &Site, attachments: &[(Network, Pod)]) {
    let all = |verb: &str| {
        at_once(
            attachments
                .iter()
                .map(|(network, pod)| network.call(verb, pod)),
        )
    };
    let added = all("ADD");
    assert_eq!(different(&added), lowest(attachments.len()));
    site.assert_at_rest(attachments.len());
    for deleted in all("DEL") {
        deleted.assert_silent();
    }
    site.assert_at_rest(0);
}

#[test]
fn adds_at_once_on_one_range_get_exactly_the_lowest_addresses_and_dels_at_once_leave_nothing() {
    let site = Site::of(Cluster::start(1));
    let network = site.network("10.0.0.0/16");
    let attachments = pods(CROWD).into_iter().map(|pod| (network.clone(), pod));
    check(&site, &attachments.collect::<Vec<_>>());
}

/// Ranges of different lengths with the same first address: they share their first block.
#[test]
fn adds_at_once_on_8_overlapping_ranges_get_exactly_the_lowest_addresses() {
    let site = Site::of(Cluster::start(1));
    let networks: Vec<Network> = (16..24)
        .map(|length| site.network(&format!("10.0.0.0/{length}")))
        .collect();
    let attachments = pods(CROWD).into_iter().enumerate();
    let attachments = attachments.map(|(number, pod)| (networks[number % 8].clone(), pod));
    check(&site, &attachments.collect::<Vec<_>>());
}

#[test]
fn adds_at_once_for_one_attachment_all_answer_the_same() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let pod = Pod::new("popular");
    for answer in at_once((0..8).map(|_| network.call("ADD", &pod))) {
        assert_eq!(answer.address(), "10.0.0.1/24");
    }
    site.assert_at_rest(1);
}

#[test]
fn adds_at_once_on_the_last_addresses_of_a_range_get_them_all_and_the_rest_are_told_it_is_full() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/28");
    let (added, refused): (Vec<Answer>, Vec<Answer>) =
        at_once(pods(20).iter().map(|pod| network.call("ADD", pod)))
            .into_iter()
            .partition(|answer| answer.exit_code == Some(0));
    assert_eq!(different(&added), lowest(14));
    assert_eq!(refused.len(), 6);
    for answer in refused {
        answer.assert_error(101, &["all of its 14 addresses are taken"]);
    }
    site.assert_at_rest(14);
}

#[test]
fn adds_and_dels_mixed_leave_what_was_not_deleted() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let (old, new) = (
        pods(16),
        (0..16).map(|number| Pod::new(&format!("n{number}"))),
    );
    for pod in &old {
        network.add(pod).result();
    }
    let mixed = old
        .iter()
        .map(|pod| network.call("DEL", pod))
        .chain(new.map(|pod| network.call("ADD", &pod)));
    for answer in at_once(mixed) {
        assert_eq!(answer.exit_code, Some(0), "{answer:?}");
    }
    site.assert_at_rest(16);
}

#[test]
fn adds_at_once_are_served_while_one_member_of_three_is_killed() {
    let site = Site::of(Cluster::start(3));
    let network = site.network("10.0.0.0/16");
    let calls: Vec<Call> = pods(CROWD)
        .iter()
        .map(|pod| network.call("ADD", pod))
        .collect();
    let cluster = Arc::clone(&site.cluster);
    let (leader, _) = cluster.leader_and_follower();
    let added = thread::scope(|scope| {
        let adding = scope.spawn(|| at_once(calls));
        poll("some are served", || {
            (site.audit().claims >= CROWD / 8).then_some(())
        });
        leader.kill();
        adding.join().expect("all of them end")
    });
    assert_eq!(different(&added), lowest(CROWD));
    site.assert_at_rest(CROWD);
    let deleted = at_once(pods(CROWD).iter().map(|pod| network.call("DEL", pod)));
    for deleted in deleted {
        deleted.assert_silent();
    }
    site.assert_at_rest(0);
}
