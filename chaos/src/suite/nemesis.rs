//! What strikes: every kind of fault once, in an order drawn from the seed, then more of them,
//! also two at once, until time is up. After each, ADD must succeed again.

use std::time::{Duration, Instant};

use futures::future::join;
use tokio::time::{sleep, timeout};
use whereabouts::clock::Chance;

use super::Suite;
use super::fault::{Fault, Leaves, Strikes};
use super::tally::{Condition, SETTLED};
use crate::proxied::{Control, ProxiedCluster};
use crate::proxy::{Link, Links, Party, Passage};

/// Time without a fault at first, and between two.
const HEALTHY_AT_FIRST: Duration = Duration::from_secs(6);
const HEALTHY_BETWEEN: Duration = Duration::from_millis(1_500);

/// Longest time after a fault until an ADD succeeds again.
const RECOVERY: Duration = Duration::from_secs(60);

/// Chunks of replies of which each time one is cut in its middle.
const CHUNKS_BETWEEN_RESETS: u32 = 25;

/// Pause between two compactions.
const BETWEEN_COMPACTIONS: Duration = Duration::from_millis(200);

/// Strikes until `end`, and until every kind has struck.
pub(super) async fn haunt(suite: &Suite, end: Instant) {
    let chance = Chance::new(suite.seed());
    suite.tally().becomes(Condition::Healthy);
    sleep(HEALTHY_AT_FIRST).await;
    for fault in first_round(&chance) {
        strike_alone(suite, fault, &chance).await;
    }
    while Instant::now() < end {
        let cluster = pick(&chance, Strikes::Cluster);
        if chance.below(2) == 0 {
            strike_alone(suite, cluster, &chance).await;
        } else {
            let faults = [cluster, pick(&chance, Strikes::Plugin)];
            strike_both(suite, faults, &chance).await;
        }
    }
}

/// Every kind once: first those of the cluster, so that no ADD waits for the lease of a plugin
/// that was killed while it is measured what they cost.
fn first_round(chance: &Chance) -> Vec<Fault> {
    let mut faults = shuffled(of(Strikes::Cluster), chance);
    faults.extend(shuffled(of(Strikes::Plugin), chance));
    faults
}

fn of(strikes: Strikes) -> Vec<Fault> {
    let mut faults = Fault::ALL.to_vec();
    faults.retain(|fault| fault.strikes() == strikes);
    faults
}

fn shuffled(mut faults: Vec<Fault>, chance: &Chance) -> Vec<Fault> {
    for last in (1..faults.len()).rev() {
        faults.swap(last, below(chance, last + 1));
    }
    faults
}

fn pick(chance: &Chance, strikes: Strikes) -> Fault {
    let faults = of(strikes);
    faults[below(chance, faults.len())]
}

fn below(chance: &Chance, bound: usize) -> usize {
    usize::try_from(chance.below(bound as u64)).expect("below a usize")
}

async fn strike_alone(suite: &Suite, fault: Fault, chance: &Chance) {
    suite.tally().becomes(Condition::Under(fault));
    strike(suite, fault, chance).await;
    recover(suite, fault).await;
}

async fn strike_both(suite: &Suite, faults: [Fault; 2], chance: &Chance) {
    suite.tally().becomes(Condition::Unclear);
    let [one, other] = faults;
    join(strike(suite, one, chance), strike(suite, other, chance)).await;
    recover(suite, one).await;
}

