//! Values that anybody who may write to etcd can store, and every command on all of them: none crashes, none acts on a
//! terminal, and each event is one line.

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use whereabouts_core::address::{Bitmap, Interval, Name, Pool};
use whereabouts_core::allocator::Demand;
use whereabouts_core::claim::{Ask, Attachment, Choice, Claim, Held, Owner, RangeId, Want};
use whereabouts_core::escaped;
use whereabouts_core::network::{DefinitionName, StatedRange};
use whereabouts_store::Write;
use whereabouts_store::keys::{Key, Keys, QueuedVerb, Seat, Spot};
use whereabouts_store::record::{self, Lock, Ticket};

use super::tool_binary;
use crate::plugin::{Pod, Site, log_folder, put};
use crate::support::etcd::Cluster;

/// Texts that no config gives.
const TEXTS: [&str; 29] = [
    "",
    " ",
    "\u{1b}[2J\u{1b}[H",
    "\u{1b}]0;title\u{7}",
    "\u{7}",
    "\r",
    "\n",
    "a\nwhereaboutsctl: forged",
    "a\r\n2026-11-29T00:00:00Z ERROR forged",
    "\t",
    "\0",
    "\u{8}\u{8}\u{8}",
    "\u{b}\u{c}",
    "\u{7f}",
    "\u{9b}31m",
    "\u{85}",
    "\u{90}q\u{9c}",
    "\u{202e}gnp.exe",
    "\u{202a}\u{202b}\u{202c}\u{202d}",
    "\u{2066}\u{2067}\u{2068}\u{2069}",
    "\u{2028}",
    "\u{2029}- x: y",
    "\u{200e}\u{200f}\u{61c}",
    "\u{feff}",
    "\"},{\"",
    "</script><script>alert(1)</script>",
    "{}%s%n$(reboot)`id`'\\",
    "- a: [b, *c, !!d",
    "漢字🦀é",
];

/// A character, and how often it stands in a text.
const LONG: [(char, usize); 5] = [
    ('x', 65_535),
    ('x', 65_536),
    ('é', 70_000),
    ('\u{1b}', 20_000),
    ('x', 250_000),
];

/// When claims were made, in milliseconds since the Unix epoch.
const MOMENTS: [u64; 6] = [
    1,
    253_402_300_799_999,
    253_402_300_800_000,
    i64::MAX.unsigned_abs(),
    u64::MAX - 1,
    u64::MAX,
];

