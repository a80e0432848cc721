//! The rules for any bytes: of stdin, of the flat file, of variables, and of the keys and values in etcd.
//!
//! Each target takes bytes and panics if something does not hold. Fuzzers call them
//! (`fuzz_targets/`), and a bounded test with seeds and mutations of them (`tests/it/attacks/fuzz.rs`).
//! A well-formed input is not only decoded: it is carried out on a store in memory.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::slice;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use ipnet::IpNet;
use serde_json::Value;
use whereabouts_audit::invariants::{Audit, Auditor, audit};
use whereabouts_audit::occupancy::Occupancy;
use whereabouts_audit::range_map::{bar, draw};
use whereabouts_audit::repair;
use whereabouts_clock::{Chance, Clock};
use whereabouts_cni::answer;
use whereabouts_cni::error::Error as PluginError;
use whereabouts_cni::invocation::{File, Invocation, Machine};
use whereabouts_cni::request::{
    AddRequest, CniVersion, Outcome, Parsed, Rejected, Remark, Request, parse,
};
use whereabouts_core::address::{Address, Bitmap, BlockId, BlockKey, Family, Interval, refusal};
use whereabouts_core::allocator::{Demand, Verdict};
use whereabouts_core::claim::{Ask, Attachment, Choice, Claim, Held, Home, Owner, RangeId, Want};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::escaped;
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_core::network::DefinitionName;
use whereabouts_core::verbs;
use whereabouts_core::verbs::Error;
use whereabouts_core::verbs::{CheckRequest, Expectation, GcRequest, StatusRequest, WhenFull};
use whereabouts_protocol::operation;
use whereabouts_protocol::session::Session;
use whereabouts_store::keys::{Key, Keys, QueuedVerb, Seat, Spot, TicketId};
use whereabouts_store::memory::MemoryStore;
use whereabouts_store::record::{self, Ticket};
use whereabouts_store::{Entry, LeaseId, Txn, Write};

/// Stands wherever a secret can be configured, and nowhere else.
const SECRET: &str = "swordfish-8b1f";

/// The verbs, as in `CNI_COMMAND`.
const VERBS: [&str; 6] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"];

/// Where a flat file is found when the config does not say.
const FLAT_FILE: &str = "/etc/cni/net.d/whereabouts.d/whereabouts.conf";

/// Any bytes on stdin, for every verb: on a machine without files, on one with secrets in all of
/// them, and with secrets in the config itself.
pub fn stdin(data: &[u8]) {
    let says_secret = says_secret(data);
    for verb in VERBS {
        let ours = variables(verb);
        examine(&ours, data, &Files::default(), says_secret);
        examine(&ours, data, &Files::with_secrets(), says_secret);
        if let Some(data) = with_password(data) {
            examine(&ours, &data, &Files::default(), says_secret);
        }
    }
}

/// Any bytes as flat file.
pub fn flat_file(data: &[u8]) {
    let says_secret = says_secret(data);
    let files = Files {
        flat: Some(data.to_vec()),
    };
    let with_password = with_password(data).map(|flat| Files { flat: Some(flat) });
    for verb in VERBS {
        let config = br#"{"cniVersion": "1.1.0", "name": "net", "prevResult": {}, "ipam": {}}"#;
        examine(&variables(verb), config, &files, says_secret);
        if let Some(files) = &with_password {
            examine(&variables(verb), config, files, says_secret);
        }
    }
}

/// Any bytes as `CNI_ARGS`.
pub fn cni_args(data: &[u8]) {
    for verb in VERBS {
        let mut ours = variables(verb);
        ours.retain(|(name, _)| *name != "CNI_ARGS");
        ours.push(("CNI_ARGS", OsStr::from_bytes(data).to_owned()));
        examine(&ours, CONFIG, &Files::with_secrets(), says_secret(data));
    }
}

/// Any bytes as the variables of CNI, one a line.
pub fn variables_of_cni(data: &[u8]) {
    let names = [
        "CNI_COMMAND",
        "CNI_CONTAINERID",
        "CNI_IFNAME",
        "CNI_NETNS",
        "CNI_PATH",
        "CNI_ARGS",
    ];
    let values = data.split(|byte| *byte == b'\n').map(OsStr::from_bytes);
    let ours: Vec<_> = names.into_iter().zip(values.map(OsStr::to_owned)).collect();
    examine(&ours, CONFIG, &Files::with_secrets(), says_secret(data));
}

