//! Keeps what is known of etcd current: one listing, then its changes from there on, without a gap.
//! A new listing is needed only where etcd has forgotten a change, or is another one.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use whereabouts::clock::{Clock, SystemClock};
use whereabouts::listing::Pages;
use whereabouts::store::etcd::EtcdStore;
use whereabouts::store::keys::Keys;
use whereabouts::store::{At, Order, Read, Revision, Store, View};

use super::seen::Seen;
use super::watched::{Link, Watched};
use crate::connection::PATIENCE;
use crate::output::say;

/// Before another try, when etcd could not be followed any more.
const PAUSE: Duration = Duration::from_secs(1);

/// How far is known what, and of which cluster.
#[derive(Clone, Copy)]
struct Place {
    cluster: u64,
    revision: Revision,
}

/// Follows etcd for ever.
pub(super) async fn run(store: EtcdStore, keys: Keys, watched: Arc<Watched>) -> Infallible {
    let mut place = None;
    loop {
        let Err(reason) = follow(&store, &keys, &watched, &mut place).await;
        if reason.contains("compacted") {
            place = None;
        }
        watched.change(|state| {
            let since = match &state.link {
                Link::Away { since, .. } => *since,
                Link::Listing | Link::Live => {
                    say!("whereaboutsctl: {reason}");
                    SystemClock.since_epoch()
                }
            };
            state.link = Link::Away { since, reason };
        });
        sleep(PAUSE).await;
    }
}

async fn follow(
    store: &EtcdStore,
    keys: &Keys,
    watched: &Watched,
    place: &mut Option<Place>,
) -> Result<Infallible, String> {
    let present = present(store, keys).await?;
    let goes_on =
        |known: &Place| known.cluster == present.cluster && known.revision <= present.revision;
    let known = match place.filter(goes_on) {
        Some(known) => known,
        None => Place {
            cluster: present.cluster,
            revision: list(store, keys, watched).await?,
        },
    };
    let known = place.insert(known);
    let everything = keys.everything();
    let mut changes = patiently(store.follow(&everything, known.revision + 1)).await?;
    watched.change(|state| state.link = Link::Live);
    loop {
        let changes = changes.next().await.map_err(|ended| ended.to_string())?;
        let revisions = changes.iter().map(|change| change.revision);
        known.revision = revisions.fold(known.revision, Revision::max);
        watched.change(|state| {
            state.seen.apply(changes, Instant::now());
            state.revision = known.revision;
        });
    }
}

/// Reads everything, at the revision that it answers. What was known stays until then.
async fn list(store: &EtcdStore, keys: &Keys, watched: &Watched) -> Result<Revision, String> {
    let mut pages = Pages::new(keys.everything(), At::Now);
    let mut seen = Seen::nothing(keys);
    while let Some(page) = patiently(pages.next(store)).await? {
        for entry in &page {
            seen.enter(entry, Instant::now());
        }
    }
    let revision = pages.revision();
    watched.change(|state| {
        seen.inherit(&state.seen);
        state.seen = seen;
        state.revision = revision;
        state.listings += 1;
    });
    Ok(revision)
}

/// Which cluster answers, at which revision. No key of ours is in the range that is read.
async fn present(store: &EtcdStore, keys: &Keys) -> Result<View, String> {
    let nothing = Read::Range {
        from: keys.with_prefix(&[0]),
        until: keys.with_prefix(&[0, 0]),
        order: Order::Key,
        limit: 1,
    };
    patiently(store.read(&[nothing], At::Now)).await
}

async fn patiently<T, E: ToString>(asked: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    let answer = timeout(PATIENCE, asked).await;
    let answer = answer.map_err(|_| format!("etcd has not answered in {PATIENCE:?}"))?;
    answer.map_err(|error| error.to_string())
}
