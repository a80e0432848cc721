//! Several endpoints: no call fails because one of them is dead or hangs.

use std::time::Duration;

use futures::future::join;
use tokio::time::timeout;
use whereabouts_etcd::Access;
use whereabouts_etcd::EtcdStore;
use whereabouts_store::{At, CommitError, Outcome, Read, Store, Unavailable, Watch};

use super::{put, quickly, read, store};
use crate::support::etcd::{Cluster, Member, Setup};
use crate::support::{HangingEndpoint, dead_endpoint, run};

/// Every call works on a new store that asks `first` before a healthy member.
fn check_first(first: String) {
    let cluster = Cluster::start(1);
    let access = Access {
        endpoints: vec![first, cluster.members[0].url.clone()],
        ..cluster.access()
    };
    let store = || store(&access);
    run(async {
        quickly(read(&store())).await.expect("it reads");
        let outcome = quickly(store().commit(&put())).await;
        assert!(matches!(outcome, Ok(Outcome::Done(_))), "{outcome:?}");
        let lease = quickly(store().grant(60)).await.expect("it grants").id;
        quickly(store().keep_alive(lease)).await.expect("it keeps");
        quickly(store().revoke(lease)).await.expect("it revokes");
        quickly(store().watch(&[b"/key".to_vec()]))
            .await
            .expect("it watches");
    });
}

#[test]
fn a_dead_endpoint_first_fails_no_call() {
    check_first(dead_endpoint());
}

#[test]
fn a_hanging_endpoint_first_fails_no_call() {
    let hanging = HangingEndpoint::start();
    check_first(hanging.url());
}

#[test]
fn all_endpoints_up_serve() {
    let cluster = Cluster::start(3);
    run(async {
        let store = store(&cluster.access());
        for _ in 0..10 {
            quickly(read(&store)).await.expect("it reads");
            let outcome = quickly(store.commit(&put())).await;
            assert!(matches!(outcome, Ok(Outcome::Done(_))), "{outcome:?}");
        }
    });
}

#[test]
fn a_call_is_one_request() {
    let cluster = Cluster::start(1);
    let member = &cluster.members[0];
    let transactions = || {
        let name = "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Txn\",\
                    grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}";
        member.metric(name).expect("etcd counts them")
    };
    run(async {
        let store = store(&cluster.access());
        let before = transactions();
        read(&store).await.expect("it reads");
        assert_eq!(transactions(), before + 1);
        store.commit(&put()).await.expect("it commits");
        assert_eq!(transactions(), before + 2);
    });
}

#[test]
fn all_endpoints_dead_are_for_a_later_try() {
    let access = Access {
        endpoints: vec![dead_endpoint(), dead_endpoint(), dead_endpoint()],
        prefix: String::new(),
        login: None,
        tls: None,
    };
    run(async {
        let store = store(&access);
        let failed = quickly(read(&store)).await;
        assert!(matches!(failed, Err(Unavailable::Later(_))), "{failed:?}");
        let failed = quickly(store.commit(&put())).await;
        assert!(
            matches!(failed, Err(CommitError::Unavailable(Unavailable::Later(_)))),
            "surely not written: {failed:?}"
        );
    });
}

/// A store that the follower has served and the leader could serve: for what happens when the
/// follower, which the test is given, no longer does.
fn served_by_follower(test: impl AsyncFnOnce(EtcdStore, &Member)) {
    let cluster = Cluster::with(Setup {
        members: 3,
        // However busy the machine is, nobody else becomes the leader meanwhile.
        arguments: &["--election-timeout=5000"],
        ..Setup::default()
    });
    let (leader, follower) = cluster.leader_and_follower();
    let access = Access {
        endpoints: vec![follower.url.clone(), leader.url.clone()],
        ..cluster.access()
    };
    run(async {
        let store = store(&access);
        leader.pause();
        let reads = [Read::Key(b"/key".to_vec())];
        let served = quickly(store.read(&reads, At::Whenever)).await;
        leader.resume();
        served.expect("it reads");
        test(store, follower).await;
    });
}

async fn assert_served(store: &EtcdStore) {
    for _ in 0..3 {
        quickly(read(store)).await.expect("it reads");
        let outcome = quickly(store.commit(&put())).await;
        assert!(matches!(outcome, Ok(Outcome::Done(_))), "{outcome:?}");
    }
}

#[test]
fn an_endpoint_that_dies_after_the_read_is_left() {
    served_by_follower(async |store, follower| {
        follower.kill();
        let outcome = quickly(store.commit(&put())).await;
        let told = matches!(outcome, Ok(Outcome::Done(_)) | Err(CommitError::Unknown(_)));
        assert!(told, "{outcome:?}");
        assert_served(&store).await;
    });
}

#[test]
fn a_commit_whose_endpoint_dies_before_it_answers_is_unknown() {
    served_by_follower(async |store, follower| {
        follower.pause();
        let commit = put();
        let die = async { follower.kill() };
        let (outcome, ()) = quickly(join(store.commit(&commit), die)).await;
        assert!(
            matches!(outcome, Err(CommitError::Unknown(_))),
            "{outcome:?}"
        );
    });
}

#[test]
fn an_endpoint_that_hangs_after_the_read_is_left_by_the_next_read() {
    served_by_follower(async |store, follower| {
        follower.pause();
        assert_served(&store).await;
    });
}

#[test]
fn an_endpoint_whose_commit_never_came_back_is_left() {
    served_by_follower(async |store, follower| {
        follower.pause();
        let commit = put();
        let never = timeout(Duration::from_millis(200), store.commit(&commit)).await;
        never.expect_err("it hangs");
        let outcome = quickly(store.commit(&commit)).await;
        assert!(matches!(outcome, Ok(Outcome::Done(_))), "{outcome:?}");
        assert_served(&store).await;
    });
}

/// A watch on a member to which `happens` something ends.
fn check_watch_ends(happens: impl FnOnce(&Cluster)) {
    let cluster = Cluster::start(3);
    let mut access = cluster.access();
    access.endpoints.truncate(1);
    run(async {
        let store = store(&access);
        let watch = store.watch(&[b"/key".to_vec()]).await;
        let mut watch = watch.expect("it watches");
        happens(&cluster);
        watch.next().await.expect_err("it ends");
    });
}

#[test]
fn a_watch_ends_when_its_member_dies() {
    check_watch_ends(|cluster| cluster.members[0].kill());
}

#[test]
fn a_watch_ends_when_its_member_hangs() {
    check_watch_ends(|cluster| cluster.members[0].pause());
}

#[test]
fn a_watch_ends_when_its_member_has_no_leader() {
    check_watch_ends(|cluster| {
        cluster.members[1].kill();
        cluster.members[2].kill();
    });
}
