//! The order of faults. Every kind strikes once, in an order drawn from the seed. Then more of them strike, also two
//! at once, until time is up. After each, ADD must succeed again. Between, the members are upgraded, if there is a
//! version to upgrade them to.

use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join;
use tokio::time::{sleep, timeout};
use whereabouts_clock::Chance;

use super::fault::{Fault, Leaves, Strikes};
use super::shared::{Datastore, Suite};
use super::strike::{strike_cluster, strike_servers};
use super::tally::{Condition, SETTLED};
use crate::proxied::Control;

/// Time without a fault at first, and between two.
const HEALTHY_AT_FIRST: Duration = Duration::from_secs(6);
const HEALTHY_BETWEEN: Duration = Duration::from_millis(1_500);

/// Longest time after a fault until an ADD succeeds again.
const RECOVERY: Duration = Duration::from_secs(60);

/// Longest time until leases of those who are gone have ended.
const NO_TICKETS: Duration = Duration::from_secs(30);

/// Strikes until `end`, and until every kind has struck.
pub(super) async fn haunt(suite: &Suite, end: Instant) {
    let chance = Chance::new(suite.seed());
    suite.tally().becomes(Condition::Healthy);
    sleep(HEALTHY_AT_FIRST).await;
    let round = first_round(suite.datastore(), &chance);
    for fault in suite.first().iter().copied().chain(round) {
        strike_alone(suite, fault, &chance).await;
    }
    for program in suite.upgrades() {
        upgrade(suite, program, &chance).await;
    }
    while Instant::now() < end {
        no_tickets(suite).await;
        let (outside, of_plugin) = divided(suite.datastore());
        let outside = pick(&chance, &outside);
        if chance.below(2) == 0 {
            strike_alone(suite, outside, &chance).await;
        } else {
            let faults = [outside, pick(&chance, &of_plugin)];
            strike_both(suite, faults, &chance).await;
        }
    }
}

/// Every kind once. The faults of the datastore that leave a majority come first, while their cost is measured.
/// Otherwise an ADD could wait for the lease of a process that was killed, or that ended without etcd.
fn first_round(datastore: Datastore, chance: &Chance) -> Vec<Fault> {
    let (outside, of_plugin) = divided(datastore);
    let (minority, majority) = outside
        .into_iter()
        .partition(|fault| fault.leaves() == Leaves::Minority);
    let groups = [majority, minority, of_plugin];
    let groups = groups.map(|faults| shuffled(faults, chance));
    groups.concat()
}

/// The faults of a datastore, and those of the plugin.
fn divided(datastore: Datastore) -> (Vec<Fault>, Vec<Fault>) {
    let faults = Fault::of(datastore).into_iter();
    faults.partition(|fault| fault.strikes() != Strikes::Plugin)
}

fn shuffled(mut faults: Vec<Fault>, chance: &Chance) -> Vec<Fault> {
    for last in (1..faults.len()).rev() {
        faults.swap(last, chance.index(last + 1));
    }
    faults
}

fn pick(chance: &Chance, faults: &[Fault]) -> Fault {
    faults[chance.index(faults.len())]
}

async fn strike_alone(suite: &Suite, fault: Fault, chance: &Chance) {
    suite.tally().becomes(Condition::Under(fault));
    strike(suite, fault, chance).await;
    recover(suite, &fault).await;
}

async fn strike_both(suite: &Suite, faults: [Fault; 2], chance: &Chance) {
    suite.tally().becomes(Condition::Unclear);
    let [one, other] = faults;
    join(strike(suite, one, chance), strike(suite, other, chance)).await;
    recover(suite, &one).await;
}

/// One member after the other goes on with another version. After each, a fault strikes what may be a
/// cluster of two versions.
async fn upgrade(suite: &Suite, program: &Path, chance: &Chance) {
    if let Err(reason) = Control::of(suite.cluster()).make_snapshots().await {
        suite.verdict().accuse(10, reason);
    }
    for member in 0..suite.cluster().size() {
        suite.tally().becomes(Condition::Unclear);
        match Control::of(suite.cluster()).upgrade(member, program).await {
            Ok([before, after]) => {
                println!("member {member} went from etcd {before} to {after}");
                suite.log(format_args!("! member {member} is of {after}"));
            }
            Err(reason) => suite.verdict().accuse(10, reason),
        }
        recover(suite, &format_args!("the upgrade of member {member}")).await;
        let (outside, _) = divided(suite.datastore());
        strike_alone(suite, pick(chance, &outside), chance).await;
    }
}

