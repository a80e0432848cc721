//! Keeps what is known of an API server's objects current by polls, while somebody looks.
//!
//! A poll reads all claims and blocks: 50,000 claims are about 100 MB of JSON. So without a scrape, a request or a browser that
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
use crate::connection::{DatastoreOptions, OBJECTS_PREFIX, ObjectStore, ObjectView};
use crate::output::say;

/// Between the end of a poll and the next one.
const PAUSE: Duration = Duration::from_secs(10);

/// The longest time between two polls whose difference is told as events.
const GAP: Duration = Duration::from_mins(1);

/// The last poll.
struct Known {
    view: Rc<ObjectView>,
    at: Instant,
}

/// Polls for ever: once at the start, and then while somebody looks.
pub(super) async fn run(options: &DatastoreOptions, watched: Arc<Watched>) -> Infallible {
    let keys = Keys::new(OBJECTS_PREFIX);
    let mut known: Option<Known> = None;
    loop {
        let view = match read(options).await {
            Ok(view) => view,
            Err(reason) => {
                lose(&watched, reason);
                sleep(PAUSE).await;
                continue;
            }
        };
        let at = Instant::now();
        let before = known.filter(|known| known.at.elapsed() < GAP);
        enter(&watched, &keys, before.as_ref(), &view, at);
        known = Some(Known { view, at });
        sleep(PAUSE).await;
        watched.looked_at().await;
    }
}

async fn read(options: &DatastoreOptions) -> Result<Rc<ObjectView>, String> {
    let Datastore::Kubernetes(access) = options.datastore()? else {
        return Err("the configuration names another datastore now".to_owned());
    };
    let chance = Chance::new(u64::from(std::process::id()));
    let store = ObjectStore::new(&access, &chance)?;
    store.view().await.map_err(|error| error.to_string())
}

/// Takes in what is different since the last poll, or everything.
fn enter(watched: &Watched, keys: &Keys, before: Option<&Known>, view: &ObjectView, at: Instant) {
    let time = SystemClock.since_epoch();
    let changes = before.map(|before| view.changes_since(&before.view));
    watched.change(|state| {
        if let Some(changes) = changes {
            state.take(keys, changes, at, time);
        } else {
            let mut seen = Content::nothing(keys);
            view.each(|entry| seen.enter(&entry, at));
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
