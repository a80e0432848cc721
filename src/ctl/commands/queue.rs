//! `queue`: who holds the lock of a range, and who waits for it.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};
use whereabouts_core::claim::{Attachment, RangeId};
use whereabouts_etcd::LeaseLife;
use whereabouts_store::keys::{Key, QueuedVerb, Seat};
use whereabouts_store::record::{self, Lock, RecordError, Ticket};
use whereabouts_store::{At, Entry, Revision};

use crate::connection::{Connection, ReadOptions};
use crate::output::Ending;
use crate::output::shown::{Shown, pool, short};
use crate::output::{Output, age, moment, say};
use crate::selection::warn_of;

/// A range whose lock is not free, or for which somebody waits.
#[derive(Default)]
struct Busy {
    lock: Option<Locked>,
    /// The oldest first.
    waiting: Vec<Waiting>,
}

/// A lock.
struct Locked {
    /// When it was last written.
    revision: Revision,
    since: Since,
    by: By,
}

/// The process that a lock names, as far as it can be read.
enum By {
    /// The lock is offered to this process, and has no lease.
    Recipient(Option<Lock>),
    /// This process holds the lock for as long as the lease lives.
    Holder(Option<Lock>, Option<LeaseLife>),
}

/// A ticket, as far as it can be read.
struct Waiting {
    verb: QueuedVerb,
    whose: Option<Attachment>,
    created: Revision,
    since: Since,
    /// Whether a holder has answered that it cannot be served.
    refused: bool,
}

/// The time of the last claim that was made before something, and of the first after it.
#[derive(Clone, Copy, Default)]
struct Since {
    before: Option<Duration>,
    after: Option<Duration>,
}

type Queues = BTreeMap<RangeId, Busy>;

