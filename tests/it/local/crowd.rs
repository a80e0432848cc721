//! Many processes at once.

use std::collections::BTreeMap;
use std::thread;

use super::{Host, number};
use crate::plugin::{Pod, Running, pods};

#[test]
fn processes_that_come_together_to_no_file_get_the_lowest_addresses() {
    let host = Host::new();
    let network = host.network("10.0.0.0/24");
    let running: Vec<Running> = pods(64)
        .iter()
        .map(|pod| network.call("ADD", pod).start())
        .collect();
    let mut numbers: Vec<u32> = running
        .into_iter()
        .map(|one| number(&one.finish()))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=64).collect::<Vec<_>>());
    host.assert_at_rest(64);
}

#[test]
fn a_churn_of_many_processes_keeps_claims_and_bits_one() {
    const WORKERS: usize = 32;
    const ROUNDS: usize = 12;
    let host = Host::new();
    // Small ranges, several blocks and two families: what frees is given again at once.
    let networks = [host.network("10.0.0.0/26"), host.network("10.0.0.0/22")];
    let held: BTreeMap<String, u32> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let network = &networks[worker % 2];
                scope.spawn(move || {
                    let mut last = None;
                    for round in 0..ROUNDS {
                        let pod = Pod::new(&format!("w{worker}r{round}"));
                        let added = number(&network.add(&pod));
                        if let Some((before, _)) = last.replace((pod, added)) {
                            network.del(&before).assert_silent();
                        }
                    }
                    last.expect("there was a round")
                })
            })
            .collect();
        let ended = workers.into_iter().map(|worker| {
            let (pod, added) = worker.join().expect("it ends well");
            (pod.container, added)
        });
        ended.collect()
    });
    host.assert_at_rest(WORKERS);
    let claims: BTreeMap<String, String> = host.claims().into_iter().collect();
    let answered = held.into_iter().map(|(container, number)| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number);
        (container, address.to_string())
    });
    assert_eq!(claims, answered.collect());
}

#[test]
fn two_files_are_two_datastores() {
    let hosts = [Host::new(), Host::new()];
    for host in &hosts {
        let added = host.network("10.0.0.0/24").add(&Pod::new("a"));
        assert_eq!(number(&added), 1);
        host.assert_at_rest(1);
    }
}
