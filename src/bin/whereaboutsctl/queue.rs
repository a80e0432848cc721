//! `queue`: who holds the lock of a range, and who waits for it.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};
use whereabouts::claim::QueueId;
use whereabouts::store::etcd::LeaseLife;
use whereabouts::store::keys::{Key, QueuedVerb, TicketId};
use whereabouts::store::record::{self, Ticket};
use whereabouts::store::{At, Entry, Revision};

use crate::Ending;
use crate::chosen::warn_of;
use crate::connection::{Connection, EtcdOptions};
use crate::output::{Output, age, moment, table};
use crate::shown::{Shown, pool, short};

/// A ticket, as far as it can be read.
struct Standing {
    id: TicketId,
    created: Revision,
    /// Whether its holder has answered that it cannot be served.
    refused: bool,
    life: Option<LeaseLife>,
    /// The time of the last claim that was made before it, and of the first after it.
    since: (Option<Duration>, Option<Duration>),
}

/// Shows all tickets, or those of the range with this CIDR.
pub(crate) fn queue(
    etcd: &EtcdOptions,
    range: Option<IpNet>,
    output: Output,
) -> Result<Ending, String> {
    let connection = Connection::open(etcd)?;
    let mut unreadable = Vec::new();
    let (mut queues, revision) = read(&connection, range, &mut unreadable)?;
    if !queues.is_empty() {
        date(&connection, &mut queues, revision)?;
    }
    let values: Vec<Value> = queues.iter().map(value).collect();
    output.print(&Value::Array(values), || {
        let rows = queues
            .iter()
            .flat_map(|(range, tickets)| rows(range, tickets));
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
        table(&headers, &rows)
    });
    if queues.is_empty() {
        eprintln!("Nobody waits.");
    }
    warn_of(&unreadable);
    Ok(if unreadable.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

type Queues = BTreeMap<QueueId, Vec<Standing>>;

fn read(
    connection: &Connection,
    range: Option<IpNet>,
    unreadable: &mut Vec<String>,
) -> Result<(Queues, Revision), String> {
    let mut entries: Vec<Entry> = Vec::new();
    let revision = connection.each_page(connection.keys.queues(), At::Now, |page| {
        entries.extend_from_slice(page);
        Ok(())
    })?;
    let mut queues = Queues::new();
    for entry in entries {
        let id = match connection.keys.decode(&entry.key) {
            Ok(Key::Ticket(id)) => id,
            Ok(_) => continue,
            Err(error) => {
                unreadable.push(error.to_string());
                continue;
            }
        };
        if range.is_some_and(|range| range.trunc() != id.queue.cidr) {
            continue;
        }
        let refused = match record::decode_ticket(&entry.value) {
            Ok(ticket) => matches!(ticket, Ticket::Refused(_)),
            Err(error) => {
                let key = String::from_utf8_lossy(&entry.key);
                unreadable.push(format!("the value of {key} cannot be used: {error}"));
                false
            }
        };
        let life = match entry.lease {
            0 => None,
            lease => connection.ask(connection.store.life_of(lease))?,
        };
        queues.entry(id.queue.clone()).or_default().push(Standing {
            id,
            created: entry.created,
            refused,
            life,
            since: (None, None),
        });
    }
    for tickets in queues.values_mut() {
        tickets.sort_by_key(|ticket| ticket.created);
    }
    Ok((queues, revision))
}

/// etcd keeps no times, and a ticket has none. Claims have, by the clocks of their nodes: those made
/// just before and just after a ticket tell about when it was put.
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
    for ticket in queues.values_mut().flatten() {
        let next = made.partition_point(|(created, _)| *created < ticket.created);
        let before = next.checked_sub(1).and_then(|last| made.get(last));
        let time = |found: Option<&(Revision, Duration)>| found.map(|(_, time)| *time);
        ticket.since = (time(before), time(made.get(next)));
    }
    Ok(())
}

fn place(number: usize) -> String {
    match number {
        0 => "holder".to_owned(),
        waiting => waiting.to_string(),
    }
}

fn verb(ticket: &Standing) -> &'static str {
    match (ticket.id.verb, ticket.refused) {
        (QueuedVerb::Add, false) => "ADD",
        (QueuedVerb::Add, true) => "ADD (refused)",
        (QueuedVerb::Del, _) => "DEL",
    }
}

fn rows(range: &QueueId, tickets: &[Standing]) -> Vec<Vec<String>> {
    let rows = tickets.iter().enumerate().map(|(number, ticket)| {
        let attachment = &ticket.id.attachment;
        let since = match ticket.since {
            (Some(before), _) => format!("< {}", age(before)),
            (None, Some(after)) => format!("> {}", age(after)),
            (None, None) => "-".to_owned(),
        };
        let left = ticket.life.map_or_else(
            || "ended".to_owned(),
            |life| format!("{} of {} s", life.left.as_secs(), life.granted.as_secs()),
        );
        vec![
            range.cidr.to_string(),
            range.pool.to_string(),
            place(number),
            verb(ticket).to_owned(),
            attachment.network.to_string(),
            short(attachment.container.as_str()),
            attachment.interface.clone(),
            since,
            left,
            ticket.created.to_string(),
        ]
    });
    rows.collect()
}

fn value((range, tickets): (&QueueId, &Vec<Standing>)) -> Value {
    let tickets: Vec<Value> = tickets
        .iter()
        .map(|ticket| {
            let attachment = &ticket.id.attachment;
            let (before, after) = ticket.since;
            json!({
                "verb": verb(ticket),
                "network": attachment.network.as_str(),
                "container": attachment.container.as_str(),
                "interface": attachment.interface,
                "revision": ticket.created,
                "not_before": before.map(moment),
                "not_after": after.map(moment),
                "lease_seconds_left": ticket.life.map(|life| life.left.as_secs()),
            })
        })
        .collect();
    json!({
        "range": range.cidr.to_string(),
        "pool": pool(&range.pool),
        "holder": tickets.first(),
        "waiting": tickets.get(1..),
    })
}
