//! Faults of the cluster as a whole, and of nodes: leaders lost, members restarted, history compacted, links cut,
//! whole nodes lost.

use std::time::Duration;

use crate::cluster::{Cluster, Way};
use crate::runtime::Runtime;
use crate::vocabulary::{Fault, NodeId};

/// How often the nemesis looks whether to strike.
const PERIOD_MS: u64 = 20;

/// Strikes now and then, until nothing fails any more.
pub(super) async fn haunt(cluster: Cluster, runtime: Runtime) {
    let world = cluster.world().clone();
    while !cluster.is_calm() {
        world
            .sleep(Duration::from_millis(
                1 + world.chance().below(2 * PERIOD_MS),
            ))
            .await;
        for fault in Fault::ALL {
            if cluster.strikes(fault) {
                strike(&cluster, &runtime, fault).await;
            }
        }
    }
}

async fn strike(cluster: &Cluster, runtime: &Runtime, fault: Fault) {
    let world = cluster.world();
    let pause = |longest_ms| Duration::from_millis(1 + world.chance().below(longest_ms));
    let node = || NodeId(world.chance().below(cluster.knobs().nodes));
    let says = |what: &str| cluster.log(&"nemesis", format_args!("! {fault} {what}"));
    match fault {
        Fault::NoLeader => {
            says("begins");
            // Now and then for longer than any deadline.
            let longest_ms = if world.chance().below(6) == 0 {
                90_000
            } else {
                4_000
            };
            cluster.lose_leader(pause(longest_ms)).await;
            says("ends");
        }
        Fault::Restart => {
            runtime.count_for_all(fault);
            cluster.restart(pause(1_500)).await;
        }
        Fault::Compaction => {
            runtime.count_for_all(fault);
            cluster.compact();
        }
        Fault::TooManyRequests => cluster.refuse(pause(300)),
        Fault::NoSpace => cluster.run_full(pause(800)),
        Fault::Partition => {
            let ways = match world.chance().below(3) {
                0 => &[Way::Out][..],
                1 => &[Way::Back],
                _ => &[Way::Out, Way::Back],
            };
            let pause = pause(20_000);
            let node = node();
            for way in ways {
                cluster.cut(node, *way, pause);
            }
        }
        Fault::NodeLost => runtime.lose_node(node()),
        // These strike single calls and processes, where those are made.
        Fault::LostRequest
        | Fault::LostReply
        | Fault::LateRequest
        | Fault::SlowLink
        | Fault::WatchEnded
        | Fault::Killed
        | Fault::Paused
        | Fault::Stalled
        | Fault::Orphaned
        | Fault::Severed => {}
    }
}