/// Any bytes as a key, below the prefix and as they are.
pub fn key(data: &[u8]) {
    let keys = keys();
    let prefixed = [PREFIX.as_bytes(), data].concat();
    for bytes in [data, &prefixed] {
        let key = match keys.decode(bytes) {
            Ok(key) => key,
            Err(error) => {
                assert!(!error.reason.is_empty());
                continue;
            }
        };
        assert_eq!(keys.encode(&key), bytes, "{key:?} is written another way");
        match key {
            Key::Open(slot) | Key::Full(slot) => {
                assert_eq!(BlockId::of(slot.block.base()), slot.block);
                assert!(slot.pool.only.is_none_or(|cidr| cidr == cidr.trunc()));
            }
            Key::Claim(attachment) => assert_attachment(&attachment),
            Key::OnNode(home, attachment) => {
                assert!(!home.node.is_empty());
                assert_attachment(&attachment);
            }
            Key::Owner(owner) => {
                assert!(!(owner.namespace.is_empty() || owner.pod.is_empty()));
                assert!(!owner.interface.is_empty());
            }
            Key::Lock(queue) => assert_queue(&queue),
            Key::Cluster => {}
            Key::Network(of) => assert!(!(of.namespace.is_empty() || of.name.is_empty())),
            Key::Ticket(Seat {
                queue,
                spot,
                verb: QueuedVerb::Add | QueuedVerb::Del,
            }) => {
                match spot {
                    Spot::Shared(number) => assert!(number < limits::SEATS),
                    Spot::Own(attachment) => assert_attachment(&attachment),
                }
                assert_queue(&queue);
            }
        }
    }
}

/// Any bytes as the value of a block, open or full, which an ADD and a STATUS look at.
pub fn block(data: &[u8]) {
    let open = record::decode_block(data);
    if let Ok(bitmap) = &open {
        assert_eq!(record::encode_block(bitmap), data);
        assert_eq!(bitmap.bits().count(), bitmap.count() as usize);
    }
    let full = record::decode_full(data).map(|()| Bitmap::full(Family::V4));
    if full.is_ok() {
        assert_eq!(record::encode_full(), data);
    }
    let ask = ask();
    let slot = BlockKey::of(&ask.wants[0].range.pool, address("10.0.0.1"));
    for (key, decoded) in [
        (Key::Open(slot.clone()), &open),
        (Key::Full(slot.clone()), &full),
    ] {
        let network = Network::with(&key, data);
        let status = block_on(verbs::status(&network.session(), &status(&ask)));
        let added = block_on(verbs::add(&network.session(), &ask));
        let in_place = |bitmap: &Bitmap| {
            let is_full_key = matches!(key, Key::Full(_));
            bitmap.is_full(Family::V4) == is_full_key
        };
        let Some(bitmap) = decoded.as_ref().ok().filter(|bitmap| in_place(bitmap)) else {
            assert_corrupt(&added);
            assert_eq!(network.value(&key).as_deref(), Some(data), "left as it is");
            assert_eq!(network.store.entries().len(), 1, "nothing else is written");
            assert!(status.is_err());
            continue;
        };
        let lowest = (1..=254).find(|bit| !bitmap.is_set(*bit));
        match (lowest, added) {
            (Some(bit), Ok(held)) => {
                assert_eq!(held[0].address, slot.block.address(bit));
                assert!(status.is_ok());
                network.delete(&ask.attachment);
                let freed = [Key::Open(slot.clone()), Key::Full(slot.clone())];
                let values: Vec<_> = freed.iter().filter_map(|key| network.value(key)).collect();
                // But for a mark that says nothing.
                let mut bitmap = *bitmap;
                bitmap.clear(0);
                let is_full = bitmap.is_full(Family::V4);
                let before = if is_full {
                    record::encode_full()
                } else {
                    record::encode_block(&bitmap)
                };
                assert_eq!(values, [before], "as it was before");
            }
            (None, Err(Error::Exhausted { .. })) => assert!(status.is_err()),
            (_, added) => panic!("{bitmap:?}: {added:?}"),
        }
    }
}

/// Any bytes as the value of a claim, which every verb looks at.
pub fn claim(data: &[u8]) {
    let ask = ask();
    let key = Key::Claim(ask.attachment.clone());
    let decoded = record::decode_claim(data);
    let network = Network::with(&key, data);
    // A claim that cannot be read is one of this node.
    let home_of = |claim: &Claim| claim.owner.home();
    if let Some(home) = decoded.as_ref().map_or(Some(home()), home_of) {
        let on_node = Key::OnNode(home, ask.attachment.clone());
        network.put(&on_node, &record::encode_on_node(), 0);
    }
    let added = block_on(verbs::add(&network.session(), &ask));
    let check = CheckRequest {
        attachment: ask.attachment.clone(),
        previous: Vec::new(),
        statics: Vec::new(),
        claim: Expectation::Needed,
    };
    let checked = block_on(verbs::check(&network.session(), &check));
    assert!(checked.is_err(), "no address is in an empty prevResult");
    let gc = GcRequest {
        network: ask.attachment.network.clone(),
        node: Some("node-1".to_owned()),
        valid: Some(BTreeSet::new()),
    };
    let collected = block_on(verbs::gc(&network.session(), &gc));
    let Ok(claim) = decoded else {
        assert_corrupt(&added);
        let deleted = block_on(verbs::del(&network.session(), &ask.attachment, &[]));
        assert_corrupt(&deleted);
        assert!(collected.is_err(), "GC tells of what it cannot read");
        assert_eq!(network.value(&key).as_deref(), Some(data), "left as it is");
        assert_eq!(network.store.entries().len(), 2, "nothing else is written");
        return;
    };
    let written = record::encode_claim(&claim);
    assert_eq!(record::decode_claim(&written).as_ref(), Ok(&claim));
    assert_held(&claim.held);
    let is_ours = ask.is_met_by(&claim);
    match added {
        Ok(held) => assert_eq!((held, is_ours), (claim.held.clone(), true)),
        Err(Error::HoldsOther { claim: other, .. }) => {
            assert_eq!((*other, is_ours), (claim.clone(), false));
        }
        Err(error) => panic!("{claim:?}: {error:?}"),
    }
    // An ADD that finds its claim renews the owner.
    let owner = if is_ours {
        ask.owner.or(&claim.owner)
    } else {
        claim.owner
    };
    let is_here = owner.node.as_deref() == Some("node-1");
    assert_eq!(network.value(&key).is_none(), is_here, "{collected:?}");
    network.delete(&ask.attachment);
    assert_eq!(network.value(&key), None);
}

