//! Judgements as tables: the question and what is known, and what is said.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Parser;
use serde_json::{Value, json};
use whereabouts_cni::invocation::{Invocation, LocalMachine};
use whereabouts_cni::request;
use whereabouts_core::address::{Name, Pool};
use whereabouts_core::claim::{Attachment, Claim, Held, Owner, RangeId};

use super::judge::judge;
use super::pods;
use super::review::{Judgement, NETWORKS, PODS, Request};
use super::stranded::{Question, Stranded};
use super::surroundings::{ClusterRange, Surroundings, definition, ranges_at};
use crate::configs;
use crate::connection::DatastoreOptions;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    etcd: DatastoreOptions,
}

/// A datastore that cannot be reached: the folder of its file does not exist.
pub(super) fn no_datastore() -> DatastoreOptions {
    Options::parse_from(["x", "--local-path", "/nonexistent/whereabouts/claims.db"]).etcd
}

/// A network of macvlan with this `ipam`, which names etcd so that no flat file is needed.
pub(super) fn config(ipam: &Value) -> Value {
    let mut all = json!({"type": "whereabouts", "etcd_host": "10.0.0.1:2379"});
    let keys = ipam.as_object().expect("an object").clone();
    all.as_object_mut().expect("an object").extend(keys);
    json!({"cniVersion": "1.0.0", "name": "net", "type": "macvlan", "master": "eth1", "ipam": all})
}

pub(super) fn object(name: &str, config: &Value) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"namespace": "default", "name": name}, "spec": {"config": config.to_string()},
    })
}

pub(super) fn request(operation: &str, new: &Value, old: &Value) -> Request {
    let some = if new.is_null() { old } else { new };
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": operation, "namespace": "default", "name": some["metadata"]["name"],
        "resource": {"group": "k8s.cni.cncf.io", "version": "v1", "resource": "network-attachment-definitions"},
        "object": new, "oldObject": old,
    }});
    Request::read(review.to_string().as_bytes(), NETWORKS).expect("a review")
}

/// A cluster with these other networks, whose list is complete.
pub(super) fn surroundings(others: &[Value]) -> Surroundings {
    let known = Surroundings::default();
    let named = others.iter().filter_map(|object| {
        let name = object["metadata"]["name"].as_str().expect("a name");
        Some((format!("default/{name}"), definition(object.clone())?))
    });
    known.definitions.fill(named);
    known
}

fn created(new: &Value, surroundings: &Surroundings) -> Judgement {
    let judged = judge(&request("CREATE", new, &Value::Null), surroundings);
    assert_eq!(judged.questions, []);
    judged.judgement
}

/// The answer of ADD to a configuration that it refuses.
fn words_of_add(config: &Value) -> String {
    let variables = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c"),
        ("CNI_NETNS", "/run/netns/n"),
        ("CNI_IFNAME", "net1"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), OsString::from(value)));
    let invocation = Invocation {
        variables: BTreeMap::from(variables),
        program: String::new(),
        stdin: Ok(config.to_string().into_bytes()),
    };
    let refused = request::parse(&invocation, &LocalMachine);
    match refused {
        Ok(_) => panic!("ADD accepts {config}"),
        Err(rejected) => rejected.error.details(),
    }
}

