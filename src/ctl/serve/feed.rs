//! The last events of claims and tickets, bounded. etcd keeps no times: an event has the time at which this process
//! saw it. Pure: the time is an argument.
//!
//! A DEL, a GC and a release delete a claim by the same transaction. So the feed cannot tell them apart.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use whereabouts_core::durable::OwnerState;
use whereabouts_core::limits;
use whereabouts_etcd::Change;
use whereabouts_store::Revision;
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::record::{self, Ticket};

use super::content::Content;
use crate::output::moment;
use crate::output::shown::{Shown, pool};

/// Addresses of a claim that an event names.
const ADDRESSES: usize = 4;

/// Characters of a name in an event.
const NAME: usize = 128;

/// The events, the oldest first.
#[derive(Default)]
pub(super) struct Feed {
    events: VecDeque<Event>,
    /// The number of all events so far, which is the number of the last one.
    count: u64,
}

struct Event {
    number: u64,
    time: Duration,
    revision: Revision,
    what: &'static str,
    subject: Value,
}

impl Feed {
    /// Tells what the changes of one revision mean, before `seen` has them.
    pub(super) fn tell(&mut self, keys: &Keys, seen: &Content, changes: &[Change], time: Duration) {
        let claims = changes
            .iter()
            .filter_map(|change| claim_event(keys, seen, change));
        let mut claims: Vec<(&str, Shown)> = claims.collect();
        name_take_overs(&mut claims);
        name_kept(keys, changes, &mut claims);
        let claims = claims
            .into_iter()
            .map(|(what, shown)| (what, subject(&shown)));
        let refused = changes
            .iter()
            .filter_map(|change| refusal(keys, seen, change));
        let revision = changes.first().map_or(0, |change| change.revision);
        for (what, subject) in claims.chain(refused) {
            self.push(what, subject, revision, time);
        }
    }

    /// Everything was read again: events before it are lost.
    pub(super) fn tell_gap(&mut self, revision: Revision, time: Duration) {
        self.push("gap", Value::Null, revision, time);
    }

    fn push(&mut self, what: &'static str, subject: Value, revision: Revision, time: Duration) {
        self.count += 1;
        if self.events.len() == limits::PAGE_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            number: self.count,
            time,
            revision,
            what,
            subject,
        });
    }

    /// The events after `after`, the newest first.
    pub(super) fn events(&self, after: u64) -> Vec<Value> {
        let events = self.events.iter().rev();
        let events = events.take_while(|event| event.number > after);
        let value = |event: &Event| {
            json!({
                "number": event.number,
                "time": moment(event.time),
                "revision": event.revision,
                "event": event.what,
                "claim": event.subject,
            })
        };
        events.map(value).collect()
    }
}

fn claim_event(keys: &Keys, seen: &Content, change: &Change) -> Option<(&'static str, Shown)> {
    let Ok(Key::Claim(_)) = keys.decode(&change.key) else {
        return None;
    };
    let before = seen.claim(&change.key);
    match &change.now {
        None => before.map(|before| ("freed", before)),
        Some(entry) => {
            let now = Shown::of(keys, entry).ok()?;
            match before {
                None if entry.created == entry.modified => Some(("added", now)),
                Some(before) if before.claim.value == now.claim.value => None,
                // Without a place in memory, it is not known how the claim was before.
                None | Some(_) => Some(("changed", now)),
            }
        }
    }
}

/// A claim that is deleted and one that is put, in one revision and with the same addresses: a new container of a
/// pod has taken over the addresses of the old one.
fn name_take_overs(claims: &mut Vec<(&str, Shown)>) {
    let freed: Vec<Shown> = claims
        .iter()
        .filter(|(what, _)| *what == "freed")
        .map(|(_, shown)| shown.clone())
        .collect();
    let is_same = |one: &Shown, other: &Shown| one.claim.value.held == other.claim.value.held;
    let mut taken_over = Vec::new();
    for (what, shown) in claims.iter_mut().filter(|(what, _)| *what == "added") {
        if freed.iter().any(|before| is_same(before, shown)) {
            *what = "taken over";
            taken_over.push(shown.clone());
        }
    }
    claims.retain(|(what, shown)| {
        *what != "freed" || !taken_over.iter().any(|after| is_same(after, shown))
    });
}

/// A claim that is deleted, and a durable owner that goes to rest with its addresses in the same revision.
fn name_kept(keys: &Keys, changes: &[Change], claims: &mut [(&str, Shown)]) {
    let owner = |change: &Change| match (keys.decode(&change.key), &change.now) {
        (Ok(Key::Owner(_)), Some(entry)) => record::decode_owner(&entry.value).ok(),
        _ => None,
    };
    let states: Vec<OwnerState> = changes.iter().filter_map(owner).collect();
    for (what, shown) in claims.iter_mut().filter(|(what, _)| *what == "freed") {
        let is_kept = states.iter().any(|state| match state {
            OwnerState::Resting { held, .. } => *held == shown.claim.value.held,
            OwnerState::Attached(_) => false,
        });
        if is_kept {
            *what = "kept";
        }
    }
}