/// Any bytes as the statement of a network: no verb looks at it, and readers count it or tell of it.
pub fn network(data: &[u8]) {
    let ask = ask();
    let key = Key::Network(definition());
    let network = Network::with(&key, data);
    block_on(verbs::add(&network.session(), &ask)).expect("it is in nobody's way");
    network.delete(&ask.attachment);
    assert_eq!(network.value(&key).as_deref(), Some(data));
    let mut occupancy = Occupancy::default();
    occupancy.enter(&keys(), &entry(keys().encode(&key), data.to_vec()));
    let Ok(stated) = record::decode_network(data) else {
        assert_eq!(occupancy.unreadable.len(), 1);
        return;
    };
    let written = record::encode_network(&stated);
    assert_eq!(record::decode_network(&written), Ok(stated.clone()));
    for used in occupancy.uses(&[]) {
        assert_eq!((used.held, used.taken), (0, 0));
        assert!(used.size > 0, "{used:?}");
        assert_eq!(occupancy.use_of(&[], &used.range), Some(used));
    }
    occupancy.leave_network(&stated);
    assert_eq!(occupancy.uses(&[]), []);
}

/// Any bytes as the value of a lock: held until its lease ends, and offered to somebody who is gone.
pub fn lock(data: &[u8]) {
    let ask = ask();
    let key = Key::Lock(ask.wants[0].range.clone());
    let held = Network::with(&key, data);
    let offered = Network::default();
    offered.put(&key, data, 0);
    for network in [held, offered] {
        assert_eq!(network.audit().locks, 1);
        let held = block_on(verbs::add(&network.session(), &ask));
        let held = held.expect("who waits takes the lock in the end");
        assert_eq!(held[0].address, address("10.0.0.1"));
        network.assert_consistent(1);
        assert_eq!(network.value(&key), None, "it is given up");
        network.delete(&ask.attachment);
    }
    if let Ok(lock) = record::decode_lock(data) {
        let written = record::encode_lock(&lock);
        assert_eq!(record::decode_lock(&written), Ok(lock));
    }
}

/// Any bytes as the value of a ticket: as another's place in the queue, and as a demand to serve.
pub fn ticket(data: &[u8]) {
    let ask = ask();
    let whose = record::decode_whose_ticket(data).ok();
    let other = whose.clone().unwrap_or_else(|| Attachment {
        interface: "net9".to_owned(),
        ..ask.attachment.clone()
    });
    if other == ask.attachment {
        return;
    }
    let queue = ask.wants[0].range.clone();
    let id = TicketId {
        queue: queue.clone(),
        attachment: other.clone(),
        verb: QueuedVerb::Add,
    };
    let [seat, _] = id.seats();
    let key = Key::Ticket(seat.clone());
    // One that does not tell whose it is nobody takes away.
    let clear = |network: &Network| {
        network.delete(&ask.attachment);
        network.delete_queued(&other, &queue);
        if whose.is_none() {
            network.remove(&key);
        }
        network.assert_consistent(0);
    };
    // Nobody has the lock, so nobody looks at the queue.
    let network = Network::with(&key, data);
    let held = block_on(verbs::add(&network.session(), &ask));
    assert_eq!(
        held.expect("the lock is free")[0].address,
        address("10.0.0.1")
    );
    assert_eq!(network.value(&key).as_deref(), Some(data), "left as it is");
    clear(&network);

    // It is served with the queue, or passed over.
    network.put(&key, data, 0);
    network.put(&Key::Lock(queue.clone()), b"", 0);
    let added = block_on(verbs::add(&network.session(), &ask));
    added.expect("who waits takes the lock in the end");
    if record::decode_ticket(&seat, data).is_err() {
        assert_eq!(network.value(&key).as_deref(), Some(data), "left as it is");
    }
    clear(&network);

    let Ok((read, ticket)) = record::decode_ticket(&seat, data) else {
        return;
    };
    assert_eq!(read, id);
    let written = record::encode_ticket(&other, &ticket);
    let again = record::decode_ticket(&seat, &written);
    assert_eq!(again.as_ref(), Ok(&(id, ticket.clone())));
    match ticket {
        Ticket::Asks { demand, .. } => {
            assert_eq!(demand.attachment(), &other);
            match demand {
                Demand::Take(ask) => {
                    assert!((1..=limits::WANTS).contains(&ask.wants.len()));
                    ask.wants.iter().for_each(assert_want);
                    serve_take(Ask {
                        may_take_over: true,
                        ..ask
                    });
                }
                Demand::Release { held, home, .. } => {
                    assert_held(&held);
                    serve_release(other, held, home);
                }
            }
        }
        Ticket::Refused { .. } => {}
    }
}

