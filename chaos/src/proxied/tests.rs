//! The cluster behind its proxies: members that are cut off, killed, stopped and replaced.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use super::{Control, ProxiedCluster, Security, Setup};
use crate::proxy::{Link, Links, Party, Passage};

/// Longest time that anything may take.
const BOUND: Duration = Duration::from_mins(3);

fn cluster(security: Security) -> ProxiedCluster {
    let setup = Setup {
        members: 3,
        security,
        etcd: PathBuf::from("/usr/bin/etcd"),
    };
    ProxiedCluster::start(setup).expect("etcd starts")
}

fn run(act: impl Future<Output = Result<(), String>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime is built");
    let act = async { timeout(BOUND, act).await.expect("it ends in time") };
    runtime
        .block_on(act)
        .expect("the cluster does as it is told");
}

/// A leader that no other member reaches, in the given direction, is replaced; healed, it follows.
fn check_cut(security: Security, cut: impl Fn(&Links, Party, Party)) {
    let cluster = cluster(security);
    let control = Control::of(&cluster);
    run(async {
        control.all_well().await?;
        let leader = control.leader().await?;
        let others = (0..cluster.size()).filter(|member| *member != leader);
        others.for_each(|other| cut(cluster.links(), Party::Member(leader), Party::Member(other)));
        while control.leader().await? == leader {}
        cluster.links().heal();
        control.all_well().await
    });
}

#[test]
fn a_leader_that_is_cut_off_is_replaced() {
    let held = Link::with(Passage::Held);
    check_cut(Security::Plain, |links, leader, other| {
        links.set_both(leader, other, held);
    });
}

#[test]
fn a_leader_that_is_not_heard_is_replaced_under_tls_too() {
    let held = Link::with(Passage::Held);
    check_cut(Security::MutualTls, |links, leader, other| {
        links.set(leader, other, held);
    });
}

#[test]
fn members_are_killed_restarted_and_replaced() {
    let cluster = cluster(Security::Plain);
    let control = Control::of(&cluster);
    run(async {
        control.all_well().await?;
        let put = async |mut client: etcd_client::Client| client.put("key", "value", None).await;
        control.ask(0, put).await?;
        (0..3).for_each(|member| cluster.kill(member));
        assert!(control.ask(0, put).await.is_err());
        (0..3).for_each(|member| cluster.restart(member));
        control.all_well().await?;
        control.replace(0).await?;
        control.all_well().await?;
        let get = async |mut client: etcd_client::Client| client.get("key", None).await;
        let found = control.ask(0, get).await?;
        assert_eq!(found.kvs().len(), 1);
        Ok(())
    });
}