/// Shows all locks and tickets, or those of the range with this CIDR.
pub(crate) fn queue(
    etcd: &ReadOptions,
    range: Option<IpNet>,
    output: Output,
) -> Result<Ending, String> {
    let connection = Connection::open_to_read(etcd)?;
    connection.store.has_leases("queue")?;
    let mut unreadable = Vec::new();
    let (mut queues, revision) = read(&connection, range, &mut unreadable)?;
    if !queues.is_empty() {
        date(&connection, &mut queues, revision)?;
    }
    let values: Vec<Value> = queues.iter().map(value).collect();
    output.print(&Value::Array(values), || {
        let rows = queues.iter().flat_map(|(range, busy)| rows(range, busy));
        let rows: Vec<Vec<String>> = rows.collect();
        let headers = [
            "RANGE",
            "POOL",
            "PLACE",
            "VERB",
            "NETWORK",
            "CONTAINER",
            "IFNAME",
            "SINCE ABOUT",
            "LEASE LEFT",
            "REVISION",
        ];
        output.table(&headers, &rows)
    });
    if queues.values().all(|busy| busy.waiting.is_empty()) {
        say!("Nobody waits.");
    }
    warn_of(&unreadable);
    Ok(if unreadable.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

/// Reads locks and tickets at one revision.
fn read(
    connection: &Connection,
    range: Option<IpNet>,
    unreadable: &mut Vec<String>,
) -> Result<(Queues, Revision), String> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut take = |page: &[Entry]| {
        entries.extend_from_slice(page);
        Ok(())
    };
    let revision = connection.each_page(connection.keys.locks(), At::Now, &mut take)?;
    let queues = connection.keys.queues();
    connection.each_page(queues, At::Revision(revision), &mut take)?;
    let mut queues = Queues::new();
    for entry in entries {
        let key = match connection.keys.decode(&entry.key) {
            Ok(key) => key,
            Err(error) => {
                unreadable.push(error.to_string());
                continue;
            }
        };
        let queue = match &key {
            Key::Lock(queue) | Key::Ticket(Seat { queue, .. }) => queue.clone(),
            Key::Open(_)
            | Key::Full(_)
            | Key::Claim(_)
            | Key::OnNode(..)
            | Key::Owner(_)
            | Key::Cluster
            | Key::Network(_) => {
                continue;
            }
        };
        if range.is_some_and(|range| range.trunc() != queue.cidr) {
            continue;
        }
        let busy = queues.entry(queue).or_default();
        match key {
            Key::Lock(_) => busy.lock = Some(locked(connection, &entry, unreadable)?),
            Key::Ticket(seat) => busy.waiting.push(waiting(&seat, &entry, unreadable)),
            Key::Open(_)
            | Key::Full(_)
            | Key::Claim(_)
            | Key::OnNode(..)
            | Key::Owner(_)
            | Key::Cluster
            | Key::Network(_) => {}
        }
    }
    for busy in queues.values_mut() {
        busy.waiting.sort_by_key(|ticket| ticket.created);
    }
    Ok((queues, revision))
}

fn locked(
    connection: &Connection,
    entry: &Entry,
    unreadable: &mut Vec<String>,
) -> Result<Locked, String> {
    let lock = readable(entry, record::decode_lock, unreadable);
    let by = match entry.lease {
        0 => By::Recipient(lock),
        lease => By::Holder(lock, connection.ask(connection.store.life_of(lease))?),
    };
    Ok(Locked {
        revision: entry.modified,
        since: Since::default(),
        by,
    })
}

fn waiting(seat: &Seat, entry: &Entry, unreadable: &mut Vec<String>) -> Waiting {
    let ticket = readable(
        entry,
        |value| record::decode_ticket(seat, value),
        unreadable,
    );
    Waiting {
        verb: seat.verb,
        whose: record::decode_whose_ticket(&entry.value).ok(),
        created: entry.created,
        since: Since::default(),
        refused: matches!(ticket, Some((_, Ticket::Refused { .. }))),
    }
}

fn readable<T>(
    entry: &Entry,
    decode: impl Fn(&[u8]) -> Result<T, RecordError>,
    unreadable: &mut Vec<String>,
) -> Option<T> {
    let fail = |error| {
        let key = String::from_utf8_lossy(&entry.key);
        unreadable.push(format!("the value of {key} cannot be used: {error}"));
    };
    decode(&entry.value).map_err(fail).ok()
}

/// etcd keeps no times, and neither locks nor tickets have one. Claims have, by the clocks of their
/// nodes: those made just before and just after a ticket tell about when it was put.
fn date(connection: &Connection, queues: &mut Queues, revision: Revision) -> Result<(), String> {
    let mut made: Vec<(Revision, Duration)> = Vec::new();
    connection.each_page(
        connection.keys.claims(None),
        At::Revision(revision),
        |page| {
            let claims = page
                .iter()
                .filter_map(|entry| Shown::of(&connection.keys, entry).ok());
            let dated = claims.filter(|shown| !shown.claim.value.created.is_zero());
            made.extend(dated.map(|shown| (shown.claim.created, shown.claim.value.created)));
            Ok(())
        },
    )?;
    made.sort_unstable();
    for busy in queues.values_mut() {
        for ticket in &mut busy.waiting {
            ticket.since = Since::of(ticket.created, &made);
        }
        if let Some(lock) = &mut busy.lock {
            lock.since = Since::of(lock.revision, &made);
        }
    }
    Ok(())
}

impl Since {
    /// Of what was written at `revision`; `made` is in order.
    fn of(revision: Revision, made: &[(Revision, Duration)]) -> Self {
        let next = made.partition_point(|(created, _)| *created < revision);
        let before = next.checked_sub(1).and_then(|last| made.get(last));
        let time = |found: Option<&(Revision, Duration)>| found.map(|(_, time)| *time);
        Self {
            before: time(before),
            after: time(made.get(next)),
        }
    }

    fn text(self) -> String {
        match (self.before, self.after) {
            (Some(before), _) => format!("< {}", age(before)),
            (None, Some(after)) => format!("> {}", age(after)),
            (None, None) => unknown(),
        }
    }
}

fn unknown() -> String {
    "-".to_owned()
}

impl Waiting {
    fn verb(&self) -> &'static str {
        match (self.verb, self.refused) {
            (QueuedVerb::Add, true) => "ADD (refused)",
            (verb, _) => verb.as_str(),
        }
    }
}

