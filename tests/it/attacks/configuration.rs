//! The configuration as an attack: odd values for every key, characters that act on terminals in every place, and
//! paths that lead elsewhere.
//!
//! For all of it an execution ends with an answer, in time. A DEL deletes, and no address stays behind.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use whereabouts_core::escaped;

use crate::plugin::{Answer, Network, Pod, Site, log_folder};

const CIDR: &str = "10.0.0.0/24";

/// Far more than a right answer takes, and less than the deadline of ADD.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keys of `ipam` of which no value keeps a DEL from its work.
const KEYS: [&str; 30] = [
    "range",
    "range_start",
    "range_end",
    "exclude",
    "ipRanges",
    "gateway",
    "network_name",
    "enable_overlapping_ranges",
    "addresses",
    "routes",
    "dns",
    "timeout",
    "node_name",
    "cluster_id",
    "del_when_unreachable",
    "status_when_full",
    "sticky",
    "log_file",
    "log_level",
    "otlp_endpoint",
    "trace_socket",
    "trace_flush_ms",
    "metrics_socket",
    "datastore",
    "node_slice_size",
    "subnet",
    "ranges",
    "type",
    "network_config_may_set",
    "Range",
];

/// The like beside `ipam`.
const OUTER_KEYS: [&str; 6] = [
    "isGateway",
    "IsDefaultGateway",
    "runtimeConfig",
    "args",
    "prevResult",
    "cni.dev/attachments",
];

/// Each is wrong for most keys, and some are right for a few.
fn odd_values() -> Vec<Value> {
    vec![
        json!(""),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(true),
        json!([null, "", [], {}]),
        json!([{"range": "10.0.0.9-10.0.0.1/24", "address": "::/0", "dst": 1}]),
        json!({"a": {"ips": "x"}, "ips": [""], "cni": []}),
        json!("0.0.0.0/0"),
        json!("255.255.255.255/32"),
        json!("\u{0}\u{1b}[31m\n"),
        json!("a".repeat(70_000)),
    ]
}

/// The characters of `text` that would act on a terminal, but for the ends of its lines.
fn raw(text: &str) -> Vec<char> {
    let is_raw = |c: &char| *c != '\n' && escaped::is_hidden(*c);
    text.chars().filter(is_raw).collect()
}

/// The answer to a verb, which is a success without a word too much, or an error that is no bug.
#[track_caller]
fn answered(network: &Network, verb: &str, pod: &Pod) -> Answer {
    let call = network.call(verb, pod);
    let begun = Instant::now();
    let answer = call.run();
    assert!(begun.elapsed() < PATIENCE, "{verb} of {}", network.json());
    match answer.exit_code {
        Some(0) => {}
        Some(1) => assert_ne!(answer.json()["code"], 100, "{answer:?}"),
        _ => panic!("{verb} of {}: {answer:?}", network.json()),
    }
    assert_eq!(raw(&answer.stdout), [], "{answer:?}");
    assert_eq!(raw(&answer.stderr), [], "{answer:?}");
    answer
}

/// Each verb with `network`, whose DEL must delete what was added with it, or else with `good`.
#[track_caller]
fn check_verbs(site: &Site, good: &Network, network: &Network) {
    let pod = Pod::new("c");
    if answered(network, "ADD", &pod).exit_code != Some(0) {
        good.add(&pod).result();
    }
    let deleted = answered(network, "DEL", &pod);
    assert_eq!(
        deleted.exit_code,
        Some(0),
        "{}: {deleted:?}",
        network.json()
    );
    site.assert_at_rest(0);
}

#[test]
fn no_value_of_a_key_keeps_an_address_from_its_del() {
    // Each has a part of etcd for itself, which a right `cluster_id` makes its own.
    let _shared = Site::shared();
    for key in KEYS {
        for value in odd_values() {
            let site = Site::shared();
            let good = site.network(CIDR);
            check_verbs(&site, &good, &good.clone().ipam(json!({key: value})));
        }
    }
    for key in OUTER_KEYS {
        for value in odd_values() {
            let site = Site::shared();
            let good = site.network(CIDR);
            check_verbs(&site, &good, &good.clone().config(json!({key: value})));
        }
    }
}

