//! How each fault of the cluster and of the API servers is made, and healed.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use whereabouts_clock::Chance;

use super::fault::Fault;
use super::shared::Suite;
use crate::proxied::{Control, ProxiedCluster};
use crate::proxy::{Link, Links, Party, Passage};
use crate::servers::{SERVERS, Servers};

/// Chunks of replies of which each time one is cut in its middle.
const CHUNKS_BETWEEN_RESETS: u32 = 25;

/// How long connections are reset at the end of a fault.
const RESET: Duration = Duration::from_millis(200);

/// How long a slow disk stands still at most, and between, in milliseconds.
const STILL_MS: u64 = 400;
const BETWEEN_MS: u64 = 100;

/// Pause between two compactions.
const BETWEEN_COMPACTIONS: Duration = Duration::from_millis(200);

/// Strikes, waits for `lasts` or as long as it takes, and heals.
pub(super) async fn strike_cluster(
    suite: &Suite,
    fault: Fault,
    lasts: Duration,
    chance: &Chance,
) -> Result<(), String> {
    let cluster = suite.cluster();
    let control = Control::of(cluster);
    let size = cluster.size();
    let leader = control.leader().await?;
    let follower = (leader + 1 + chance.index(size - 1)) % size;
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
            let passage = [Passage::Held, Passage::Reset][chance.index(2)];
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
            let servers = suite.servers().map_or(0, |_| SERVERS);
            delay_all(cluster.links(), size, servers, chance);
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
            control.replace([leader, follower][chance.index(2)]).await?;
            control.all_well().await?;
            sleep(lasts / 2).await;
        }
        Fault::Compacted => compact_for(suite, &all, lasts).await?,
        Fault::NoSpace => {
            control.raise_alarm().await?;
            sleep(lasts).await;
            control.clear_alarm().await?;
        }
        Fault::LeaderMoved => {
            control.move_leader(leader, follower).await?;
            sleep(lasts / 2).await;
        }
        Fault::SlowDisk => {
            let slow = [leader, follower][chance.index(2)];
            stutter_for(cluster, slow, lasts, chance).await;
        }
        Fault::ServerKilled
        | Fault::ServersKilled
        | Fault::ServerStopped
        | Fault::ServerRepliesReset
        | Fault::ServerRepliesLost
        | Fault::PluginKilled
        | Fault::PluginStopped
        | Fault::RuntimeTimeout
        | Fault::DelRepeated => {
            unreachable!("not a fault of the cluster")
        }
    }
    Ok(())
}

/// Strikes the API servers, waits for `lasts`, and heals.
pub(super) async fn strike_servers(
    links: &Links,
    servers: &Servers,
    fault: Fault,
    lasts: Duration,
    chance: &Chance,
) -> Result<(), String> {
    let one = chance.index(SERVERS);
    match fault {
        Fault::ServerKilled => {
            servers.kill(one);
            sleep(lasts).await;
            servers.restart(one);
            servers.all_well().await?;
        }
        Fault::ServersKilled => {
            (0..SERVERS).for_each(|server| servers.kill(server));
            sleep(lasts).await;
            (0..SERVERS).for_each(|server| servers.restart(server));
            servers.all_well().await?;
        }
        Fault::ServerStopped => {
            servers.stop(one);
            sleep(lasts).await;
            servers.go_on(one);
        }
        Fault::ServerRepliesReset => {
            let link = Link::with(Passage::ResetAfter(CHUNKS_BETWEEN_RESETS));
            for server in 0..SERVERS {
                links.set(Party::Server(server), Party::Clients, link);
            }
            sleep(lasts).await;
            links.heal();
        }
        Fault::ServerRepliesLost => {
            let (from, to) = (Party::Server(one), Party::Clients);
            links.set(from, to, Link::with(Passage::Held));
            sleep(lasts).await;
            links.set(from, to, Link::with(Passage::Reset));
            sleep(RESET).await;
            links.heal();
        }
        _ => unreachable!("not a fault of the API servers"),
    }
    Ok(())
}

/// Compacts, and defragments one member after the other.
async fn compact_for(suite: &Suite, members: &[usize], lasts: Duration) -> Result<(), String> {
    let control = Control::of(suite.cluster());
    let end = Instant::now() + lasts;
    let mut compacted = 0;
    for member in members.iter().cycle() {
        // A claim that the watch has not seen yet must stay: the watch is milliseconds behind.
        let seen = suite.seen();
        if seen > compacted {
            control.compact(seen).await?;
            compacted = seen;
        }
        control.defragment(*member).await?;
        sleep(BETWEEN_COMPACTIONS).await;
        if Instant::now() > end {
            break;
        }
    }
    Ok(())
}

/// Lets a member stand still again and again.
async fn stutter_for(cluster: &ProxiedCluster, member: usize, lasts: Duration, chance: &Chance) {
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        cluster.stop(member);
        sleep(Duration::from_millis(chance.below(STILL_MS))).await;
        cluster.go_on(member);
        sleep(Duration::from_millis(chance.below(BETWEEN_MS))).await;
    }
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
fn delay_all(links: &Links, size: usize, servers: usize, chance: &Chance) {
    let members = (0..size).map(Party::Member);
    let servers = (0..servers).map(Party::Server);
    let parties: Vec<Party> = members.chain(servers).chain([Party::Clients]).collect();
    for from in &parties {
        for to in parties.iter().filter(|to| *to != from) {
            let delay = Duration::from_millis(1 + chance.below(15));
            links.set(*from, *to, Link::delayed(delay));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_of_directed_links() {
        assert_eq!(out_of(3, 1), [(1, 0), (1, 2)]);
        assert_eq!(into(3, 1), [(0, 1), (2, 1)]);
    }
}
