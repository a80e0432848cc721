//! Keeps what is known of etcd current: one listing, then its changes from there on, without a gap.
//! A new listing is needed only where etcd has forgotten a change, is another one, or cannot tell on.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use whereabouts_clock::Clock;
use whereabouts_etcd::SystemClock;
use whereabouts_etcd::{EtcdStore, News, Told};
use whereabouts_store::keys::Keys;
use whereabouts_store::listing::Pages;
use whereabouts_store::{At, Order, Read, Revision, Store, View};

use super::content::Content;
use super::history;
use super::watched::{Link, Watched};
use crate::connection::PATIENCE;
use crate::output::say;

/// Before another try, when etcd could not be followed any more.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two questions of whether what is known is current.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

/// For how long nothing must be told before etcd's word that all was told counts: before version 3.5.8 it gives it
/// while changes of the past, which it gathers every 100 ms, are still to come.
const QUIET: Duration = Duration::from_millis(500);

/// Where to go on, and in which cluster.
#[derive(Clone, Copy)]
struct Place {
    cluster: u64,
    /// The first revision of which not everything may be known.
    next: Revision,
    /// Nothing was told from here on since the last listing or interruption.
    is_stuck: bool,
}

/// Follows etcd for ever.
pub(super) async fn run(store: EtcdStore, keys: Keys, watched: Arc<Watched>) -> Infallible {
    let mut place = None;
    loop {
        let Err(reason) = follow(&store, &keys, &watched, &mut place).await;
        // A watch that ends where it began may do so again for ever.
        place = place.filter(|place: &Place| !place.is_stuck && !reason.contains("compacted"));
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
        |known: &Place| known.cluster == present.cluster && known.next <= present.revision + 1;
    let known = match place.filter(goes_on) {
        Some(known) => known,
        None => Place {
            cluster: present.cluster,
            next: list(store, keys, watched).await? + 1,
            is_stuck: false,
        },
    };
    let known = place.insert(known);
    let everything = keys.everything();
    let mut changes = patiently(store.follow(&everything, known.next, Told::Now)).await?;
    known.is_stuck = true;
    let mut is_current = false;
    let mut last_told = Instant::now();
    loop {
        let news = if is_current {
            Some(changes.next().await)
        } else {
            // It may have much to tell before what is known is the present.
            patiently(changes.ask_for_progress()).await?;
            timeout(PROGRESS_PAUSE, changes.next()).await.ok()
        };
        match news.transpose().map_err(|ended| ended.to_string())? {
            None => {}
            Some(News::Progress(_)) if is_current => {}
            Some(News::Progress(revision)) => {
                if revision >= present.revision && last_told.elapsed() >= QUIET {
                    is_current = true;
                    known.is_stuck = false;
                    watched.change(|state| state.link = Link::Live);
                } else {
                    sleep(PROGRESS_PAUSE).await;
                }
            }
            Some(News::Changes(changes)) => {
                known.is_stuck = false;
                let revisions = changes.iter().map(|change| change.revision);
                let last = revisions.fold(known.next, Revision::max);
                known.next = last;
                last_told = Instant::now();
                is_current |= last > present.revision;
                watched.change(|state| {
                    state.take(keys, changes, Instant::now(), SystemClock.since_epoch());
                    state.revision = state.revision.max(last);
                    if is_current {
                        state.link = Link::Live;
                    }
                });
            }
        }
    }
}

/// Samples the use of the ranges for ever, while it is current.
pub(super) async fn sample(watched: Arc<Watched>) -> Infallible {
    let mut every = tokio::time::interval(history::EVERY);
    loop {
        every.tick().await;
        let is_live = watched.state().link == Link::Live;
        if is_live {
            watched.sample();
        }
    }
}

/// Reads everything, at the revision that it answers. The old knowledge stays until then.
async fn list(store: &EtcdStore, keys: &Keys, watched: &Watched) -> Result<Revision, String> {
    let mut pages = Pages::new(keys.everything(), At::Now);
    let mut seen = Content::nothing(keys);
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
        if state.listings > 0 {
            state.feed.tell_gap(revision, SystemClock.since_epoch());
        }
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
