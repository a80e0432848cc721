//! Every stored value that can be read is told: by the table, by JSON and YAML, by the API and by the metrics.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};
use whereabouts_core::address::{Bitmap, BlockKey, Name, Pool};
use whereabouts_core::claim::{Attachment, Claim, Held, Owner, RangeId};
use whereabouts_core::escaped;
use whereabouts_store::keys::{Key, Keys, QueuedVerb, Seat, Spot};
use whereabouts_store::{Entry, record};

use super::api;
use super::exposition::Exposition;
use super::metrics;
use super::watched::{Freshness, Watched};
use crate::commands::claims::in_full;
use crate::output::shown::{COLUMNS, Shown};
use crate::output::{self, table};

/// A text, of characters that act on a terminal more often than others.
fn text() -> impl Strategy<Value = String> {
    let hidden = prop_oneof![
        Just('\n'),
        Just('\r'),
        Just('\u{1b}'),
        Just('\u{7}'),
        Just('\0'),
        Just('\u{9b}'),
        Just('\u{202e}'),
        Just('\u{2028}'),
        Just('"'),
        Just('\\'),
        Just('é'),
        any::<char>(),
    ];
    let short = proptest::collection::vec(hidden, 0..12).prop_map(String::from_iter);
    prop_oneof![20 => short, 1 => (1_usize..70_000).prop_map(|count| "x".repeat(count))]
}

fn held() -> impl Strategy<Value = Held> {
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(std::net::IpAddr::from),
        any::<[u8; 16]>().prop_map(std::net::IpAddr::from),
        Just(std::net::IpAddr::from([255; 4])),
        Just(std::net::IpAddr::from([255; 16])),
    ];
    let pool = (proptest::option::of(text()), any::<bool>());
    (address, 0_u8..=128, pool).prop_map(|(address, length, (name, own))| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let cidr = ipnet::IpNet::new(address, length.min(most))
            .expect("a length")
            .trunc();
        Held {
            range: RangeId {
                pool: Pool {
                    name,
                    only: own.then_some(cidr),
                },
                cidr,
            },
            address: address.into(),
        }
    })
}

fn claim() -> impl Strategy<Value = Claim> {
    let owner = proptest::array::uniform5(proptest::option::of(text()));
    let created = prop_oneof![
        any::<u64>(),
        Just(0),
        Just(u64::MAX),
        253_402_300_799_000_u64..253_402_300_801_000
    ];
    (held(), owner, created).prop_map(|(held, owner, created_ms)| {
        let [node, pod_namespace, pod_name, pod_uid, netns] = owner;
        Claim {
            held: vec![held],
            usable: Vec::new(),
            owner: Owner {
                node,
                pod_namespace,
                pod_name,
                pod_uid,
                netns,
                boot: None,
                is_durable: false,
            },
            created: Duration::from_millis(created_ms),
        }
    })
}

fn entry(key: &Key, value: Vec<u8>) -> Entry {
    Entry {
        key: Keys::new("/x/").encode(key),
        value,
        created: 1,
        modified: 1,
        lease: 0,
    }
}

/// The entries of a claim: itself, its block, and its attachment waiting for its range.
fn stored(claim: &Claim, interface: &str, bits: [u8; 32]) -> [Entry; 4] {
    let held = &claim.held[0];
    let attachment = Attachment {
        network: Name::new("net").expect("a name"),
        container: Name::new("c").expect("a name"),
        interface: interface.to_owned(),
    };
    let slot = BlockKey::of(&held.range.pool, held.address);
    let queue = held.range.clone();
    let seat = Seat {
        queue: queue.clone(),
        spot: Spot::Shared(1),
        verb: QueuedVerb::Add,
    };
    let lock = record::Lock {
        sender: 1,
        attachment: attachment.clone(),
        verb: QueuedVerb::Del,
    };
    let ticket = record::Ticket::Refused {
        sender: 1,
        node: None,
        shortage: whereabouts_core::allocator::Shortage::Taken(held.clone()),
    };
    [
        entry(
            &Key::Open(slot),
            record::encode_block(&Bitmap::from_bytes(&bits)),
        ),
        entry(&Key::Lock(queue), record::encode_lock(&lock)),
        entry(
            &Key::Ticket(seat),
            record::encode_ticket(&attachment, &ticket),
        ),
        entry(&Key::Claim(attachment), record::encode_claim(claim)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_stored_is_told(
        claim in claim(),
        interface in text(),
        bits in prop_oneof![Just([255; 32]), any::<[u8; 32]>()],
    ) {
        let keys = Keys::new("/x/");
        let entries = stored(&claim, &interface, bits);
        let watched = Watched::new(&keys, Vec::new(), Freshness::Followed);
        watched.change(|state| {
            for entry in entries.iter().chain(&entries) {
                state.seen.enter(entry, Instant::now());
            }
        });
        let range = &claim.held[0].range;
        let whole = whereabouts_core::address::Interval::of(range.cidr);
        let chosen = |block: Option<String>| {
            let chosen = json!({
                "range": range.cidr.to_string(),
                "pool": range.pool.name,
                "own": range.pool.only.is_some(),
                "block": block,
                "address": block,
            });
            serde_json::from_value(chosen).expect("a range is chosen")
        };
        let from_the_first_on = serde_json::from_value(json!({})).expect("it needs no key");
        let ranges = api::ranges(&watched, &from_the_first_on).expect("it is a place");
        let mut values = vec![ranges, api::queues(&watched), api::status(&watched)];
        values.push(api::blocks(&watched, &chosen(None)));
        values.push(api::claims(&watched, &chosen(None)));
        let address = claim.held[0].address.to_string();
        values.push(api::block(&watched, &chosen(Some(address.clone()))));
        values.push(api::map(&watched, &chosen(None)).expect("it is the whole range"));
        if whole.contains(claim.held[0].address) {
            let told = api::address(&watched, &chosen(Some(address))).expect("it is inside");
            // An empty name means the shared pool in a question.
            if range.pool.name.as_deref() != Some("") {
                let is_known = watched.state().seen.claims() == 1;
                prop_assert_eq!(told["claim"].is_object(), is_known);
            }
            values.push(told);
        }
        values.push(api::overview(&watched));
        for by in ["node", "network", "namespace"] {
            let grouped = serde_json::from_value(json!({"by": by})).expect("a kind");
            values.push(api::groups(&watched, &grouped));
        }
        let mut texts = Vec::new();
        if let Ok(shown) = Shown::of(&keys, &entries[3]) {
            prop_assert_eq!(&shown.claim.value, &claim);
            let table = table(COLUMNS, &[shown.row()]);
            prop_assert_eq!(table.lines().count(), 2, "{}", table);
            let full = in_full(&shown);
            prop_assert_eq!(full.lines().count(), 10, "{}", full);
            texts.extend([table, full]);
            values.push(shown.value());
        }
        for value in &values {
            let (json, yaml) = (output::json(value), output::yaml(value));
            let read: Value = serde_json::from_str(&json).expect("JSON");
            prop_assert_eq!(&read, value);
            let read: Value = serde_saphyr::from_str(&yaml).expect("YAML");
            prop_assert_eq!(&read, value);
            texts.extend([json, yaml]);
        }
        for text in texts {
            prop_assert_eq!(&escaped::lines(&text), &text);
        }
        let mut exposition = Exposition::default();
        metrics::tell(&watched, &mut exposition);
        for line in exposition.text().split('\n').filter(|line| !line.is_empty()) {
            let is_known = line.starts_with("# ") || line.starts_with("whereabouts_");
            prop_assert!(is_known, "{}", line);
        }
    }
}