/// Any bytes as every stored value, and as a key, in all that is said of them: no printer ends the program, and what
/// is printed for people acts on no terminal.
pub fn shown(data: &[u8]) {
    let (ask, keys) = (ask(), keys());
    let range = &ask.wants[0].range;
    let slot = BlockKey::of(&range.pool, address("10.0.0.1"));
    let whose = record::decode_whose_ticket(data).unwrap_or(ask.attachment.clone());
    let id = TicketId {
        queue: range.clone(),
        attachment: whose,
        verb: QueuedVerb::Add,
    };
    let [seat, _] = id.seats();
    let named = [
        Key::Claim(ask.attachment.clone()),
        Key::OnNode(home(), ask.attachment.clone()),
        Key::Owner(owner()),
        Key::Open(slot.clone()),
        Key::Full(slot),
        Key::Lock(range.clone()),
        Key::Ticket(seat),
        Key::Network(definition()),
    ];
    let mut entries: Vec<Entry> = named
        .iter()
        .map(|key| entry(keys.encode(key), data.to_vec()))
        .collect();
    entries.push(entry([PREFIX.as_bytes(), data].concat(), data.to_vec()));
    let (mut auditor, mut occupancy) = (Auditor::default(), Occupancy::default());
    let mut said: Vec<String> = Vec::new();
    let mut blocks = BTreeMap::new();
    for entry in &entries {
        auditor.enter(&keys, entry);
        occupancy.enter(&keys, entry);
        match keys.decode(&entry.key) {
            Ok(Key::Open(slot)) => {
                let bitmap = record::decode_block(&entry.value);
                blocks.extend(bitmap.ok().map(|bitmap| (slot.block, bitmap)));
            }
            Ok(Key::Full(slot)) => blocks.extend([(slot.block, Bitmap::full(slot.block.family()))]),
            Ok(Key::Claim(attachment)) => {
                if let Ok(claim) = record::decode_claim(&entry.value) {
                    said.push(format!("{attachment} {claim} {claim:?}"));
                    let owner = Some(Box::new((attachment.clone(), claim.clone())));
                    let held = claim.held[0].clone();
                    said.push(Error::Taken { held, owner }.to_string());
                    let claim = Box::new(claim);
                    said.push(Error::HoldsOther { attachment, claim }.to_string());
                }
            }
            Ok(Key::Owner(owner)) => {
                said.push(owner.to_string());
                if let Ok(OwnerState::Resting { held, .. }) = record::decode_owner(&entry.value) {
                    let (owner, wants) = (Box::new(owner), ask.wants.clone());
                    said.push(Error::OwnerKeeps { owner, held, wants }.to_string());
                }
            }
            Ok(Key::Network(of)) => {
                said.push(of.to_string());
                let stated = record::decode_network(&entry.value).unwrap_or_default();
                said.extend(stated.iter().map(|one| one.range.to_string()));
            }
            Ok(key @ (Key::OnNode(..) | Key::Lock(_) | Key::Ticket(_) | Key::Cluster)) => {
                said.push(format!("{key:?}"));
            }
            Err(error) => said.push(error.to_string()),
        }
    }
    let audit = auditor.audit();
    let named = entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.key).into_owned());
    let repairs = repair::plan(&auditor, &audit.findings, &named.collect());
    said.extend(audit.findings.iter().map(ToString::to_string));
    said.extend(repairs.iter().map(ToString::to_string));
    said.extend(occupancy.unreadable.iter().map(ToString::to_string));
    for one in occupancy.uses(&[]) {
        said.push(format!("{} {}", one.range, bar(one.taken, one.size, 20)));
        let interval = Interval::of(one.range.cidr);
        let range_map = draw(interval, &one.intervals, &blocks);
        said.extend(range_map.rows.into_iter().map(|row| row.cells));
    }
    for text in said {
        let line = escaped::line(&text);
        assert!(!line.contains(escaped::is_hidden), "{line}");
        let json = serde_json::to_string(&text).expect("a text is JSON");
        let read: String = serde_json::from_str(&escaped::json(&json)).expect("it is JSON");
        assert_eq!(read, text);
    }
}

fn entry(key: Vec<u8>, value: Vec<u8>) -> Entry {
    Entry {
        key,
        value,
        created: 1,
        modified: 1,
        lease: 0,
    }
}