/// Waits until nobody stands in a queue, dead or alive.
async fn no_tickets(suite: &Suite) {
    let is_left = || suite.verdict().court().has_waiters();
    let gone = async {
        while is_left() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    // Where pods come all the time it is no fault if there is always one.
    let _ = timeout(NO_TICKETS, gone).await;
}

/// After a fault: the cluster is well again, ADD succeeds, and for a while nothing is wrong.
async fn recover(suite: &Suite, what: &dyn Display) {
    suite.tally().becomes(Condition::Unclear);
    let healed = Instant::now();
    if let Err(reason) = suite.all_well().await {
        suite.trouble(format_args!("after {what}: {reason}"));
    }
    let again = async {
        while suite.tally().successes_since(healed) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    if timeout(RECOVERY, again).await.is_err() {
        let text = format!("no ADD has succeeded within {RECOVERY:?} after {what}");
        suite.verdict().accuse(10, text);
    }
    suite.tally().becomes(Condition::Healthy);
    sleep(HEALTHY_BETWEEN).await;
}

/// Strikes, waits, and heals.
async fn strike(suite: &Suite, fault: Fault, chance: &Chance) {
    suite.log(format_args!("! {fault} begins"));
    suite.tally().strikes(fault, Instant::now());
    let lasts = match fault {
        Fault::PluginStopped => Duration::from_secs(15),
        // Longer than the deadlines of most nodes.
        Fault::MajorityKilled | Fault::MajorityCut | Fault::ServerStopped => {
            Duration::from_secs(10)
        }
        // Time to elect a leader, and to go on without the member.
        Fault::LeaderUnheard | Fault::LeaderDeaf => Duration::from_secs(6),
        _ if fault.is_one_member_dead() => SETTLED + Duration::from_secs(4),
        _ => Duration::from_secs(4),
    };
    let lasts = lasts + Duration::from_millis(chance.below(1_000));
    let done = match fault.strikes() {
        Strikes::Plugin => {
            suite.set_under(fault);
            // Many that start now are stopped while they wait for the reply to a commit.
            suite.burst.notify_waiters();
            sleep(lasts).await;
            suite.no_longer_under(fault);
            Ok(())
        }
        // A large future, and no caller is to carry it.
        Strikes::Cluster => Box::pin(strike_cluster(suite, fault, lasts, chance)).await,
        Strikes::Servers => match suite.servers() {
            Some(servers) => {
                let links = suite.cluster().links();
                Box::pin(strike_servers(links, servers, fault, lasts, chance)).await
            }
            None => Err("there is no API server".to_owned()),
        },
    };
    suite.tally().healed(fault, Instant::now());
    suite.log(format_args!("! {fault} ends"));
    match done {
        Ok(()) => suite.hit(fault),
        Err(reason) => suite.trouble(format_args!("{fault}: {reason}")),
    }
}

/// The faults of the run itself, when all is over. Each kind must have struck. With a majority alive, ADD must have
/// gone on. Without one for long, some ADDs must have failed clearly.
pub(super) fn complaints(suite: &Suite) -> Vec<String> {
    let struck = suite.tally().struck();
    let mut complaints = Vec::new();
    for fault in Fault::of(suite.datastore()) {
        let Some(kind) = struck.get(&fault).filter(|_| suite.was_hit(fault)) else {
            complaints.push(format!("{fault} has not struck"));
            continue;
        };
        let mut needs = vec![("before", kind.before), ("after", kind.after)];
        let may_wait = suite.datastore() == Datastore::Kubernetes && fault.hides_a_member();
        match (fault.leaves(), fault) {
            (Leaves::Majority, _) if may_wait => {}
            (Leaves::Majority, _) => needs.push(("during", kind.during)),
            (Leaves::Minority, Fault::MajorityKilled | Fault::MajorityCut) => {
                let clear = usize::try_from(kind.clear_failures).unwrap_or(usize::MAX);
                if clear == 0 {
                    complaints.push(format!("{fault}: no ADD has failed with code 11"));
                }
            }
            (Leaves::Minority, _) => {}
        }
        let missing = needs.into_iter().filter(|(_, successes)| *successes == 0);
        complaints.extend(missing.map(|(when, _)| format!("{fault}: no ADD succeeded {when} it")));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_has_every_kind_once_in_an_order_of_its_seed() {
        for datastore in [Datastore::Etcd, Datastore::Kubernetes] {
            let round = |seed| first_round(datastore, &Chance::new(seed));
            let mut sorted = round(1);
            sorted.sort_unstable();
            assert_eq!(sorted, {
                let mut all = Fault::of(datastore);
                all.sort_unstable();
                all
            });
            assert_eq!(round(1), round(1));
            assert_ne!(round(1), round(2));
        }
    }
}
