//! Keeps what is known of an API server's objects current by polls, while somebody looks.
//!
//! A poll reads all claims, blocks and networks: 50,000 claims are about 100 MB of JSON. So without a scrape, a request or a browser that
//! listens, nothing is read. The kubeconfig is read for each poll, as tokens are renewed on disk.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use whereabouts_clock::{Chance, Clock};
use whereabouts_cni::request::Datastore;
use whereabouts_etcd::SystemClock;
use whereabouts_store::keys::Keys;

use super::content::Content;
use super::watched::{Freshness, Link, Watched};
use crate::commands::ranges::{MAY_BE_MISSING, say_unusable};
use crate::connection::{
    DatastoreOptions, OBJECTS_PREFIX, ObjectStore, ObjectView, StatedNetworks,
};
use crate::output::say;

/// Between the end of a poll and the next one.
const PAUSE: Duration = Duration::from_secs(10);

/// The longest time between two polls whose difference is told as events.
const GAP: Duration = Duration::from_mins(1);

/// The last poll.
struct Known {
    view: Rc<ObjectView>,
    networks: Networks,
    at: Instant,
}

/// The networks of the last poll that could list them, and why a later one could not.
#[derive(Clone, Default)]
struct Networks {
    stated: Rc<StatedNetworks>,
    failure: Option<String>,
}

impl Networks {
    /// Those of `store`. If they cannot be listed, those of before stay, and that is said once.
    async fn read(store: &ObjectStore, before: Option<Self>) -> Self {
        let before = before.unwrap_or_default();
        match store.networks().await {
            Ok(stated) => {
                let is_new = |network: &&String| !before.stated.unusable.contains(network);
                let unusable: Vec<String> =
                    stated.unusable.iter().filter(is_new).cloned().collect();
                say_unusable(&unusable);
                Self {
                    stated: Rc::new(stated),
                    failure: None,
                }
            }
            Err(error) => {
                let failure = error.to_string();
                if before.failure.as_ref() != Some(&failure) {
                    say!("whereaboutsctl: the networks: {failure}; {MAY_BE_MISSING}");
                }
                Self {
                    stated: before.stated,
                    failure: Some(failure),
                }
            }
        }
    }
}

/// Polls for ever: once at the start, and then while somebody looks.
pub(super) async fn run(options: &DatastoreOptions, watched: Arc<Watched>) -> Infallible {
    let keys = Keys::new(OBJECTS_PREFIX);
    let mut known: Option<Known> = None;
    loop {
        let before = known.as_ref().map(|known| known.networks.clone());
        let (view, networks) = match read(options, before).await {
            Ok(read) => read,
            Err(reason) => {
                lose(&watched, reason);
                sleep(PAUSE).await;
                continue;
            }
        };
        let at = Instant::now();
        let before = known.filter(|known| known.at.elapsed() < GAP);
        let now = Known { view, networks, at };
        enter(&watched, &keys, before.as_ref(), &now);
        known = Some(now);
        sleep(PAUSE).await;
        watched.looked_at().await;
    }
}

async fn read(
    options: &DatastoreOptions,
    before: Option<Networks>,
) -> Result<(Rc<ObjectView>, Networks), String> {
    let Datastore::Kubernetes(access) = options.datastore()? else {
        return Err("the configuration names another datastore now".to_owned());
    };
    let chance = Chance::new(u64::from(std::process::id()));
    let store = ObjectStore::new(&access, &chance)?;
    let view = store.view().await.map_err(|error| error.to_string())?;
    Ok((view, Networks::read(&store, before).await))
}

/// Takes in what is different since the last poll, or everything.
fn enter(watched: &Watched, keys: &Keys, before: Option<&Known>, now: &Known) {
    let Known { view, networks, at } = now;
    let (at, entries) = (*at, &networks.stated.entries);
    let time = SystemClock.since_epoch();
    let changes = before.map(|before| {
        let before_entries = &before.networks.stated.entries;
        let of_networks = entries.changes_since(before_entries, view.inventory.revision);
        let of_objects = view.changes_since(&before.view);
        of_objects.into_iter().chain(of_networks).collect()
    });
    watched.change(|state| {
        if let Some(changes) = changes {
            state.take(keys, changes, at, time);
        } else {
            let mut seen = Content::nothing(keys);
            view.each(|entry| seen.enter(&entry, at));
            entries.each(|entry| seen.enter(&entry, at));
            state.seen = seen;
            if state.listings > 0 {
                state.feed.tell_gap(view.inventory.revision, time);
            }
        }
        state.seen.unusable_objects = view.unusable().len();
        state.revision = view.inventory.revision;
        state.listings += 1;
        state.freshness = Freshness::Polled(Some(at));
        state.link = Link::Live;
    });
}

fn lose(watched: &Watched, reason: String) {
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
}
