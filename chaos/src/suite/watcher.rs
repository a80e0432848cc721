//! The history of the store, told by etcd itself. A watch has everything from the first revision on, and goes on at
//! another member when one fails. Ticks say how far the watch has come.
//! A tick is a key that is written again and again. An execution that ended before a tick was sent comes before that
//! tick in the watch.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::{Client, EventType, WatchOptions};
use tokio::time::{sleep, timeout};
use whereabouts_store::{Entry, Event, Revision};

use crate::proxied::{Control, ProxiedCluster};

/// Below it is everything that is watched: all keys.
const WATCHED: &str = "/";

/// The tick.
const TICK: &str = "/tick";

/// How often a tick is sent.
const TICK_PERIOD: Duration = Duration::from_millis(100);

/// Longest time that a tick may take to be sent.
const TICK_BOUND: Duration = Duration::from_secs(1);

/// After so long without anything, another member is watched: ticks come ten times a second.
const SILENCE: Duration = Duration::from_secs(2);

/// Pause before another member is watched.
const PAUSE: Duration = Duration::from_millis(50);

/// The receiver of the history.
pub(super) trait Told {
    /// All events of the next revision.
    fn revision(&self, events: Vec<Event>);
    /// This tick has come, and with it everything before it.
    fn tick(&self, number: u64);
    /// The tick with this number is about to be sent.
    fn sends(&self, number: u64);
    /// Whether to go on.
    fn goes_on(&self) -> bool;
    /// The watch cannot go on: history is missing.
    fn fails(&self, reason: String);
}

/// Sends ticks, to one member after another as they fail.
pub(super) async fn send_ticks(cluster: &ProxiedCluster, told: &impl Told) {
    let mut member = 0;
    let mut number = 0;
    while told.goes_on() {
        if let Ok(mut client) = Control::of(cluster).client(member).await {
            loop {
                number += 1;
                told.sends(number);
                let put = client.put(TICK, number.to_string(), None);
                if !matches!(timeout(TICK_BOUND, put).await, Ok(Ok(_))) || !told.goes_on() {
                    break;
                }
                sleep(TICK_PERIOD).await;
            }
        }
        sleep(TICK_PERIOD).await;
        member = (member + 1) % cluster.size();
    }
}

/// Watches one member after another as they fail, and tells all revisions in their order.
pub(super) async fn watch(cluster: &ProxiedCluster, told: &impl Told) {
    let mut member = 0;
    // Of revision 1 there is nothing.
    let mut told_of: Revision = 1;
    while told.goes_on() {
        if let Ok(client) = Control::of(cluster).client(member).await {
            follow(client, &mut told_of, told).await;
        }
        sleep(PAUSE).await;
        member = (member + 1) % cluster.size();
    }
}

/// Follows one member as long as it tells something.
async fn follow(mut client: Client, told_of: &mut Revision, told: &impl Told) {
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(*told_of + 1);
    let opened = timeout(SILENCE, client.watch(WATCHED, Some(options))).await;
    let Ok(Ok(mut stream)) = opened else {
        return;
    };
    while told.goes_on() {
        let Ok(Ok(Some(message))) = timeout(SILENCE, stream.message()).await else {
            return;
        };
        if message.compact_revision() > *told_of {
            let missing = format!(
                "history after revision {told_of} was compacted up to {} before it was seen",
                message.compact_revision()
            );
            return told.fails(missing);
        }
        if message.canceled() {
            return;
        }
        // A message has all events of each revision that it tells of.
        let mut revisions: BTreeMap<Revision, (Vec<Event>, Option<u64>)> = BTreeMap::new();
        for event in message.events() {
            let Some(kv) = event.kv() else { continue };
            let (events, tick) = revisions.entry(kv.mod_revision()).or_default();
            if kv.key() == TICK.as_bytes() {
                *tick = kv.value_str().ok().and_then(|text| text.parse().ok());
                continue;
            }
            events.push(match event.event_type() {
                EventType::Put => Event::Put(Entry {
                    key: kv.key().to_vec(),
                    value: kv.value().to_vec(),
                    created: kv.create_revision(),
                    modified: kv.mod_revision(),
                    lease: kv.lease(),
                }),
                EventType::Delete => Event::Deleted {
                    key: kv.key().to_vec(),
                    revision: kv.mod_revision(),
                },
            });
        }
        for (revision, (events, tick)) in revisions {
            // A member that lags behind the last one may tell again.
            if revision <= *told_of {
                continue;
            }
            *told_of = revision;
            if !events.is_empty() {
                told.revision(events);
            }
            if let Some(number) = tick {
                told.tick(number);
            }
        }
    }
}
