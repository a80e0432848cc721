//! Following: a follower is told what it asks for, and etcd reads no more for it.

use whereabouts_etcd::{Change, EtcdStore, News, Told};
use whereabouts_store::{Outcome, Revision, Store};

use super::{put, quickly, store};
use crate::support::etcd::Cluster;
use crate::support::run;

async fn put_once(store: &EtcdStore) -> Revision {
    match quickly(store.commit(&put())).await {
        Ok(Outcome::Done(view)) => view.revision,
        outcome => panic!("{outcome:?}"),
    }
}

async fn first_since(store: &EtcdStore, revision: Revision, told: Told) -> Change {
    let range = (b"/key".to_vec(), b"/key0".to_vec());
    let followed = quickly(store.follow(&range, revision, told)).await;
    let mut changes = followed.expect("etcd is there");
    match quickly(changes.next()).await {
        Ok(News::Changes(told)) => told.into_iter().next().expect("it tells of a change"),
        news => panic!("{news:?}"),
    }
}

#[test]
fn the_entry_before_is_told_to_a_follower_that_asks_for_it_and_to_no_other() {
    let cluster = Cluster::start(1);
    run(async {
        let store = store(&cluster.access());
        let before = put_once(&store).await;
        let now = put_once(&store).await;
        for (told, expected) in [(Told::Now, None), (Told::NowAndBefore, Some(before))] {
            let change = first_since(&store, now, told).await;
            let known = change.before.map(|entry| entry.modified);
            assert_eq!((change.revision, known), (now, expected), "{told:?}");
        }
    });
}
