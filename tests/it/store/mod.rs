//! The store in etcd, against real clusters.

mod access;
mod conformance;
mod differential;
mod endpoints;
mod follow;
mod refusals;

use std::time::Duration;

use whereabouts_clock::Chance;
use whereabouts_etcd::Access;
use whereabouts_etcd::EtcdStore;
use whereabouts_store::{At, Read, Store, Txn, Unavailable, View, Write};

/// Much more than any call takes, and less than any timeout.
const QUICK: Duration = Duration::from_secs(5);

/// A store that asks the first endpoint first.
fn store(access: &Access) -> EtcdStore {
    let chance = || Chance::new(3);
    let count = u64::try_from(access.endpoints.len()).expect("there are a few endpoints");
    assert_eq!(chance().below(count), 0, "the seed chooses the first");
    EtcdStore::new(access, &chance())
}

async fn read(store: &EtcdStore) -> Result<View, Unavailable> {
    store.read(&[Read::Key(b"/key".to_vec())], At::Now).await
}

fn put() -> Txn {
    Txn {
        writes: vec![Write::Put {
            key: b"/key".to_vec(),
            value: b"value".to_vec(),
            lease: 0,
        }],
        ..Txn::default()
    }
}

/// The result of `future`, which must be soon.
async fn quickly<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(QUICK, future)
        .await
        .expect("it takes no longer than a moment")
}