/// Whether the bytes are a ticket's value, wherever its seat is.
pub fn is_ticket(data: &[u8]) -> bool {
    let Ok(attachment) = record::decode_whose_ticket(data) else {
        return false;
    };
    let id = TicketId {
        queue: ask().wants[0].range.clone(),
        attachment,
        verb: QueuedVerb::Add,
    };
    record::decode_ticket(&id.seats()[0], data).is_ok()
}

fn serve_take(ask: Ask) {
    let network = Network::default();
    let attachment = ask.attachment.clone();
    let verdict = block_on(operation::perform(&network.session(), &Demand::Take(ask)));
    match verdict.expect("a store in memory serves") {
        Verdict::Granted(held) => {
            assert_held(&held);
            network.assert_consistent(1);
            network.delete(&attachment);
        }
        Verdict::Short(_) => {}
        verdict => panic!("{verdict:?}"),
    }
    network.assert_consistent(0);
}

/// A home that a claim can have.
fn owner() -> DurableOwner {
    DurableOwner {
        network: ask().attachment.network,
        namespace: "ns".to_owned(),
        pod: "web-0".to_owned(),
        interface: "eth0".to_owned(),
    }
}

fn definition() -> DefinitionName {
    DefinitionName {
        namespace: "ns".to_owned(),
        name: "blue".to_owned(),
    }
}

fn home() -> Home {
    let owner = Owner {
        node: Some("node-1".to_owned()),
        ..Owner::default()
    };
    owner.home().expect("its node is known")
}

fn serve_release(attachment: Attachment, held: Vec<Held>, home: Option<Home>) {
    let claim = Claim {
        held: held.clone(),
        usable: Vec::new(),
        owner: ask().owner,
        created: Duration::ZERO,
    };
    let key = Key::Claim(attachment.clone());
    let network = Network::with(&key, &record::encode_claim(&claim));
    let demand = Demand::Release {
        attachment,
        held,
        home,
        owner: None,
        modified: network.store.revision(),
    };
    let verdict = block_on(operation::perform(&network.session(), &demand));
    assert_eq!(
        verdict.expect("a store in memory serves"),
        Verdict::Released
    );
    assert_eq!(network.value(&key), None);
}

/// Reads an invocation; looks at all that is said of it, and carries it out if it is a request.
fn examine(ours: &[(&str, OsString)], stdin: &[u8], machine: &Files, says_secret: bool) {
    let invocation = Invocation {
        variables: ours
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
        program: "whereabouts".to_owned(),
        stdin: Ok(stdin.to_vec()),
    };
    let outcome = parse(&invocation, machine);
    let shown = format!("{outcome:?}");
    assert!(says_secret || !shown.contains(SECRET), "{shown}");
    match outcome {
        Ok(Outcome::About) => assert!(invocation.variable("CNI_COMMAND").is_none()),
        Ok(Outcome::Version(version)) => assert_json(&answer::versions(version), version),
        Ok(Outcome::Verb(parsed)) => {
            assert_remarks(&parsed.remarks, says_secret);
            assert_access(&parsed);
            let most = Duration::from_secs(limits::TIMEOUT_S);
            assert!(parsed.deadline > Duration::ZERO && parsed.deadline <= most);
            carry_out(&parsed);
        }
        Err(rejected) => {
            let Rejected {
                version,
                remarks,
                error,
                ..
            } = *rejected;
            assert_remarks(&remarks, says_secret);
            assert_error(version, &PluginError::Request(Box::new(error)), says_secret);
        }
    }
}

fn assert_error(version: CniVersion, error: &PluginError, says_secret: bool) {
    let (code, message, details) = (error.code(), error.summary(), error.details());
    assert!([1, 4, 5, 6, 7].contains(&code), "{code}: {details}");
    let json = answer::failure(version, code, message, &details);
    assert_json(&json, version);
    assert!(says_secret || !json.contains(SECRET), "{json}");
    assert_line(&details);
    let answer: Value = serde_json::from_str(&json).expect("checked before");
    assert_eq!(answer["code"], code);
    assert_eq!(answer["msg"], message);
    assert_eq!(answer["details"], details);
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(4));
}

fn assert_json(json: &str, version: CniVersion) {
    let answer: Value = serde_json::from_str(json).expect("an answer is JSON");
    assert_eq!(answer["cniVersion"], version.as_str());
    assert!(!json.contains('\n'), "{json}");
}

fn assert_remarks(remarks: &[Remark], says_secret: bool) {
    assert!(remarks.len() <= limits::REMARKS);
    for remark in remarks {
        assert!(says_secret || !remark.text.contains(SECRET), "{remark:?}");
        assert_line(&remark.text);
    }
}

