//! Processes that are killed at any moment.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::{Host, number};
use crate::plugin::{Pod, Running};

#[test]
fn a_kill_loses_no_answered_address_and_leaves_no_half_claim() {
    const ROUNDS: usize = 60;
    let host = Host::new();
    let network = host.network("10.0.0.0/20");
    let mut answered = BTreeMap::new();
    let mut killed = 0;
    let mut span = Duration::ZERO;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let pods: Vec<Pod> = (0..6)
            .map(|one| Pod::new(&format!("r{round}p{one}")))
            .collect();
        let running: Vec<Running> = pods
            .iter()
            .map(|pod| network.call("ADD", pod).start())
            .collect();
        // From before the first opens the file until the last answers, by what the second round took: the first two kill nobody.
        let step = u32::try_from(round * 7919 % 97).expect("it is small");
        thread::sleep(span * step / 97);
        // All at once, before any answer is waited for.
        let (mut left, mut index) = (Vec::new(), 0);
        for (mut one, pod) in running.into_iter().zip(&pods) {
            index += 1;
            if round > 1 && index % 2 == 0 && one.is_running() {
                killed += 1;
                drop(one);
            } else {
                left.push((one, pod));
            }
        }
        for (one, pod) in left {
            let added = number(&one.finish());
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + added).to_string();
            answered.insert(pod.container.clone(), address);
        }
        if round == 1 {
            span = begun.elapsed();
        }
    }
    assert!(killed > ROUNDS / 2, "only {killed} were killed");
    assert!(answered.len() > ROUNDS, "only {} answered", answered.len());
    let claims: BTreeMap<String, String> = host.claims().into_iter().collect();
    for (container, address) in &answered {
        assert_eq!(claims.get(container), Some(address), "{container}");
    }
    host.assert_at_rest(claims.len());
    // A killed ADD may have its claim; its DEL takes that.
    for container in claims.keys().filter(|one| !answered.contains_key(*one)) {
        network.del(&Pod::new(container)).assert_silent();
    }
    host.assert_at_rest(answered.len());
}

#[test]
fn a_kill_while_the_file_is_made_leaves_none_or_a_whole_one() {
    for round in 0..40_u64 {
        let host = Host::new();
        let network = host.network("10.0.0.0/24");
        let running: Vec<Running> = (0..3)
            .map(|one| {
                let pod = Pod::new(&format!("killed{one}"));
                network.call("ADD", &pod).start()
            })
            .collect();
        thread::sleep(Duration::from_micros(round * 500));
        drop(running);
        let added = number(&network.add(&Pod::new("a")));
        let claims = host.claims();
        assert!(usize::try_from(added).expect("small") <= claims.len());
        host.assert_at_rest(claims.len());
    }
}