#[test]
fn a_good_network_passes_without_a_word() {
    for ipam in [
        json!({"range": "10.0.0.0/24"}),
        json!({"range": "10.0.0.0/24", "gateway": "10.0.0.1", "exclude": ["10.0.0.8/29"]}),
        json!({"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "fd00::/64"}]}),
        json!({"type": "whereaboots", "range": "10.0.0.0/24"}),
    ] {
        let said = created(&object("net", &config(&ipam)), &surroundings(&[]));
        assert_eq!(said, Judgement::default(), "{ipam}");
    }
}

#[test]
fn each_network_that_add_refuses_is_denied_in_the_words_of_add() {
    for ipam in [
        json!({}),
        json!({"range": "10.0.0.0/33"}),
        json!({"range": "10.0.0.0"}),
        json!({"range": 7}),
        json!({"range": "10.0.0.0/32"}),
        json!({"range": "10.0.0.0/24", "range_start": "10.0.1.5"}),
        json!({"range": "10.0.0.0/24", "range_start": "10.0.0.9", "range_end": "10.0.0.8"}),
        json!({"range": "10.0.0.0/24", "rangeStart": "10.0.0.5"}),
        json!({"range": "10.0.0.0/24", "exclude": "10.0.0.0/28"}),
        json!({"range": "10.0.0.0/24", "exclude": ["10.0.0.0/40"]}),
        json!({"range": "10.0.0.0/30", "exclude": ["10.0.0.0/30"]}),
        json!({"range": "10.0.0.0/24", "gateway": "x"}),
        json!({"range": "10.0.0.0/24", "rnage": "x"}),
        json!({"range": "10.0.0.0/24", "routes": [{"dst": "x"}]}),
        json!({"range": "10.0.0.0/24", "addresses": [{"address": "x"}]}),
        json!({"range": "10.0.0.0/24", "network_name": [7]}),
        json!({"range": "10.0.0.0/24", "timeout": 0}),
        json!({"range": "10.0.0.0/24", "log_level": "loud"}),
        json!({"range": "10.0.0.0/24", "etcd_host": "http//x"}),
        json!({"range": "10.0.0.0/24", "datastore": "mysql"}),
        json!({"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "x"}]}),
        json!({"ipRanges": {"range": "10.0.0.0/24"}}),
    ] {
        let config = config(&ipam);
        let said = created(&object("net", &config), &surroundings(&[]));
        let words = words_of_add(&config);
        assert!(
            said.refusals.iter().any(|refusal| refusal.contains(&words)),
            "{ipam}: {words:?} is not in {said:?}"
        );
    }
    let mut unsupported = config(&json!({"range": "10.0.0.0/24"}));
    unsupported["cniVersion"] = json!("9.9.9");
    let said = created(&object("net", &unsupported), &surroundings(&[]));
    let words = words_of_add(&unsupported);
    assert_eq!(said.refusals, [format!("spec.config: {words}")]);
}

#[test]
fn all_refusals_of_a_network_are_told_at_once() {
    let ipam = json!({"range": "10.0.0.0/24", "timeout": 0, "log_level": "loud"});
    let said = created(&object("net", &config(&ipam)), &surroundings(&[]));
    assert_eq!(said.refusals.len(), 2, "{said:?}");
}

#[test]
fn everything_of_others_passes_without_a_word() {
    let host_local = json!({"type": "host-local", "ranges": [[{"subnet": "x"}]]});
    let others = surroundings(&[object("a", &config(&json!({"range": "10.0.0.0/24"})))]);
    let with =
        |ipam: Value| json!({"cniVersion": "1.0.0", "name": "n", "type": "macvlan", "ipam": ipam});
    for config in [
        with(host_local.clone()),
        with(json!({"type": "dhcp"})),
        with(json!({"type": "static", "whereabouts": "x"})),
        with(json!({"range": "x"})),
        json!({"cniVersion": "1.0.0", "name": "whereabouts", "type": "macvlan"}),
        json!({"cniVersion": "1.0.0", "name": "n", "plugins": [with(host_local.clone()), {"type": "tuning"}]}),
        json!({"cniVersion": "9.9.9", "type": "multus", "delegates": [with(host_local)]}),
        json!({}),
    ] {
        let said = created(&object("net", &config), &others);
        assert_eq!(said, Judgement::default(), "{config}");
    }
    let bare = |spec: Value| json!({"kind": "NetworkAttachmentDefinition", "metadata": {"namespace": "default", "name": "net"}, "spec": spec});
    for spec in [
        Value::Null,
        json!({}),
        json!({"config": ""}),
        json!({"config": "  \n"}),
        json!({"config": null}),
    ] {
        let said = created(&bare(spec.clone()), &others);
        assert_eq!(said, Judgement::default(), "{spec}");
    }
}

#[test]
fn lists_and_delegates_are_looked_into() {
    let (good, bad) = (
        config(&json!({"range": "10.0.0.0/24"})),
        config(&json!({"range": "10.0.0.0/33"})),
    );
    let list = |plugin: &Value| json!({"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "tuning"}, plugin]});
    let delegates = |delegate: &Value| json!({"cniVersion": "1.0.0", "name": "net", "type": "multus", "delegates": [delegate]});
    for (config, place) in [
        (list(&bad), "spec.config: plugins[1]: ipam.range"),
        (delegates(&bad), "spec.config: delegates[0]: ipam.range"),
        (
            delegates(&list(&bad)),
            "spec.config: delegates[0].plugins[1]: ipam.range",
        ),
    ] {
        let said = created(&object("net", &config), &surroundings(&[]));
        assert!(said.refusals[0].starts_with(place), "{said:?}");
    }
    for config in [list(&good), delegates(&good), delegates(&list(&good))] {
        let said = created(&object("net", &config), &surroundings(&[]));
        assert_eq!(said, Judgement::default(), "{config}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_nobodys_and_only_warned_of() {
    let mut broken = object("net", &json!({}));
    broken["spec"]["config"] = json!(r#"{"ipam": {"type": "whereabouts""#);
    let said = created(&broken, &surroundings(&[]));
    assert!(said.is_allowed());
    assert!(
        said.warnings[0].starts_with("spec.config is not JSON: "),
        "{said:?}"
    );
}

/// A network with `ipam` beside `others` is allowed, and each warning has its part.
fn check_warnings(ipam: &Value, others: &[Value], expected: &[&str]) {
    let mut known = surroundings(others);
    let services = json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16"]}});
    let node = json!({"metadata": {"name": "node-a"}, "spec": {"podCIDRs": ["10.244.1.0/24", "fd00:244::/64"]}});
    let of_services = ranges_at(&services, "/spec/cidrs", "the Service range of ServiceCIDR");
    let of_node = ranges_at(&node, "/spec/podCIDRs", "the Pod range of node");
    known
        .services
        .fill([("kubernetes".to_owned(), of_services.expect("a range"))]);
    known
        .pods
        .fill([("node-a".to_owned(), of_node.expect("ranges"))]);
    known.stated = vec![ClusterRange {
        cidr: "10.128.0.0/14".parse().expect("a range"),
        what: "a Pod range of --pod-cidr".to_owned(),
    }];
    let said = created(&object("net", &config(ipam)), &known);
    assert!(said.is_allowed(), "{said:?}");
    assert_eq!(said.warnings.len(), expected.len(), "{said:?}");
    for (found, part) in said.warnings.iter().zip(expected) {
        assert!(found.contains(part), "{part:?} is not in {found:?}");
    }
}

#[test]
fn each_doubt_is_a_warning() {
    let other = |ipam: Value| object("other", &config(&ipam));
    let range = json!({"range": "10.0.0.0/24"});
    check_warnings(
        &range,
        &[other(json!({"range": "10.9.0.0/24"}))],
        &["network net has other ranges in"],
    );
    let renamed = |ipam: Value| {
        let mut config = config(&ipam);
        config["name"] = json!("other");
        object("other", &config)
    };
    for (ipam, other, expected) in [
        (&range, json!({"range": "10.9.0.0/24"}), &[][..]),
        (&range, range.clone(), &[]),
        (
            &range,
            json!({"range": "10.0.0.0/16"}),
            &[
                "range 10.0.0.0/24 of pool (shared) and range 10.0.0.0/16 of pool (shared) (NetworkAttachmentDefinition default/other) share addresses",
            ],
        ),
        (
            &range,
            json!({"range": "10.0.0.0/16", "network_name": "own"}),
            &["overlap in different pools: an address can be given twice"],
        ),
        (
            &range,
            json!({"range": "10.0.0.0/24", "gateway": "10.0.0.7"}),
            &[
                "range 10.0.0.0/24 gives 10.0.0.7, the gateway of NetworkAttachmentDefinition default/other",
            ],
        ),
    ] {
        check_warnings(ipam, &[renamed(other)], expected);
    }
    for (ipam, expected) in [
        (
            json!({"range": "10.96.3.0/24"}),
            &[
                "range 10.96.3.0/24 of pool (shared) overlaps 10.96.0.0/16, the Service range of ServiceCIDR kubernetes",
            ][..],
        ),
        (
            json!({"range": "10.244.0.0/16"}),
            &["overlaps 10.244.1.0/24, the Pod range of node node-a"],
        ),
        (
            json!({"range": "fd00:244::/80"}),
            &["overlaps fd00:244::/64, the Pod range of node node-a"],
        ),
        (
            json!({"range": "10.130.0.0/24"}),
            &["overlaps 10.128.0.0/14, a Pod range of --pod-cidr"],
        ),
        // The words of lint on the config by itself.
        (
            json!({"range": "10.0.0.0/24", "exclude": ["10.9.0.0/24"]}),
            &["spec.config: ipam.exclude[0]: \"10.9.0.0/24\" is outside"],
        ),
        (
            json!({"range": "10.0.0.0/24", "routes": [{"dst": "0.0.0.0/0", "gw": "10.7.0.1"}]}),
            &[
                "spec.config: ipam.routes[0] (0.0.0.0/0): gw 10.7.0.1 is in the subnet of no address",
            ],
        ),
        (json!({"range": "10.0.0.0/24", "colour": "x"}), &["colour"]),
    ] {
        check_warnings(&ipam, &[], expected);
    }
}

#[test]
fn many_overlaps_are_counted_and_a_missing_list_is_told() {
    let mut known = surroundings(&[]);
    known.stated = (0..100)
        .map(|third| ClusterRange {
            cidr: format!("10.244.{third}.0/24").parse().expect("a range"),
            what: "the Pod range of a node".to_owned(),
        })
        .collect();
    let wide = object("net", &config(&json!({"range": "10.244.0.0/16"})));
    let said = created(&wide, &known);
    assert_eq!(said.warnings.len(), 9);
    assert_eq!(said.warnings[8], "and 92 more of that kind");
    let said = created(
        &object("net", &config(&json!({"range": "10.0.0.0/24"}))),
        &Surroundings::default(),
    );
    assert_eq!(
        said.warnings,
        ["the other networks are not known yet, so an overlap with them is not told"]
    );
}

#[test]
fn a_network_is_not_compared_with_its_former_self() {
    let before = object("net", &config(&json!({"range": "10.0.0.0/16"})));
    let after = object("net", &config(&json!({"range": "10.0.0.0/24"})));
    let judged = judge(
        &request("UPDATE", &after, &before),
        &surroundings(std::slice::from_ref(&before)),
    );
    assert_eq!(judged.judgement, Judgement::default());
    assert_eq!(judged.questions.len(), 1);
}

#[test]
fn an_update_that_leaves_the_configuration_passes_without_a_word() {
    let bad = object("net", &config(&json!({"range": "x"})));
    let mut without_finalizers = bad.clone();
    without_finalizers["metadata"]["finalizers"] = json!([]);
    let judged = judge(
        &request("UPDATE", &without_finalizers, &bad),
        &surroundings(&[]),
    );
    assert_eq!(judged.judgement, Judgement::default());
    assert_eq!(judged.questions, []);
}

/// The questions of a change of network `net`, beside `others`.
fn questions(operation: &str, new: &Value, old: &Value, others: &[Value]) -> Vec<Question> {
    judge(&request(operation, new, old), &surroundings(others)).questions
}

fn net(ipam: &Value) -> Value {
    object("net", &config(ipam))
}

#[test]
fn only_a_change_that_leaves_addresses_out_asks_the_datastore() {
    let (range, small) = (
        json!({"range": "10.0.0.0/24"}),
        json!({"range": "10.0.0.0/24", "range_end": "10.0.0.99"}),
    );
    let both = json!({"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "fd00::/64"}]});
    let host_local = object(
        "net",
        &json!({"name": "net", "type": "macvlan", "ipam": {"type": "host-local"}}),
    );
    let same = [object("same", &config(&range))];
    for (operation, new, old, others, expected) in [
        ("UPDATE", net(&range), net(&range), &[][..], 0),
        ("UPDATE", net(&both), net(&range), &[], 0),
        ("UPDATE", net(&range), net(&both), &[], 1),
        ("UPDATE", net(&small), net(&range), &[], 1),
        ("UPDATE", host_local.clone(), net(&range), &[], 1),
        ("UPDATE", net(&range), host_local.clone(), &[], 0),
        ("DELETE", Value::Null, net(&range), &[], 1),
        ("DELETE", Value::Null, host_local, &[], 0),
        // Another object gives the same addresses to the network of this name.
        ("DELETE", Value::Null, net(&range), &same, 0),
        ("UPDATE", net(&small), net(&range), &same, 0),
        // It is denied, so nothing changes.
        ("UPDATE", net(&json!({"range": "x"})), net(&range), &[], 0),
        // The stored object was no config, and has given nothing.
        ("UPDATE", net(&range), net(&json!({"range": "x"})), &[], 0),
    ] {
        let found = questions(operation, &new, &old, others);
        assert_eq!(found.len(), expected, "{operation} {new} {old}");
    }
}

fn claim(cidr: &str, address: &str) -> Claim {
    let range = RangeId {
        pool: Pool::default(),
        cidr: cidr.parse().expect("a range"),
    };
    let address: std::net::IpAddr = address.parse().expect("an address");
    let owner = Owner {
        pod_namespace: Some("default".to_owned()),
        pod_name: Some("web-0".to_owned()),
        ..Owner::default()
    };
    Claim {
        held: vec![Held {
            range,
            address: address.into(),
        }],
        usable: Vec::new(),
        owner,
        created: std::time::Duration::ZERO,
    }
}

#[test]
fn claims_outside_of_the_new_ranges_are_counted() {
    let attachment = Attachment {
        network: Name::new("net").expect("a name"),
        container: Name::new("c").expect("a name"),
        interface: "net1".to_owned(),
    };
    let range = json!({"range": "10.0.0.0/24"});
    for (new, held, expected) in [
        (
            json!({"range": "10.0.0.0/24", "range_end": "10.0.0.99"}),
            "10.0.0.99",
            0,
        ),
        (
            json!({"range": "10.0.0.0/24", "range_end": "10.0.0.99"}),
            "10.0.0.100",
            1,
        ),
        (
            json!({"range": "10.0.0.0/24", "exclude": ["10.0.0.8/29"]}),
            "10.0.0.9",
            1,
        ),
        (json!({"range": "10.0.0.0/16"}), "10.0.0.9", 0),
        (
            json!({"range": "10.0.0.0/24", "network_name": "own"}),
            "10.0.0.9",
            1,
        ),
        (json!({"range": "fd00::/64"}), "10.0.0.9", 1),
    ] {
        let questions = questions("UPDATE", &net(&new), &net(&range), &[]);
        let question = questions.first().expect("addresses are left out");
        let mut stranded = Stranded::default();
        stranded.take(question, &attachment, &claim("10.0.0.0/24", held));
        // Of another range: it was no address of this network's object.
        stranded.take(question, &attachment, &claim("10.0.0.0/23", "10.0.1.9"));
        assert_eq!(stranded.count, expected, "{new} {held}");
        if expected == 0 {
            assert_eq!(stranded.told(question), None);
            continue;
        }
        let told = stranded.told(question).expect("one is stranded");
        assert_eq!(
            told,
            format!(
                "1 claim of network net would be outside of its ranges, such as {held} of pod default/web-0; their pods keep the addresses until they end"
            )
        );
        stranded.take(question, &attachment, &claim("10.0.0.0/24", held));
        stranded.incomplete = Some("late".to_owned());
        let told = stranded.told(question).expect("two are stranded");
        assert!(
            told.starts_with("at least 2 claims of network net"),
            "{told}"
        );
        let told = Stranded::unknown("no answer".to_owned()).told(question);
        let told = told.expect("it is told");
        assert!(told.ends_with("is not known: no answer"), "{told}");
    }
}

#[test]
fn a_pod_wants_what_its_known_networks_give() {
    let known = surroundings(&[net(
        &json!({"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "fd00::/64"}]}),
    )]);
    let wanted = |annotation: &str| {
        let pod = json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/networks": annotation}}});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "operation": "CREATE", "namespace": "default",
            "resource": {"group": "", "version": "v1", "resource": "pods"}, "object": pod,
        }});
        let request = Request::read(review.to_string().as_bytes(), PODS).expect("a review");
        let wanted = pods::wanted(&request, &known).into_iter();
        wanted
            .map(|wanted| (wanted.network, wanted.wants.len()))
            .collect::<Vec<_>>()
    };
    let both = [("default/net".to_owned(), 2)];
    assert_eq!(wanted("net,net@net2,unknown,other/net"), both);
    assert_eq!(wanted("other/net"), []);
    assert_eq!(wanted(""), []);
}

/// A cluster's memory is not for the author of one network to fill.
#[test]
fn an_object_with_many_or_long_configurations_is_looked_at_in_part() {
    let found = |config: &Value| configs::of_object(&LocalMachine, object("net", config));
    let ours = json!({"type": "macvlan", "ipam": {"type": "whereabouts"}});
    for key in ["plugins", "delegates"] {
        let many = json!({"cniVersion": "1.0.0", "name": "net", key: vec![ours.clone(); 500]});
        let found = found(&many);
        assert_eq!(found.len(), 33, "{key}");
        assert!(
            matches!(found[32].finding, configs::Finding::Unread(_)),
            "{key}"
        );
    }
    let long = json!({"name": "net", "padding": "x".repeat(70_000)});
    let [one] = &found(&long)[..] else {
        panic!("one finding");
    };
    assert!(matches!(&one.finding, configs::Finding::Unread(why) if why.contains("65536 bytes")));
}