/// A text that a log can have in one line.
fn assert_line(text: &str) {
    assert!(!text.is_empty() && text.len() <= 4 * limits::PATH_BYTES);
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn assert_access(parsed: &Parsed) {
    let Some(access) = parsed.datastore.etcd() else {
        return;
    };
    assert!((1..=limits::ENDPOINTS).contains(&access.endpoints.len()));
    let is_tls = |url: &String| url.starts_with("https://");
    let is_plain = |url: &String| url.starts_with("http://");
    assert!(
        access
            .endpoints
            .iter()
            .all(|url| is_tls(url) || is_plain(url))
    );
    assert_eq!(access.tls.is_some(), access.endpoints.iter().any(is_tls));
    let has_identity = access
        .tls
        .as_ref()
        .is_some_and(|tls| tls.identity.is_some());
    assert!(!(has_identity && access.endpoints.iter().any(is_plain)));
    let prefix = &access.prefix;
    assert!(prefix.starts_with('/') && prefix.len() > 1, "{prefix:?}");
}

/// Carries a request out on an empty store, and takes back what it did.
fn carry_out(parsed: &Parsed) {
    let network = Network::below(
        parsed
            .datastore
            .etcd()
            .map_or(whereabouts_local::PREFIX, |access| &access.prefix),
    );
    let session = network.session();
    match &parsed.request {
        Request::Add(add) => carry_out_add(&network, parsed.version, add),
        Request::Del(del) => {
            assert_attachment(&del.attachment);
            del.queues.iter().for_each(assert_queue);
            let deleted = block_on(verbs::del(&session, &del.attachment, &del.queues));
            deleted.expect("DEL of the unknown succeeds");
        }
        Request::Check(check) => {
            assert_attachment(&check.attachment);
            let checked = block_on(verbs::check(&session, check));
            let known = |address| check.previous.contains(address);
            match (check.claim, checked) {
                (Expectation::Needed, Err(Error::NoClaim { .. })) => {}
                (Expectation::NotNeeded, Ok(())) => assert!(check.statics.iter().all(known)),
                (Expectation::NotNeeded, Err(Error::StaticNotInPrevious(missing))) => {
                    assert!(!known(&missing));
                }
                (_, checked) => panic!("{:?}: {checked:?}", check.claim),
            }
        }
        Request::Gc(gc) => {
            let collected = block_on(verbs::gc(&session, gc));
            assert_eq!(collected.expect("there is nothing").released, 0);
        }
        Request::Status(status) => {
            status.wants.iter().for_each(assert_want);
            block_on(verbs::status(&session, status)).expect("an empty range is not full");
        }
    }
    network.assert_consistent(0);
}

fn carry_out_add(network: &Network, version: CniVersion, add: &AddRequest) {
    let session = network.session();
    let held = match &add.ask {
        None => Vec::new(),
        Some(ask) => {
            assert_ask(ask);
            let added = || block_on(verbs::add(&session, ask)).expect("an empty range has it");
            let held = added();
            assert_eq!(added(), held, "the same answer when asked again");
            assert_held(&held);
            network.assert_consistent(1);
            held
        }
    };
    let previous: Vec<IpNet> = held.iter().map(Held::interface_address).collect();
    let json = answer::success(version, &held, &add.answer);
    assert_json(&json, version);
    let answer: Value = serde_json::from_str(&json).expect("checked before");
    let statics = add.answer.statics.iter().map(|one| one.address);
    let expected: BTreeSet<String> = previous
        .iter()
        .copied()
        .chain(statics)
        .map(|address| address.to_string())
        .collect();
    let ips = answer["ips"].as_array().into_iter().flatten();
    let texts = [&answer["ip4"]["ip"], &answer["ip6"]["ip"]]
        .into_iter()
        .chain(ips.map(|ip| &ip["address"]));
    let found: BTreeSet<String> = texts
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect();
    assert_eq!(found, expected, "each address is answered: {json}");

    let Some(ask) = &add.ask else { return };
    let check = CheckRequest {
        attachment: ask.attachment.clone(),
        previous,
        statics: Vec::new(),
        claim: Expectation::Needed,
    };
    block_on(verbs::check(&session, &check)).expect("it is as it was added");
    network.delete(&ask.attachment);
}

fn assert_ask(ask: &Ask) {
    assert_attachment(&ask.attachment);
    assert!((1..=limits::WANTS).contains(&ask.wants.len()));
    ask.wants.iter().for_each(assert_want);
    let exact = ask.wants.iter().filter_map(|want| match want.choice {
        Choice::Exactly(address) => Some(address),
        Choice::Lowest => None,
    });
    for address in exact {
        let gives = |want: &Want| match want.choice {
            Choice::Exactly(other) => other == address,
            Choice::Lowest => want.usable.iter().any(|one| one.contains(address)),
        };
        let count = ask.wants.iter().filter(|want| gives(want)).count();
        assert_eq!(count, 1, "{address} could be given twice: {:?}", ask.wants);
    }
    // A ticket does not say it: a holder takes nothing over for others.
    let ask = Ask {
        may_take_over: false,
        ..ask.clone()
    };
    let ticket = Ticket::Asks {
        sender: 7,
        demand: Demand::Take(ask.clone()),
        trace: None,
    };
    let id = TicketId {
        queue: ask.wants[0].range.clone(),
        attachment: ask.attachment.clone(),
        verb: QueuedVerb::Add,
    };
    let written = record::encode_ticket(&ask.attachment, &ticket);
    let read = record::decode_ticket(&id.seats()[0], &written);
    assert_eq!(read, Ok((id, ticket)));
}

fn assert_want(want: &Want) {
    assert_queue(&want.range);
    match want.choice {
        Choice::Exactly(address) => assert_eq!(refusal(want.range.cidr, address), None),
        Choice::Lowest => assert!(!want.usable.is_empty()),
    }
    assert_usable(&want.range, &want.usable);
}

fn assert_usable(range: &RangeId, usable: &[Interval]) {
    for interval in usable {
        assert_inside(range, interval.first());
        assert_inside(range, interval.last());
    }
    let mut pairs = usable.windows(2);
    assert!(pairs.all(|pair| pair[0].last() < pair[1].first()));
}

fn assert_held(held: &[Held]) {
    assert!((1..=limits::WANTS).contains(&held.len()));
    let mut places = BTreeSet::new();
    for one in held {
        assert_queue(&one.range);
        assert_inside(&one.range, one.address);
        let place = (&one.range.pool, one.address);
        assert!(places.insert(place), "{} is held twice", one.address);
    }
}

fn assert_inside(range: &RangeId, address: Address) {
    assert!(range.cidr.contains(&std::net::IpAddr::from(address)));
}

fn assert_queue(queue: &RangeId) {
    assert_eq!(
        queue.cidr,
        queue.cidr.trunc(),
        "a queue's CIDR is canonical"
    );
    assert!(queue.pool.only.is_none_or(|cidr| cidr == queue.cidr));
    assert!(queue.pool.name.as_ref().is_none_or(|name| !name.is_empty()));
}

fn assert_attachment(attachment: &Attachment) {
    assert!(!attachment.interface.is_empty());
    let key = Key::Claim(attachment.clone());
    assert_eq!(keys().decode(&keys().encode(&key)), Ok(key));
}

fn assert_corrupt<T: std::fmt::Debug>(result: &Result<T, Error>) {
    let corrupt = matches!(result, Err(Error::Failure(Failure::Corrupt(_))));
    assert!(corrupt, "{result:?}");
}

/// Whether the input itself says the secret, so that it may be shown.
fn says_secret(data: &[u8]) -> bool {
    let plain = String::from_utf8_lossy(data).contains(SECRET);
    let value = serde_json::from_slice::<Value>(data);
    plain || value.is_ok_and(|value| value.to_string().contains(SECRET))
}

/// The config with user and password, if it is one.
fn with_password(data: &[u8]) -> Option<Vec<u8>> {
    let mut config: Value = serde_json::from_slice(data).ok()?;
    let has_ipam = config.get("ipam").is_some();
    let ipam = if has_ipam {
        &mut config["ipam"]
    } else {
        &mut config
    };
    let keys = ipam.as_object_mut()?;
    keys.insert("etcd_username".to_owned(), "root".into());
    keys.insert("etcd_password".to_owned(), SECRET.into());
    Some(config.to_string().into_bytes())
}

/// Good variables for a verb.
fn variables(verb: &str) -> Vec<(&'static str, OsString)> {
    vec![
        ("CNI_COMMAND", verb.into()),
        ("CNI_CONTAINERID", "c1".into()),
        ("CNI_IFNAME", "eth0".into()),
        ("CNI_NETNS", "/run/netns/c1".into()),
        ("CNI_PATH", "/opt/cni/bin".into()),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=pod".into()),
    ]
}

/// A good config, whose range has one block.
const CONFIG: &[u8] = br#"{"cniVersion": "1.1.0", "name": "net", "prevResult": {},
    "ipam": {"range": "10.0.0.0/24", "etcd_host": "etcd", "node_name": "node-1",
    "etcd_username": "root", "etcd_password_file": "/etc/whereabouts/password"}}"#;