#[test]
fn no_value_of_a_key_ends_check_gc_or_status_without_an_answer() {
    let site = Site::shared();
    let good = site.network(CIDR);
    for value in odd_values() {
        // All keys at once, and then each key that others may hide.
        let all = KEYS.iter().fold(json!({}), |mut all, key| {
            all[*key] = value.clone();
            all
        });
        let outer = OUTER_KEYS.iter().fold(json!({}), |mut all, key| {
            all[*key] = value.clone();
            all
        });
        let networks = [
            good.clone().ipam(all.clone()),
            good.clone().config(outer.clone()),
            good.clone().ipam(all).config(outer),
        ];
        for network in networks {
            for verb in ["CHECK", "GC", "STATUS"] {
                answered(&network, verb, &Pod::new("c"));
            }
        }
    }
    site.assert_at_rest(0);
}

/// Characters that act on a terminal, forge a line of a log, or turn text around.
const HOSTILE: &str =
    "a\u{1b}[2J\u{7}\r\n2026-11-29T00:00:00Z ERROR forged\u{9b}\u{202e}\u{2028}\u{7f}\t";

#[test]
fn characters_that_act_on_terminals_are_escaped_from_wherever_they_come() {
    let site = Site::shared();
    let folder = log_folder();
    let variables = [
        "CNI_COMMAND",
        "CNI_CONTAINERID",
        "CNI_NETNS",
        "CNI_IFNAME",
        "CNI_ARGS",
        "TRACEPARENT",
        "TRACESTATE",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_TRACES_SAMPLER",
        "OTEL_RESOURCE_ATTRIBUTES",
    ];
    let inner = [
        json!({HOSTILE: 1}),
        json!({format!("rang{HOSTILE}"): 1}),
        json!({"range": HOSTILE}),
        json!({"etcd_host": HOSTILE}),
        json!({"etcd_prefix": HOSTILE}),
        json!({"etcd_username": HOSTILE}),
        json!({"etcd_ca_cert_file": format!("/etc/whereabouts/{HOSTILE}")}),
        json!({"configuration_path": format!("/etc/whereabouts/{HOSTILE}")}),
        json!({"network_name": HOSTILE}),
        json!({"node_name": HOSTILE}),
        json!({"cluster_id": HOSTILE}),
        json!({"log_level": HOSTILE}),
        json!({"otlp_endpoint": HOSTILE}),
        json!({"datastore": HOSTILE}),
        json!({"dns": {"domain": HOSTILE, "search": [HOSTILE], HOSTILE: 1}}),
        json!({"routes": [{"dst": HOSTILE}]}),
        json!({"exclude": [HOSTILE]}),
        json!({"addresses": [{"address": HOSTILE}]}),
    ];
    let outer = [
        json!({"name": HOSTILE}),
        json!({"cniVersion": HOSTILE}),
        json!({"args": {"cni": {"ips": [HOSTILE]}}}),
        json!({"runtimeConfig": {"ipRanges": [[{"subnet": HOSTILE}]]}}),
        json!({"prevResult": {"ips": [{"address": HOSTILE}]}}),
        json!({"cni.dev/valid-attachments": [{"containerID": HOSTILE, "ifname": HOSTILE}]}),
    ];
    let log = folder.path().join("log");
    let good = site
        .network(CIDR)
        .ipam(json!({"log_file": log, "log_level": "trace", "timeout": 4}));
    let good = good.config(json!({"prevResult": {}}));
    let pod = Pod::new("c");
    let calls =
        |network: Network| ["ADD", "CHECK", "GC", "DEL"].map(|verb| network.call(verb, &pod));
    let by_variable = variables.iter().flat_map(|name| {
        let arguments =
            format!("K8S_POD_NAME={HOSTILE};K8S_POD_UID={HOSTILE};IP={HOSTILE};{HOSTILE}=1");
        let value = if *name == "CNI_ARGS" {
            arguments
        } else {
            HOSTILE.to_owned()
        };
        calls(good.clone()).map(|call| call.variable(name, value.clone()))
    });
    let by_key = inner.map(|keys| good.clone().ipam(keys)).into_iter();
    let by_key = by_key.chain(outer.map(|keys| good.clone().config(keys)));
    for call in by_variable.chain(by_key.flat_map(calls)) {
        let answer = call.run();
        assert!(matches!(answer.exit_code, Some(0 | 1)), "{answer:?}");
        let lines = answer.stdout.lines().count();
        assert!(lines <= 1, "an answer is a line: {answer:?}");
        let logged = fs::read_to_string(&log).unwrap_or_default();
        for text in [&answer.stdout, &answer.stderr, &logged] {
            assert_eq!(raw(text), [], "{text}");
            let mut lines = text.lines();
            assert!(
                !lines.any(|line| line.contains("Z ERROR forged") && !line.contains("\\n")),
                "{text}"
            );
        }
        let _ = fs::remove_file(&log);
    }
    // The claim that the ADDs with odd pod names have added.
    good.call("DEL", &pod).run().assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn no_log_file_of_a_network_configuration_leads_to_a_file_of_somebody_else() {
    const NOBODY: u32 = 65534;
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let victim = elsewhere.path().join("victim");
    fs::write(&victim, "").expect("the folder can be written");
    let ours = log_folder();
    let path = |name: &str| ours.path().join(name);
    symlink(&victim, path("link")).expect("a new name");
    symlink(elsewhere.path(), path("through")).expect("a new name");
    fs::hard_link(&victim, path("second")).expect("one file system");
    mkfifo(&path("fifo"), Mode::S_IRWXU).expect("a new name");
    for (folder, owner, mode) in [
        ("sticky", 0, 0o1777),
        ("theirs", NOBODY, 0o755),
        ("theirs-sticky", NOBODY, 0o1755),
    ] {
        fs::create_dir(path(folder)).expect("a new name");
        chown(path(folder), Some(owner), Some(owner)).expect("tests run as root");
        fs::set_permissions(path(folder), Permissions::from_mode(mode)).expect("it is ours");
    }
    let shown = ours.path().display().to_string();
    let up = format!("{shown}/../..{}", victim.display());
    let around = format!("/proc/self/root{shown}/log");
    let site = Site::shared();
    let good = site.network(CIDR);
    for log in [
        format!("{shown}/link"),
        format!("{shown}/through/victim"),
        format!("{shown}/through/new"),
        format!("{shown}/second"),
        format!("{shown}/fifo"),
        format!("{shown}/sticky/log"),
        format!("{shown}/theirs/log"),
        format!("{shown}/theirs-sticky/log"),
        format!("{shown}/absent/log"),
        format!("{shown}/"),
        format!("{shown}/{}", "a/".repeat(2_000)),
        format!("{shown}\n"),
        up,
        around,
        victim.display().to_string(),
        "/dev/stdout".to_owned(),
        "/dev/stderr".to_owned(),
        "/proc/self/fd/1".to_owned(),
        "/dev/null".to_owned(),
        "/var/log/whereabouts/../wtmp".to_owned(),
        "log".to_owned(),
    ] {
        let network = good
            .clone()
            .ipam(json!({"log_file": log, "log_level": "trace"}));
        check_verbs(&site, &good, &network);
    }
    let text = fs::read_to_string(&victim).expect("it is there");
    assert_eq!(text, "", "nothing is written");
    assert!(!elsewhere.path().join("new").exists(), "nothing is created");
    for folder in ["sticky", "theirs", "theirs-sticky"] {
        assert!(!path(folder).join("log").exists(), "{folder}");
    }
}

#[test]
fn no_key_makes_the_plugin_read_a_file_of_the_node_for_the_author_of_a_network_configuration() {
    let site = Site::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let link = folder.path().join("link");
    symlink("/etc/shadow", &link).expect("a new name");
    let endpoint = site
        .access()
        .endpoints
        .join(",")
        .replace("http://", "https://");
    for path in [
        link.to_str().expect("a path is text"),
        "/etc/shadow",
        "/etc/whereabouts/../shadow",
        "/tmp/../etc/shadow",
        "/dev/shm/../../etc/shadow",
        "/proc/self/root/etc/shadow",
        "/proc/self/environ",
        "/etc/xwhereabouts",
        "/etc/Whereabouts",
        "etc/shadow",
    ] {
        for keys in [
            json!({"etcd_username": "u", "etcd_password_file": path}),
            json!({"etcd_ca_cert_file": path}),
            json!({"etcd_cert_file": path, "etcd_key_file": path}),
            json!({"configuration_path": path}),
        ] {
            let network = site
                .network(CIDR)
                .ipam(json!({"etcd_host": endpoint}))
                .ipam(keys);
            let refused = answered(&network, "ADD", &Pod::new("c"));
            refused.assert_error(7, &[]);
            assert!(!refused.stdout.contains("root:"), "{refused:?}");
        }
    }
    site.assert_at_rest(0);
}