/// The columns that say who: verb, network, container and interface.
fn who(verb: &str, attachment: Option<&Attachment>) -> [String; 4] {
    let part = |text: &dyn Fn(&Attachment) -> String| attachment.map_or_else(unknown, text);
    [
        verb.to_owned(),
        part(&|one| one.network.to_string()),
        part(&|one| short(one.container.as_str())),
        part(&|one| one.interface.clone()),
    ]
}

fn rows(range: &RangeId, busy: &Busy) -> Vec<Vec<String>> {
    let row = |place: String, who: [String; 4], since: Since, left: String, revision: Revision| {
        let place = [range.cidr.to_string(), range.pool.to_string(), place];
        let rest = [since.text(), left, revision.to_string()];
        place.into_iter().chain(who).chain(rest).collect()
    };
    let lock = busy.lock.iter().map(|lock| {
        let nobody = || [(); 4].map(|()| unknown());
        let (place, named, left) = match &lock.by {
            By::Recipient(recipient) => ("offered to", recipient, unknown()),
            By::Holder(holder, life) => ("holder", holder, left(*life)),
        };
        let named = named.as_ref().map_or_else(nobody, |lock| {
            who(lock.verb.as_str(), Some(&lock.attachment))
        });
        row(place.to_owned(), named, lock.since, left, lock.revision)
    });
    let waiting = (1..).zip(&busy.waiting).map(|(place, ticket): (usize, _)| {
        let who = who(ticket.verb(), ticket.whose.as_ref());
        row(
            place.to_string(),
            who,
            ticket.since,
            unknown(),
            ticket.created,
        )
    });
    lock.chain(waiting).collect()
}

fn left(life: Option<LeaseLife>) -> String {
    life.map_or_else(
        || "ended".to_owned(),
        |life| format!("{} of {} s", life.left.as_secs(), life.granted.as_secs()),
    )
}

fn value((range, busy): (&RangeId, &Busy)) -> Value {
    let holder = busy.lock.as_ref().and_then(holder_value);
    let recipient = busy.lock.as_ref().and_then(recipient_value);
    json!({
        "range": range.cidr.to_string(),
        "pool": pool(&range.pool),
        "holder": holder,
        "offered": recipient.is_some(),
        "offered_to": recipient,
        "waiting": busy.waiting.iter().map(waiting_value).collect::<Vec<_>>(),
    })
}

/// `None` if no process holds it.
fn holder_value(lock: &Locked) -> Option<Value> {
    let By::Holder(holder, life) = &lock.by else {
        return None;
    };
    let mut value = named_value(lock, holder.as_ref());
    value["lease_seconds_left"] = life.map(|life| life.left.as_secs()).into();
    Some(value)
}

/// `None` if it is offered to no process.
fn recipient_value(lock: &Locked) -> Option<Value> {
    let By::Recipient(recipient) = &lock.by else {
        return None;
    };
    Some(named_value(lock, recipient.as_ref()))
}

fn named_value(lock: &Locked, named: Option<&Lock>) -> Value {
    let attachment = named.map(|named| &named.attachment);
    json!({
        "verb": named.map(|named| named.verb.as_str()),
        "network": attachment.map(|one| one.network.as_str()),
        "container": attachment.map(|one| one.container.as_str()),
        "interface": attachment.map(|one| &one.interface),
        "revision": lock.revision,
        "not_before": lock.since.before.map(moment),
        "not_after": lock.since.after.map(moment),
    })
}

fn waiting_value(ticket: &Waiting) -> Value {
    let attachment = ticket.whose.as_ref();
    json!({
        "verb": ticket.verb(),
        "network": attachment.map(|one| one.network.as_str()),
        "container": attachment.map(|one| one.container.as_str()),
        "interface": attachment.map(|one| &one.interface),
        "revision": ticket.created,
        "not_before": ticket.since.before.map(moment),
        "not_after": ticket.since.after.map(moment),
    })
}