/// The request of an ADD of [`CONFIG`].
fn ask() -> Ask {
    let invocation = Invocation {
        variables: variables("ADD")
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        program: "whereabouts".to_owned(),
        stdin: Ok(CONFIG.to_vec()),
    };
    match parse(&invocation, &Files::default()) {
        Ok(Outcome::Verb(Parsed {
            request: Request::Add(AddRequest { ask: Some(ask), .. }),
            ..
        })) => ask,
        other => panic!("{other:?}"),
    }
}

fn status(ask: &Ask) -> StatusRequest {
    StatusRequest {
        wants: ask.wants.clone(),
        when_full: WhenFull::Error,
    }
}

fn address(text: &str) -> Address {
    let ip: std::net::Ipv4Addr = text.parse().expect("an address");
    Address::new(Family::V4, u32::from(ip).into()).expect("32 bits")
}

/// A machine of a few files.
#[derive(Default)]
struct Files {
    /// The flat file, if there is one.
    flat: Option<Vec<u8>>,
}

impl Files {
    fn with_secrets() -> Self {
        let keys = serde_json::json!({"etcd_host": "etcd", "etcd_username": "root",
            "etcd_password": SECRET, "log_level": "debug"});
        Self {
            flat: Some(keys.to_string().into_bytes()),
        }
    }
}

