//! The end of a run: everything is deleted and collected, nothing may be left, and every node can
//! add.

use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{sleep, timeout};
use whereabouts_sim::vocabulary::Verb;

use super::node::Node;
use super::shared::{Phase, Suite};
use super::verdict::{Answer, Asked};

/// Longest time in which all pods that are left are deleted.
const DELETED: Duration = Duration::from_mins(2);

/// Longest time that locks may outlive their processes: a lease, a leader's change, a sweep.
const LOCKS_GONE: Duration = Duration::from_mins(1);

/// Longest time until the watch has told of everything.
const TOLD: Duration = Duration::from_mins(1);

/// In which every node must be able to add.
const ADDED: Duration = Duration::from_secs(10);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Heals everything, ends all pods, and looks at what is left.
pub(super) async fn finish<T>(suite: &Suite, nodes: &[Rc<Node>], pods: impl Future<Output = T>) {
    suite.cluster().links().heal();
    if let Err(reason) = suite.all_well().await {
        suite.trouble(format_args!("at the end: {reason}"));
    }
    suite.log(format_args!("all pods are deleted"));
    if timeout(DELETED, pods).await.is_err() {
        let text = format!("not all pods are deleted {DELETED:?} after the last fault");
        suite.verdict().accuse(10, text);
    }
    suite.phase.set(Phase::Over);
    if suite.has_found() {
        return;
    }
    // Tickets of the dead are for GC; locks end with their leases.
    if !becomes(LOCKS_GONE, || !suite.verdict().court().is_locked()).await {
        let text = format!("locks are held {LOCKS_GONE:?} after their processes");
        return suite.verdict().accuse(8, text);
    }
    catch_up(suite).await;
    accuse_what_is_left(suite);
    collect_all(suite, nodes).await;
    sweep(suite).await;
    suite.verdict().all_is_gone();
    let start = std::time::Instant::now();
    let tried = join_all(nodes.iter().map(|node| node.try_out())).await;
    for result in tried {
        match result {
            Ok(took) if took <= ADDED => {}
            Ok(took) => suite
                .verdict()
                .accuse(10, format!("an ADD at the end took {took:?}")),
            Err(text) => suite.verdict().accuse(10, text),
        }
    }
    suite.log(format_args!("every node added, {:?}", start.elapsed()));
    catch_up(suite).await;
    sweep(suite).await;
    suite.verdict().all_is_gone();
}

/// Clears the bits that a DEL cannot know of, as the controller does. etcd has no such bits.
async fn sweep(suite: &Suite) {
    let Some(servers) = suite.servers() else {
        return;
    };
    let blocks = suite.verdict().court().blocks();
    if let Err(reason) = servers.sweep(&blocks).await {
        suite.verdict().accuse(8, reason);
    }
    catch_up(suite).await;
}

/// A claim that is held though it was deleted, and was never in doubt, is a leak.
fn accuse_what_is_left(suite: &Suite) {
    let suspects = suite.suspects.borrow();
    let mut verdict = suite.verdict();
    let left = verdict.court().left();
    let attachments: BTreeSet<_> = left.iter().map(|(attachment, _)| attachment).collect();
    suite.left_to_gc.set(attachments.len() as u64);
    for (attachment, what) in &left {
        if !suspects.contains(attachment) {
            verdict.accuse(8, format!("{attachment} was deleted and {what}"));
        }
    }
}

async fn collect_all(suite: &Suite, nodes: &[Rc<Node>]) {
    for node in nodes {
        node.collect().await;
    }
    catch_up(suite).await;
}

/// Waits until the watch has told of everything that was done.
async fn catch_up(suite: &Suite) {
    let asked = Asked {
        node: 0,
        verb: Verb::Status,
        attachment: None,
        ask: None,
    };
    let process = suite.verdict().starts(&asked);
    suite.verdict().ended(process, Answer::Other, false);
    let caught_up = becomes(TOLD, || suite.verdict().is_up_to_date()).await;
    if !caught_up {
        suite
            .verdict()
            .accuse(0, "the watch does not go on".to_owned());
    }
}

async fn becomes(within: Duration, so: impl Fn() -> bool) -> bool {
    let look = async {
        while !so() {
            sleep(LOOK).await;
        }
    };
    timeout(within, look).await.is_ok()
}