/// A ticket that a holder refuses now, and had not refused before.
fn refusal(keys: &Keys, seen: &Content, change: &Change) -> Option<(&'static str, Value)> {
    let Ok(Key::Ticket(seat)) = keys.decode(&change.key) else {
        return None;
    };
    let entry = change.now.as_ref()?;
    let (ticket_id, ticket) = record::decode_ticket(&seat, &entry.value).ok()?;
    let known = seen
        .lines
        .queues
        .get(&seat.queue)
        .and_then(|queue| queue.get(&seat));
    if !matches!(ticket, Ticket::Refused { .. }) || known.is_some_and(|known| known.refused) {
        return None;
    }
    let subject = json!({
        "addresses": [],
        "range": seat.queue.cidr.to_string(),
        "pool": pool(&seat.queue.pool),
        "network": name(ticket_id.attachment.network.as_str()),
        "container": name(ticket_id.attachment.container.as_str()),
    });
    Some(("refused", subject))
}

fn subject(shown: &Shown) -> Value {
    let owner = &shown.claim.value.owner;
    let held = shown.claim.value.held.iter().take(ADDRESSES);
    let addresses = held.map(|held| {
        json!({
            "address": held.address.to_string(),
            "range": held.range.cidr.to_string(),
            "pool": {
                "name": held.range.pool.name.as_deref().map(name),
                "own": held.range.pool.only.is_some(),
            },
        })
    });
    json!({
        "addresses": addresses.collect::<Vec<_>>(),
        "pod": {
            "namespace": owner.pod_namespace.as_deref().map(name),
            "name": owner.pod_name.as_deref().map(name),
        },
        "node": owner.node.as_deref().map(name),
        "network": name(shown.attachment.network.as_str()),
        "container": name(shown.attachment.container.as_str()),
    })
}

/// The begin of a name: an event is small, whatever is stored.
fn name(text: &str) -> String {
    text.chars().take(NAME).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use whereabouts_core::address::{Name, Pool};
    use whereabouts_core::claim::{Attachment, Claim, Held, Owner, RangeId};
    use whereabouts_store::Entry;

    use super::*;

    const TIME: Duration = Duration::from_secs(1_700_000_000);

    fn key(container: &str) -> Key {
        Key::Claim(Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: "net1".to_owned(),
        })
    }

    fn claim(pod: &str) -> Vec<u8> {
        let cidr = "10.0.0.0/24".parse().expect("a CIDR");
        let address = "10.0.0.7".parse::<std::net::IpAddr>().expect("an address");
        let held = Held {
            range: RangeId {
                pool: Pool::default(),
                cidr,
            },
            address: address.into(),
        };
        record::encode_claim(&Claim {
            held: vec![held],
            usable: Vec::new(),
            owner: Owner {
                pod_name: Some(pod.to_owned()),
                ..Owner::default()
            },
            created: Duration::ZERO,
        })
    }

    /// A change of a claim, which was created at the revision `created`.
    fn change(container: &str, revision: Revision, now: Option<(Vec<u8>, Revision)>) -> Change {
        let key = Keys::new("/x/").encode(&key(container));
        let now = now.map(|(value, created)| Entry {
            key: key.clone(),
            value,
            created,
            modified: revision,
            lease: 0,
        });
        Change {
            key,
            revision,
            before: None,
            now,
        }
    }

    /// The kinds of events that batches of changes mean, the newest first.
    fn kinds(batches: Vec<Vec<Change>>) -> Vec<String> {
        let keys = Keys::new("/x/");
        let (mut feed, mut seen) = (Feed::default(), Content::nothing(&keys));
        for batch in batches {
            feed.tell(&keys, &seen, &batch, TIME);
            seen.apply(batch, Instant::now());
        }
        let kind = |event: Value| event["event"].as_str().map(str::to_owned);
        feed.events(0).into_iter().filter_map(kind).collect()
    }

    #[test]
    fn a_claim_is_added_changed_and_freed_and_a_touch_is_no_event() {
        let events = kinds(vec![
            vec![change("a", 2, Some((claim("one"), 2)))],
            vec![change("a", 3, Some((claim("one"), 2)))],
            vec![change("a", 4, Some((claim("two"), 2)))],
            vec![change("a", 5, None)],
            vec![change("never-seen", 6, None)],
        ]);
        assert_eq!(events, ["freed", "changed", "added"]);
    }

    #[test]
    fn a_new_container_that_gets_the_address_in_the_same_revision_takes_it_over() {
        let events = kinds(vec![
            vec![change("old", 2, Some((claim("one"), 2)))],
            vec![
                change("old", 3, None),
                change("new", 3, Some((claim("one"), 3))),
            ],
        ]);
        assert_eq!(events, ["taken over", "added"]);
    }

    #[test]
    fn the_newest_events_are_kept_and_told_from_any_number_on() {
        let mut feed = Feed::default();
        for _ in 0..limits::PAGE_EVENTS + 10 {
            feed.tell_gap(1, TIME);
        }
        let all = feed.events(0);
        assert_eq!(all.len(), limits::PAGE_EVENTS);
        assert_eq!(all[0]["number"], limits::PAGE_EVENTS + 10);
        assert_eq!(feed.events(limits::PAGE_EVENTS as u64 + 9).len(), 1);
    }
}
