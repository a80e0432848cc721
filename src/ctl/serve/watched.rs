//! The knowledge of this process about etcd, shared by all that tell of it: the content, how current it is,
//! and word to whoever waits for news.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
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

/// How the knowledge is kept current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// etcd tells each change.
    Followed,
    /// An API server is polled while somebody looks; the moment of the last poll.
    Polled(Option<Instant>),
}

impl Freshness {
    /// How old the knowledge is, if it was polled.
    pub(super) fn age(self) -> Option<Duration> {
        match self {
            Self::Followed => None,
            Self::Polled(at) => at.map(|at| at.elapsed()),
        }
    }
}

/// The knowledge and its state.
pub(super) struct State {
    /// How it is kept current.
    pub(super) freshness: Freshness,
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
    looks: Notify,
}

/// How old polled knowledge may be in a scrape.
const FRESH: Duration = Duration::from_secs(15);

/// How long a scrape waits for a poll. Prometheus gives up after ten seconds.
const SCRAPE_WAIT: Duration = Duration::from_secs(5);

impl Watched {
    /// Nothing is known yet.
    pub(super) fn new(keys: &Keys, configured: Vec<Range>, freshness: Freshness) -> Self {
        Self {
            configured,
            state: Mutex::new(State {
                freshness,
                seen: Content::nothing(keys),
                link: Link::Listing,
                revision: 0,
                listings: 0,
                feed: Feed::default(),
                history: History::default(),
            }),
            news: watch::Sender::new(0),
            looks: Notify::new(),
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

    /// Notes that somebody looks.
    pub(super) fn look(&self) {
        self.looks.notify_one();
    }

    /// Waits until somebody looks. A browser that listens always does.
    pub(super) async fn looked_at(&self) {
        if self.news.receiver_count() == 0 {
            self.looks.notified().await;
        }
    }

    /// Waits for a poll if the knowledge is old, but not for long.
    pub(super) async fn freshen(&self) {
        self.look();
        let age = self.state().freshness.age();
        if age.is_some_and(|age| age > FRESH) {
            let mut news = self.news();
            let _ = timeout(SCRAPE_WAIT, news.changed()).await;
        }
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
            "server": match self.freshness {
                Freshness::Followed => "etcd",
                Freshness::Polled(_) => "API server",
            },
            "age_seconds": self.freshness.age().map(|age| age.as_secs()),
            "revision": self.revision,
            "claims": self.seen.claims(),
            "left_out": self.seen.left_out,
            "unreadable": self.seen.unreadable(),
        })
    }
}