/// After a fault: the cluster is well again, ADD succeeds, and for a while nothing is wrong.
async fn recover(suite: &Suite, fault: Fault) {
    suite.tally().becomes(Condition::Unclear);
    let healed = Instant::now();
    if let Err(reason) = Control::of(suite.cluster()).all_well().await {
        suite.trouble(format_args!("after {fault}: {reason}"));
    }
    let again = async {
        while suite.tally().successes_since(healed) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    if timeout(RECOVERY, again).await.is_err() {
        let text = format!("no ADD has succeeded within {RECOVERY:?} after {fault}");
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
        Fault::MajorityKilled | Fault::MajorityCut => Duration::from_secs(10),
        // Time to elect a leader, and to go on without the member.
        Fault::LeaderUnheard | Fault::LeaderDeaf => Duration::from_secs(6),
        _ if fault.is_one_member_dead() => SETTLED + Duration::from_secs(4),
        _ => Duration::from_secs(4),
    };
    let lasts = lasts + Duration::from_millis(chance.below(1_000));
    let done = match fault.strikes() {
        Strikes::Plugin => {
            suite.set_under(fault);
            sleep(lasts).await;
            suite.no_longer_under(fault);
            Ok(())
        }
        // A large future, and no caller is to carry it.
        Strikes::Cluster => Box::pin(strike_cluster(suite, fault, lasts, chance)).await,
    };
    suite.tally().healed(fault, Instant::now());
    suite.log(format_args!("! {fault} ends"));
    match done {
        Ok(()) => suite.hit(fault),
        Err(reason) => suite.trouble(format_args!("{fault}: {reason}")),
    }
}

async fn strike_cluster(
    suite: &Suite,
    fault: Fault,
    lasts: Duration,
    chance: &Chance,
) -> Result<(), String> {
    let cluster = suite.cluster();
    let control = Control::of(cluster);
    let size = cluster.size();
    let leader = control.leader().await?;
    let follower = (leader + 1 + below(chance, size - 1)) % size;
    let all: Vec<usize> = (0..size).collect();
    let from_leader: Vec<usize> = (0..size).map(|step| (leader + step) % size).collect();
    match fault {
        Fault::MemberKilled => kill_for(cluster, &[follower], lasts).await,
        Fault::LeaderKilled => kill_for(cluster, &[leader], lasts).await,
        Fault::MajorityKilled => {
            kill_for(cluster, &from_leader[..cluster.majority()], lasts).await;
        }
        Fault::AllKilled => kill_for(cluster, &all, lasts).await,
        Fault::LeaderStopped => {
            cluster.stop(leader);
            sleep(lasts).await;
            cluster.go_on(leader);
        }
        Fault::RollingRestart => {
            for member in all {
                kill_for(cluster, &[member], lasts / 4).await;
                control.all_well().await?;
            }
        }
        Fault::LeaderCut => cut_for(cluster, &both_ways(size, leader), lasts).await,
        Fault::FollowerCut => cut_for(cluster, &both_ways(size, follower), lasts).await,
        Fault::MajorityCut => {
            let cut: Vec<_> = all.iter().flat_map(|one| both_ways(size, *one)).collect();
            cut_for(cluster, &cut, lasts).await;
        }
        Fault::LeaderUnheard => cut_for(cluster, &out_of(size, leader), lasts).await,
        Fault::LeaderDeaf => cut_for(cluster, &into(size, leader), lasts).await,
        Fault::ClientsCut => {
            let cut = &from_leader[..size - cluster.majority()];
            let passage = [Passage::Held, Passage::Reset][below(chance, 2)];
            for member in cut {
                let member = Party::Member(*member);
                cluster
                    .links()
                    .set_both(Party::Clients, member, Link::with(passage));
            }
            sleep(lasts).await;
            cluster.links().heal();
        }
        Fault::Latency => {
            delay_all(cluster.links(), size, chance);
            sleep(lasts).await;
            cluster.links().heal();
        }
        Fault::RepliesReset => {
            let link = Link::with(Passage::ResetAfter(CHUNKS_BETWEEN_RESETS));
            for member in all {
                let (from, to) = (Party::Member(member), Party::Clients);
                cluster.links().set(from, to, link);
            }
            sleep(lasts).await;
            cluster.links().heal();
        }
        Fault::MemberReplaced => {
            control
                .replace([leader, follower][below(chance, 2)])
                .await?;
            control.all_well().await?;
            sleep(lasts / 2).await;
        }
        Fault::Compacted => {
            let end = Instant::now() + lasts;
            let mut compacted = 0;
            for member in all.into_iter().cycle() {
                // What the watch has not seen yet must stay: it is milliseconds behind.
                let seen = suite.seen();
                if seen > compacted {
                    control.compact(seen).await?;
                    compacted = seen;
                }
                control.defragment(member).await?;
                sleep(BETWEEN_COMPACTIONS).await;
                if Instant::now() > end {
                    break;
                }
            }
        }
        Fault::NoSpace => {
            control.raise_alarm().await?;
            sleep(lasts).await;
            control.clear_alarm().await?;
        }
        Fault::LeaderMoved => {
            control.move_leader(leader, follower).await?;
            sleep(lasts / 2).await;
        }
        Fault::PluginKilled | Fault::PluginStopped | Fault::RuntimeTimeout | Fault::DelRepeated => {
            unreachable!("not a fault of the cluster")
        }
    }
    Ok(())
}

async fn kill_for(cluster: &ProxiedCluster, members: &[usize], lasts: Duration) {
    for member in members {
        cluster.kill(*member);
    }
    sleep(lasts).await;
    for member in members {
        cluster.restart(*member);
    }
}

/// Directed links between members.
type Cut = Vec<(usize, usize)>;

fn out_of(size: usize, member: usize) -> Cut {
    let others = (0..size).filter(|other| *other != member);
    others.map(|other| (member, other)).collect()
}

fn into(size: usize, member: usize) -> Cut {
    let out = out_of(size, member).into_iter();
    out.map(|(member, other)| (other, member)).collect()
}

fn both_ways(size: usize, member: usize) -> Cut {
    [out_of(size, member), into(size, member)].concat()
}

async fn cut_for(cluster: &ProxiedCluster, cut: &Cut, lasts: Duration) {
    for (from, to) in cut {
        let (from, to) = (Party::Member(*from), Party::Member(*to));
        cluster.links().set(from, to, Link::with(Passage::Held));
    }
    sleep(lasts).await;
    cluster.links().heal();
}

/// Every link gets a delay of its own.
fn delay_all(links: &Links, size: usize, chance: &Chance) {
    let members = (0..size).map(Party::Member);
    let parties: Vec<Party> = members.chain([Party::Clients]).collect();
    for from in &parties {
        for to in parties.iter().filter(|to| *to != from) {
            let delay = Duration::from_millis(1 + chance.below(15));
            links.set(*from, *to, Link::delayed(delay));
        }
    }
}

/// What must be true of every kind when all is over: it has struck; where a majority lives, ADD
/// went on; where none does, and for long, some have failed clearly.
pub(super) fn complaints(suite: &Suite) -> Vec<String> {
    let struck = suite.tally().struck();
    let mut complaints = Vec::new();
    for fault in Fault::ALL {
        let Some(kind) = struck.get(&fault).filter(|_| suite.was_hit(fault)) else {
            complaints.push(format!("{fault} has not struck"));
            continue;
        };
        let mut needs = vec![("before", kind.before), ("after", kind.after)];
        match (fault.leaves(), fault) {
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
        let round = |seed| first_round(&Chance::new(seed));
        let mut sorted = round(1);
        sorted.sort_unstable();
        assert_eq!(sorted, {
            let mut all = Fault::ALL.to_vec();
            all.sort_unstable();
            all
        });
        assert_eq!(round(1), round(1));
        assert_ne!(round(1), round(2));
    }

    #[test]
    fn a_cut_is_of_directed_links() {
        assert_eq!(out_of(3, 1), [(1, 0), (1, 2)]);
        assert_eq!(into(3, 1), [(0, 1), (2, 1)]);
    }
}