impl Machine for Files {
    fn read(&self, path: &Path) -> io::Result<File> {
        let bytes = match path.to_str() {
            Some(FLAT_FILE) => self.flat.clone(),
            Some("/etc/cni/net.d/whereabouts.d/nodename") => Some(b"node-1\n".to_vec()),
            Some("/etc/whereabouts/password") => Some(format!("{SECRET}\n").into_bytes()),
            Some("/etc/whereabouts/key.pem") => {
                Some(format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n").into_bytes())
            }
            Some("/etc/whereabouts/certificate.pem") => {
                Some(b"-----BEGIN CERTIFICATE-----\n".to_vec())
            }
            Some(_) | None => None,
        };
        let bytes = bytes.ok_or(io::ErrorKind::NotFound)?;
        Ok(File {
            bytes,
            mode: 0o644,
            is_ours: true,
        })
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn boot_id(&self) -> Option<String> {
        Some("01234567-89ab-cdef-0123-456789abcdef\n".to_owned())
    }

    fn host_name(&self) -> Option<String> {
        Some("host-1".to_owned())
    }
}

const PREFIX: &str = "/whereabouts/v1/";

fn keys() -> Keys {
    Keys::new(PREFIX)
}

/// A store in memory, and time that passes when somebody waits for it.
struct Network {
    store: MemoryStore,
    keys: Keys,
    clock: Waiting,
    chance: Chance,
}

impl Default for Network {
    fn default() -> Self {
        Self::below(PREFIX)
    }
}

impl Network {
    fn below(prefix: &str) -> Self {
        let store = MemoryStore::default();
        Self {
            clock: Waiting {
                store: store.clone(),
                start: Instant::now(),
                passed: Cell::default(),
            },
            store,
            keys: Keys::new(prefix),
            chance: Chance::new(1),
        }
    }

    /// With one value; that of a lock has a lease.
    fn with(key: &Key, value: &[u8]) -> Self {
        let network = Self::default();
        let lease = match key {
            Key::Open(_)
            | Key::Full(_)
            | Key::Claim(_)
            | Key::OnNode(..)
            | Key::Owner(_)
            | Key::Ticket(_)
            | Key::Cluster
            | Key::Network(_) => 0,
            Key::Lock(_) => {
                network
                    .store
                    .with(|state| state.grant(limits::LOCK_TTL_S))
                    .id
            }
        };
        network.put(key, value, lease);
        network
    }

    fn put(&self, key: &Key, value: &[u8], lease: LeaseId) {
        let put = Txn {
            writes: vec![Write::Put {
                key: self.keys.encode(key),
                value: value.to_vec(),
                lease,
            }],
            ..Txn::default()
        };
        let outcome = self.store.with(|state| state.commit(&put));
        outcome.expect("a put succeeds");
    }

    fn remove(&self, key: &Key) {
        let delete = Txn {
            writes: vec![Write::Delete(self.keys.encode(key))],
            ..Txn::default()
        };
        let outcome = self.store.with(|state| state.commit(&delete));
        outcome.expect("a deletion succeeds");
    }

    fn session(&self) -> Session<'_, MemoryStore, Waiting> {
        let deadline = Duration::from_millis(limits::ADD_DEADLINE_MS);
        Session::new(&self.store, &self.clock, &self.chance, &self.keys, deadline)
    }

    fn value(&self, key: &Key) -> Option<Vec<u8>> {
        let key = self.keys.encode(key);
        let entries = self.store.entries();
        let entry = entries.into_iter().find(|entry: &Entry| entry.key == key);
        entry.map(|entry| entry.value)
    }

    fn delete(&self, attachment: &Attachment) {
        let deleted = block_on(verbs::del(&self.session(), attachment, &[]));
        deleted.expect("a store in memory serves");
    }

    /// Deletes the attachment, with a config that has the range of this queue.
    fn delete_queued(&self, attachment: &Attachment, queue: &RangeId) {
        let queues = slice::from_ref(queue);
        let deleted = block_on(verbs::del(&self.session(), attachment, queues));
        deleted.expect("a store in memory serves");
    }

    fn audit(&self) -> Audit {
        audit(&self.keys, &self.store.entries())
    }

    /// Bits are claims, and there are so many.
    fn assert_consistent(&self, claims: usize) {
        let audit = self.audit();
        assert_eq!(audit.findings, []);
        assert_eq!(
            (audit.claims, audit.locks, audit.tickets),
            (claims, 0, 0),
            "claims, locks, tickets"
        );
        assert_eq!(audit.set_bits, audit.addresses);
    }
}

/// A clock on which no wait takes any time: what is waited for is now.
struct Waiting {
    store: MemoryStore,
    start: Instant,
    passed: Cell<Duration>,
}

impl Clock for Waiting {
    fn now(&self) -> Instant {
        self.start + self.passed.get()
    }

    fn since_epoch(&self) -> Duration {
        self.passed.get()
    }

    async fn sleep_until(&self, instant: Instant) {
        let by = instant.saturating_duration_since(self.now());
        self.passed.set(self.passed.get() + by);
        self.store.advance(by);
    }
}
