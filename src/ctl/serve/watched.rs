//! The knowledge of this process about etcd, shared by all that tell of it: the content, how current it is,
//! and word to whoever waits for news.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use whereabouts_core::address::Range;
use whereabouts_etcd::Change;
use whereabouts_store::Revision;
use whereabouts_store::keys::Keys;

use super::content::Content;
use super::feed::Feed;
use super::history::History;
use crate::output::moment;

/// How it stands with etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing is known yet.
    Listing,
    /// The knowledge is current.
    Live,
    /// The knowledge may be old.
    Away {
        /// Since when, since the Unix epoch.
        since: Duration,
        /// Why.
        reason: String,
    },
}

/// The knowledge and its state.
pub(super) struct State {
    /// The content of the store.
    pub(super) seen: Content,
    /// How current that is.
    pub(super) link: Link,
    /// The last revision of which something is known.
    pub(super) revision: Revision,
    /// How often everything was read.
    pub(super) listings: u64,
    /// The last events.
    pub(super) feed: Feed,
    /// The use of the ranges in the last hour.
    pub(super) history: History,
}

/// The same for several readers, and one writer.
pub(super) struct Watched {
    /// Ranges that are known from configs.
    pub(super) configured: Vec<Range>,
    state: Mutex<State>,
    news: watch::Sender<u64>,
}

impl Watched {
    /// Nothing is known yet.
    pub(super) fn new(keys: &Keys, configured: Vec<Range>) -> Self {
        Self {
            configured,
            state: Mutex::new(State {
                seen: Content::nothing(keys),
                link: Link::Listing,
                revision: 0,
                listings: 0,
                feed: Feed::default(),
                history: History::default(),
            }),
            news: watch::Sender::new(0),
        }
    }

    /// What is known. Not to be kept across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known and tells everybody that waits for news.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.news.send_modify(|count| *count += 1);
    }

    /// Samples the use of the ranges.
    pub(super) fn sample(&self) {
        let state = &mut *self.state();
        let uses = state.seen.occupancy.uses_after(&self.configured, None);
        state.history.sample(uses);
    }

    /// Gets word of each change.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

impl State {
    /// Takes in the changes of a watch: their meaning into the feed, and then themselves.
    pub(super) fn take(
        &mut self,
        keys: &Keys,
        mut changes: Vec<Change>,
        now: Instant,
        time: Duration,
    ) {
        changes.sort_by_key(|change| change.revision);
        for of_revision in changes.chunk_by(|one, other| one.revision == other.revision) {
            self.feed.tell(keys, &self.seen, of_revision, time);
            self.seen.apply(of_revision.to_vec(), now);
        }
    }

    /// How current it is, for people and programs.
    pub(super) fn link(&self) -> Value {
        let (state, since, reason) = match &self.link {
            Link::Listing => ("listing", Value::Null, None),
            Link::Live => ("live", Value::Null, None),
            Link::Away { since, reason } => ("away", moment(*since), Some(reason)),
        };
        json!({
            "state": state,
            "since": since,
            "reason": reason,
            "revision": self.revision,
            "claims": self.seen.claims(),
            "left_out": self.seen.left_out,
            "unreadable": self.seen.unreadable(),
        })
    }
}