/// Ranges and addresses of them that no config gives, and those at the ends of what there is.
const PLACES: [(&str, &str); 14] = [
    ("10.0.0.0/24", "10.0.0.0"),
    ("10.0.0.0/24", "10.0.0.255"),
    ("10.0.0.4/30", "10.0.0.4"),
    ("10.0.0.4/30", "10.0.0.7"),
    ("10.0.0.9/32", "10.0.0.9"),
    ("0.0.0.0/0", "0.0.0.0"),
    ("0.0.0.0/0", "255.255.255.255"),
    ("0.0.0.0/0", "255.255.254.255"),
    ("fd00::/64", "fd00::"),
    ("fd00::/64", "fd00::ffff:ffff:ffff:ffff"),
    ("::/0", "::"),
    ("::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("::/0", "7fff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"),
    ("::1/128", "::1"),
];

/// Keys below the prefix, and values, of which most cannot be read.
const RAW: [(&[u8], &[u8]); 37] = [
    (b"claim/", b""),
    (b"claim/net", b"\x01"),
    (b"claim/net/c/eth0/more", b"\x01"),
    (b"claim/net/c/\x1b[2J", b"\x01"),
    (b"claim/net/c/a\nwhereaboutsctl: forged", b"\x01"),
    (b"claim/net/c/\xe2\x80\xae", b"\x01"),
    (b"claim/net/\xff\xfe/eth0", b"\x01"),
    (b"claim/net/empty/eth0", b""),
    (b"claim/net/newer/eth0", b"\x02\x00"),
    (b"claim/net/short/eth0", b"\x01"),
    (b"claim/net/none/eth0", b"\x01\x00\x00\x00\x00\x00\x00\x00"),
    (b"claim/net/many/eth0", b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    (b"claim/net/text/eth0", b"\x1b[2J\x07\r\n"),
    (b"open/@/4/0a000000", b"\x01"),
    (b"open/@/4/0a000100", b"\x01\x1b[2J"),
    (b"open/@/4/0a000200", b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    (b"open/@/4/ffffff00", b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    (b"full/@/4/ffffff00", b"\x01"),
    (b"full/@/6/ffffffffffffffffffffffffffffff00", b"\x01"),
    (b"full/@/6/00000000000000000000000000000000", b"\x01"),
    (b"full/@/4/0a000300", b"\x01\x1b"),
    (b"full/@/4/100000000", b"\x01"),
    (b"open/a%0Ab@/4/0a000000", b"\x07"),
    (b"open/\x1b@/4/0a000000", b"\x07"),
    (b"lock/@/10.0.0.0%2F24", b"\x1b[2J"),
    (b"lock/@/x", b"\x01"),
    (b"queue/@/10.0.0.0%2F24/001/ADD", b"\x1b"),
    (b"queue/@/10.0.0.0%2F24/fff/DEL", b""),
    (b"queue/@/\n", b"\x01"),
    (b"network/ns", b""),
    (b"network/ns/none", b"\x01\x00"),
    (b"network/ns/newer", b"\x02\x1b[2J"),
    (b"network/ns/\x1b[2J", b"\x01"),
    (b"network/ns/many", b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    (b"\x1b[2J\x1b[H", b"\x07"),
    (b"\n\n\nwhereaboutsctl: forged", b"\x07"),
    (b"\xe2\x80\xa8\xc2\x9b", b"\x07"),
];

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn held(pool: Pool, cidr: &str, address: IpAddr) -> Held {
    let cidr: ipnet::IpNet = cidr.parse().expect("a CIDR");
    Held {
        range: RangeId {
            pool,
            cidr: cidr.trunc(),
        },
        address: address.into(),
    }
}

/// The short texts and the long ones.
fn texts() -> Vec<String> {
    TEXTS
        .iter()
        .map(ToString::to_string)
        .chain(LONG.map(|(c, count)| c.to_string().repeat(count)))
        .collect()
}

/// All keys and values, below the prefix of `site`.
fn values(site: &Site) -> Vec<(Vec<u8>, Vec<u8>)> {
    let keys = site.keys();
    let mut values: Vec<(Vec<u8>, Vec<u8>)> = RAW
        .iter()
        .map(|(key, value)| (keys.with_prefix(key), value.to_vec()))
        .collect();
    values.extend(claims(&keys));
    values.extend(waiting(&keys));
    values.extend(networks(&keys));
    let mut bitmap = Bitmap::EMPTY;
    for bit in [0, 1, 2, 255] {
        bitmap.set(bit);
    }
    let marked = held(
        Pool::default(),
        "10.1.0.0/16",
        "10.1.0.1".parse().expect("an address"),
    );
    values.push((
        keys.encode(&Key::Open(marked.slot())),
        record::encode_block(&bitmap),
    ));
    values
}

/// Claims with each text in each place, and of odd times and addresses.
fn claims(keys: &Keys) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut values = Vec::new();
    let mut claims = 0_u32;
    let mut claim = |interface: &str, held: Held, owner: Owner, created_ms: u64| {
        claims += 1;
        let key = keys.encode(&Key::Claim(Attachment {
            network: name("net"),
            container: name(&format!("c{claims}")),
            interface: interface.to_owned(),
        }));
        let claim = Claim {
            held: vec![held],
            usable: Vec::new(),
            owner,
            created: Duration::from_millis(created_ms),
        };
        (key, record::encode_claim(&claim))
    };
    let mut addresses =
        (1_u32..).map(|number| IpAddr::from(((10 << 24) + (1 << 16) + number).to_be_bytes()));
    let mut next = || addresses.next().expect("there are many");
    for text in &texts() {
        let shared = |address| held(Pool::default(), "10.1.0.0/16", address);
        let some = || Some(text.clone());
        let owners = [
            Owner {
                node: some(),
                ..Owner::default()
            },
            Owner {
                pod_namespace: some(),
                pod_name: some(),
                ..Owner::default()
            },
            Owner {
                pod_name: some(),
                ..Owner::default()
            },
            Owner {
                pod_uid: some(),
                ..Owner::default()
            },
            Owner {
                netns: some(),
                node: Some("node-1".to_owned()),
                ..Owner::default()
            },
        ];
        for owner in owners {
            values.push(claim("eth0", shared(next()), owner, 1_700_000_000_000));
        }
        let pool = Pool {
            name: some(),
            only: None,
        };
        values.push(claim(
            "eth0",
            held(pool, "10.1.0.0/16", next()),
            Owner::default(),
            0,
        ));
        values.push(claim(text, shared(next()), Owner::default(), 0));
    }
    for created_ms in MOMENTS {
        let place = held(Pool::default(), "10.1.0.0/16", next());
        values.push(claim("eth0", place, Owner::default(), created_ms));
    }
    for (cidr, address) in PLACES {
        let address: IpAddr = address.parse().expect("an address");
        let own = Pool {
            name: None,
            only: Some(cidr.parse::<ipnet::IpNet>().expect("a CIDR").trunc()),
        };
        for pool in [Pool::default(), own] {
            values.push(claim(
                "eth0",
                held(pool, cidr, address),
                Owner::default(),
                1,
            ));
        }
    }
    values
}

/// Locks and tickets with each text.
fn waiting(keys: &Keys) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut values = Vec::new();
    for (number, text) in (1..).zip(&texts()) {
        let whose = Attachment {
            network: name("net"),
            container: name(&format!("waits{number}")),
            interface: text.clone(),
        };
        let queue = held(
            Pool {
                name: Some(format!("q{text}")),
                only: None,
            },
            "10.2.0.0/24",
            "10.2.0.1".parse().expect("an address"),
        )
        .range;
        let address: IpAddr = "10.2.0.0".parse().expect("an address");
        let ask = Ask {
            attachment: whose.clone(),
            wants: vec![Want {
                range: queue.clone(),
                usable: Vec::new(),
                choice: Choice::Exactly(address.into()),
            }],
            owner: Owner {
                node: Some(text.clone()),
                ..Owner::default()
            },
            may_take_over: false,
        };
        let ticket = Ticket::Asks {
            sender: 1,
            demand: Demand::Take(ask),
            trace: None,
        };
        let seat = Seat {
            queue: queue.clone(),
            spot: Spot::Shared(number),
            verb: QueuedVerb::Add,
        };
        values.push((
            keys.encode(&Key::Ticket(seat)),
            record::encode_ticket(&whose, &ticket),
        ));
        let lock = Lock {
            sender: 1,
            attachment: whose,
            verb: QueuedVerb::Del,
        };
        values.push((keys.encode(&Key::Lock(queue)), record::encode_lock(&lock)));
    }
    values
}

/// Statements of networks with each text, and of ranges at the ends of what there is.
fn networks(keys: &Keys) -> Vec<(Vec<u8>, Vec<u8>)> {
    let named = texts().into_iter().map(|text| {
        let pool = Pool {
            name: Some(text.clone()),
            only: None,
        };
        (text, pool, "10.3.0.0/24")
    });
    let places = PLACES.iter().map(|(cidr, address)| {
        let name = format!("{cidr} {address}");
        (name, Pool::default(), *cidr)
    });
    let stated = named.chain(places).map(|(name, pool, cidr)| {
        let cidr: ipnet::IpNet = cidr.parse().expect("a CIDR");
        let cidr = cidr.trunc();
        let key = keys.encode(&Key::Network(DefinitionName {
            namespace: "ns".to_owned(),
            name,
        }));
        let stated = StatedRange {
            range: RangeId { pool, cidr },
            usable: vec![Interval::of(cidr)],
        };
        (key, record::encode_network(&[stated]))
    });
    stated.collect()
}

/// A cluster with all of it.
pub(crate) fn site() -> Site {
    let site = Site::of(Cluster::start(1));
    let values = values(&site);
    assert!(values.len() > 300, "{}", values.len());
    for (key, value) in values {
        put(
            &site,
            Write::Put {
                key,
                value,
                lease: 0,
            },
        );
    }
    site
}

/// The tool's answer: its status, stdout and stderr.
struct Said {
    call: String,
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// More than a pipe holds.
fn said(site: &Site, arguments: &[&str]) -> Said {
    let call = arguments.join(" ").escape_debug().to_string();
    let output = Command::new(tool_binary())
        .args(arguments)
        .args(["--etcd-host", &site.access().endpoints.join(",")])
        .args(["--etcd-prefix", &site.prefix])
        .stdin(Stdio::null())
        .output()
        .expect("the tool starts");
    let text = |bytes| String::from_utf8(bytes).expect("it says text");
    Said {
        call,
        status: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// That it did not crash, and that nothing of what it said acts on a terminal.
#[track_caller]
fn assert_tame(said: &Said) {
    let Said {
        call,
        status,
        stdout,
        stderr,
    } = said;
    assert!(
        matches!(status, Some(0..=2)),
        "{call}: {status:?} {stderr:.3000}"
    );
    for text in [stdout, stderr] {
        let hidden = text.chars().find(|c| *c != '\n' && escaped::is_hidden(*c));
        assert_eq!(hidden, None, "{call}: {text:.3000}");
        let forged = text.lines().find(|line| {
            line.starts_with("whereaboutsctl: forged") || line.starts_with("2026-11-29T00")
        });
        assert_eq!(forged, None, "{call}");
    }
}

#[test]
fn every_command_shows_whatever_is_stored_and_does_nothing_else() {
    let site = site();
    let before = site.entries();
    let json = said(&site, &["claims", "-o", "json"]);
    let claims: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let claims = claims.as_array().expect("a list");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let valid = folder.path().join("valid");
    let list = json!({"name": "net", "cni.dev/valid-attachments": []});
    std::fs::write(&valid, list.to_string()).expect("the folder can be written");
    let valid = valid.to_str().expect("a path is text");
    let commands: &[&[&str]] = &[
        &["ranges"],
        &["claims"],
        &["claims", "--network", "net"],
        &["claims", "--node", TEXTS[2]],
        &["claims", "--pod", TEXTS[7]],
        &["claims", "--interface", TEXTS[17]],
        &["queue"],
        &["check"],
        &["check", "--repair", "--dry-run"],
        &["map", "10.0.0.0/16"],
        &["map", "10.1.0.0/16"],
        &["map", "0.0.0.0/0"],
        &["map", "::/0"],
        &["map", "255.255.255.0/24"],
        &["map", "10.1.0.0/16", "--pool", TEXTS[3]],
        &["gc", "--valid", valid, "--node", "node-1", "--dry-run"],
        &["gc", "--valid", valid, "--node", TEXTS[8], "--dry-run"],
        &["show", "10.0.0.0"],
        &["show", "10.0.1.1"],
        &["show", "c1"],
        &["show", TEXTS[4]],
        &["show", "c"],
        &["release", "10.0.0.255", "--dry-run"],
        &["release", TEXTS[2], "--dry-run"],
        &["release", "c", "--dry-run"],
    ];
    for command in commands {
        for form in [&["-o", "table"][..], &["-o", "json"], &["-o", "yaml"]] {
            let said = said(&site, &[command, form].concat());
            assert_tame(&said);
            let Said { call, stdout, .. } = &said;
            match form[1] {
                "json" if !stdout.is_empty() => {
                    let read = serde_json::from_str::<Value>(stdout);
                    assert!(read.is_ok(), "{call}: {read:?}");
                }
                "yaml" if !stdout.is_empty() => {
                    let read = serde_saphyr::from_str::<Value>(stdout);
                    assert!(read.is_ok(), "{call}: {read:?}");
                }
                _ => {}
            }
        }
    }
    for claim in claims.iter().step_by(7) {
        let container = claim["container"].as_str().expect("a text");
        assert_tame(&said(&site, &["show", container]));
    }
    let unreadable = said(&site, &["check", "-o", "json"]);
    let audit: Value = serde_json::from_str(&unreadable.stdout).expect("JSON");
    let findings = audit["findings"].as_array().expect("a list").len();
    let lines = |arguments: &[&str]| said(&site, arguments).stdout.lines().count();
    assert_eq!(lines(&["claims"]), 1 + claims.len(), "a claim is a line");
    assert_eq!(lines(&["check"]), 8 + findings, "a finding is a line");
    assert_eq!(site.entries(), before, "nothing was to be changed");
}

#[test]
fn whatever_is_stored_is_backed_up_and_restored_and_can_be_released() {
    let site = site();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("backup");
    let file = file.to_str().expect("a path is text");
    let backup = said(&site, &["backup", file]);
    assert_tame(&backup);
    assert_eq!(backup.status, Some(0), "{}", backup.stderr);
    let other = Site::of(Cluster::start(1));
    let restored = said(&other, &["restore", file, "--yes"]);
    assert_tame(&restored);
    assert_eq!(restored.status, Some(0), "{}", restored.stderr);
    let rest = |site: &Site| -> Vec<(Vec<u8>, Vec<u8>)> {
        let is_kept = |key: &[u8]| {
            let key = site.keys().decode(key);
            !matches!(key, Ok(Key::Lock(_) | Key::Ticket(_) | Key::Network(_)))
        };
        let entries = site
            .entries()
            .into_iter()
            .filter(|entry| is_kept(&entry.key));
        entries
            .map(|entry| {
                (
                    site.keys()
                        .below_prefix(&entry.key)
                        .expect("below")
                        .to_vec(),
                    entry.value,
                )
            })
            .collect()
    };
    assert_eq!(rest(&other), rest(&site), "exactly");
    let claims = said(&site, &["claims", "-o", "json"]);
    let claims: Value = serde_json::from_str(&claims.stdout).expect("JSON");
    let mut released = 0;
    for claim in claims.as_array().expect("a list").iter().step_by(9) {
        let container = claim["container"].as_str().expect("a text");
        let address = claim["addresses"][0]["address"].as_str().expect("a text");
        let said = said(
            &site,
            &["release", address, "--container", container, "--yes"],
        );
        assert_tame(&said);
        released += usize::from(said.stdout.starts_with("released"));
    }
    assert!(released > 10, "{released} claims are released");
    assert_tame(&said(&site, &["check", "--repair", "--yes"]));
}

/// A node runs on an etcd in which others have left such values.
#[test]
fn the_plugin_answers_whatever_is_stored() {
    let site = site();
    let folder = log_folder();
    let log = folder.path().join("log");
    for range in [
        "10.0.0.0/24",
        "10.0.1.0/24",
        "10.1.0.0/16",
        "10.2.0.0/24",
        "fd00::/64",
    ] {
        let network = site
            .network(range)
            .ipam(json!({"log_file": log, "log_level": "debug"}));
        let pod = Pod::new("victim");
        let requested = Pod::new("asking").argument("IP=10.0.0.9");
        let said = [
            network.call("ADD", &pod).run(),
            network.call("ADD", &requested).run(),
            network.call("ADD", &Pod::new("c1")).run(),
            network.call("DEL", &pod).run(),
            network.call("DEL", &Pod::new("c2")).run(),
            network.call("DEL", &Pod::new("newer")).run(),
            network.gc(Some(&[])),
            network.status(),
        ];
        for answer in said {
            assert!(matches!(answer.exit_code, Some(0 | 1)), "{answer:?}");
            assert_eq!(answer.stderr, "");
            assert_eq!(escaped::lines(&answer.stdout), answer.stdout);
            assert!(answer.stdout.lines().count() <= 1, "{answer:?}");
            assert!(
                !answer.stdout.contains("\"code\":100,"),
                "a panic: {answer:?}"
            );
        }
    }
    let log = std::fs::read_to_string(log).unwrap_or_default();
    assert_eq!(escaped::lines(&log), log);
    for line in log.lines() {
        assert!(
            line.starts_with("20"),
            "an event begins with its time: {line:.300}"
        );
    }
}
