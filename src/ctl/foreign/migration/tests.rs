//! Plans of a pod with one address, and of what contradicts it.

mod any_part;
mod attacks;
mod cluster;

use serde_json::json;

use super::*;
use whereabouts_core::claim::Want;

/// The address that a request states.
fn stated(want: &Want) -> Address {
    let Choice::Exactly(address) = want.choice else {
        panic!("{want:?}")
    };
    address
}

/// A line for each part of a plan.
fn lines(plan: &Plan) -> Vec<String> {
    let takes = plan.takes.iter().map(|(ask, notes)| {
        let wants = ask.wants.iter();
        let wants: Vec<String> = wants
            .map(|want| format!("{} of {}", stated(want), want.range))
            .collect();
        let uid = ask.owner.pod_uid.as_deref().unwrap_or("?");
        let notes = [&[String::new()], notes.as_slice()].concat().join("; ");
        let (attachment, owner) = (&ask.attachment, &ask.owner);
        format!("{attachment}: {}, {owner} {uid}{notes}", wants.join(", "))
    });
    let refused = plan.refused.iter().map(|one| format!("refused {one}"));
    let left = plan.left.iter().map(|one| format!("left {one}"));
    takes.chain(refused).chain(left).collect()
}

/// One pod with one address, and everything that there is of it.
fn world() -> Value {
    json!({
        "pool": {
            "kind": "IPPool", "metadata": {"name": "10.0.0.0-24", "namespace": "kube-system"},
            "spec": {"range": "10.0.0.0/24", "allocations": {
                "5": {"id": "abc", "podref": "a/web", "ifname": "net1"},
            }},
        },
        "reservation": {
            "kind": "OverlappingRangeIPReservation", "metadata": {"name": "10.0.0.5"},
            "spec": {"podref": "a/web", "ifname": "net1"},
        },
        "network": definition("net", &json!({"range": "10.0.0.0/24"})),
        "pod": {
            "kind": "Pod", "metadata": {"name": "web", "namespace": "a", "uid": "u", "annotations": {
                "k8s.v1.cni.cncf.io/network-status":
                    r#"[{"name": "a/net", "interface": "net1", "ips": ["10.0.0.5"]}]"#,
            }},
            "spec": {"nodeName": "n"}, "status": {"phase": "Running"},
        },
    })
}

fn definition(name: &str, ipam: &Value) -> Value {
    let mut config = json!({"name": name, "type": "macvlan", "ipam": ipam});
    config["ipam"]["type"] = "whereabouts".into();
    json!({
        "kind": "NetworkAttachmentDefinition", "metadata": {"name": name, "namespace": "a"},
        "spec": {"config": config.to_string()},
    })
}

/// Where the pod's annotation is, as a JSON pointer.
const STATUS: &str = "/pod/metadata/annotations/k8s.v1.cni.cncf.io~1network-status";

/// The plan for the world with these changes: JSON pointers, and what is put there.
fn changed(changes: &[(&str, Value)], stale: Stale) -> Result<Plan, String> {
    let mut world = world();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let key = key.replace("~1", "/");
        world.pointer_mut(parent).expect(parent)[key.as_str()] = value.clone();
    }
    let documents = world.as_object().expect("an object").values().cloned();
    plan(documents.collect(), stale)
}

#[track_caller]
fn check(changes: &[(&str, Value)], expected: &[&str]) {
    let plan = changed(changes, Stale::Take).expect("all kinds are there");
    assert_eq!(lines(&plan), expected, "{changes:?}");
}

const CLAIM: &str = "net1 of container abc in network net: 10.0.0.5 of 10.0.0.0/24 of pool (shared), pod a/web on node n u";
const UNKNOWN_NODE: &str = "net1 of container abc in network net: 10.0.0.5 of 10.0.0.0/24 of pool (shared), pod a/web on node (unknown) ?";

#[test]
fn the_network_is_the_one_that_the_pod_tells_or_the_only_one() {
    let other = definition("other", &json!({"range": "10.0.0.0/24"}));
    let twin = definition("twin", &json!({"range": "10.0.0.0/24"}));
    check(&[], &[CLAIM]);
    check(&[("/other", other.clone())], &[CLAIM]);
    check(
        &[("/other", other.clone()), (STATUS, Value::Null)],
        &["refused 10.0.0.0-24 offset 5: it may be of a/net or a/other"],
    );
    let silent = format!("{UNKNOWN_NODE}; pod a/web does not tell its addresses");
    check(&[(STATUS, Value::Null)], &[&silent]);
    let of_other = r#"[{"name": "a/other", "interface": "net1", "ips": ["10.0.0.5"]}]"#;
    check(
        &[(STATUS, of_other.into())],
        &[
            "refused 10.0.0.0-24 offset 5: its pod tells that it is of a/other, which has no such range",
        ],
    );
    check(
        &[
            ("/other", other),
            ("/twin", twin),
            (STATUS, of_other.into()),
        ],
        &[&CLAIM.replace("network net", "network other")],
    );
}

#[test]
fn an_interface_that_the_ippool_does_not_name_is_the_one_that_the_pod_tells() {
    let nameless = json!({"id": "abc", "podref": "a/web"});
    check(&[("/pool/spec/allocations/5", nameless.clone())], &[CLAIM]);
    let unknown = UNKNOWN_NODE.replace("net1", "an unknown interface");
    let silent = format!("{unknown}; pod a/web does not tell its addresses");
    check(
        &[
            ("/pool/spec/allocations/5", nameless),
            (STATUS, Value::Null),
        ],
        &[&silent],
    );
}

#[test]
fn an_ippool_that_fits_no_network_or_two_pools_is_refused() {
    let narrow = definition("net", &json!({"range": "10.0.0.0/25"}));
    let reason = "refused 10.0.0.0-24 offset 5: no network has the range 10.0.0.0/24 and no network_name, as IPPool 10.0.0.0-24 has";
    check(&[("/network", narrow)], &[reason]);
    let named = definition(
        "net",
        &json!({"range": "10.0.0.0/24", "network_name": "team"}),
    );
    check(
        &[("/network", named)],
        &[
            "refused pod a/web: it has 10.0.0.5 on net1 of a/net, and no IPPool has that: delete the pod first",
            reason,
        ],
    );
    let own = definition(
        "own",
        &json!({"range": "10.0.0.0/24", "enable_overlapping_ranges": false}),
    );
    check(
        &[("/own", own)],
        &[
            "refused 10.0.0.0-24 offset 5: a/net and a/own share IPPool 10.0.0.0-24, but not enable_overlapping_ranges, and here not their addresses",
        ],
    );
    check(
        &[("/pool/metadata/name", "10.0.0.0-25".into())],
        &[
            "refused 10.0.0.0-25: its name does not end in 10.0.0.0-24, after its range",
            "refused pod a/web: it has 10.0.0.5 on net1 of a/net, and no IPPool has that: delete the pod first",
        ],
    );
}

#[test]
fn a_network_that_cannot_be_read_is_refused_with_what_may_be_of_it() {
    let fits_none = "refused 10.0.0.0-24 offset 5: no network has the range 10.0.0.0/24 and no network_name, as IPPool 10.0.0.0-24 has";
    check(
        &[("/network/spec/config", "{".into())],
        &[
            "refused a/net: its config is no JSON: EOF while parsing an object at line 1 column 1",
            fits_none,
        ],
    );
    let sliced = definition(
        "net",
        &json!({"range": "10.0.0.0/24", "node_slice_size": "/26"}),
    );
    check(
        &[("/network", sliced)],
        &[
            "refused a/net: it has node_slice_size, whose IPPools are parts of nodes: they cannot be taken over",
            fits_none,
        ],
    );
}

#[test]
fn a_stale_allocation_keeps_its_address_unless_it_is_to_stay_behind() {
    let elsewhere = r#"[{"name": "a/net", "interface": "net1", "ips": ["10.0.0.6"]}]"#;
    let moved = json!({"id": "def", "podref": "a/web", "ifname": "net1"});
    let cases = [
        (vec![("/pod/metadata/name", "web-2".into())], "is not there"),
        (vec![("/pod/status/phase", "Succeeded".into())], "has ended"),
        (
            vec![
                (STATUS, elsewhere.into()),
                ("/pool/spec/allocations/6", moved),
            ],
            "has no interface with 10.0.0.5",
        ),
        (
            vec![(STATUS, "[]".into())],
            "has no interface with 10.0.0.5",
        ),
    ];
    for (changes, reason) in cases {
        let taken = lines(&changed(&changes, Stale::Take).expect("all kinds are there"));
        let stale = format!("{UNKNOWN_NODE}; stale: pod a/web {reason}");
        assert_eq!(taken.first(), Some(&stale), "{taken:?}");
        let left = lines(&changed(&changes, Stale::Leave).expect("all kinds are there"));
        let stays = format!("left 10.0.0.0-24 offset 5: stale: pod a/web {reason}");
        assert!(left.contains(&stays), "{left:?}");
    }
}

#[test]
fn a_reservation_and_an_allocation_must_agree() {
    let missing = format!("{CLAIM}; 10.0.0.5 has no reservation");
    check(&[("/reservation", Value::Null)], &[&missing]);
    check(
        &[("/reservation/spec/podref", "a/other".into())],
        &[
            "refused 10.0.0.0-24 offset 5: reservation 10.0.0.5 is of a/other net1",
            "refused reservation 10.0.0.5: it has no allocation, and pod a/other is not there",
        ],
    );
    let alone = json!({"kind": "OverlappingRangeIPReservation", "metadata": {"name": "10.0.0.9"},
        "spec": {"podref": "a/gone", "ifname": "net1"}});
    check(
        &[("/alone", alone.clone())],
        &[
            CLAIM,
            "refused reservation 10.0.0.9: it has no allocation, and pod a/gone is not there",
        ],
    );
    let left = changed(&[("/alone", alone.clone())], Stale::Leave).expect("all kinds are there");
    assert_eq!(
        lines(&left),
        [
            CLAIM,
            "left reservation 10.0.0.9: it has no allocation, and pod a/gone is not there"
        ]
    );
    let mut living = alone.clone();
    living["spec"]["podref"] = "a/web".into();
    let denied =
        "reservation 10.0.0.9: it has no allocation, and pod a/web does not have that address";
    check(
        &[("/alone", living.clone())],
        &[CLAIM, &format!("refused {denied}")],
    );
    let left = changed(&[("/alone", living.clone())], Stale::Leave).expect("all kinds are there");
    assert_eq!(lines(&left), [CLAIM, &format!("left {denied}")]);
    let silent = changed(&[("/alone", living), (STATUS, Value::Null)], Stale::Leave);
    let silent = lines(&silent.expect("all kinds are there"));
    assert!(
        silent[1].ends_with("pod a/web may have that address"),
        "{silent:?}"
    );
    let own = definition(
        "net",
        &json!({"range": "10.0.0.0/24", "enable_overlapping_ranges": false}),
    );
    let claim = CLAIM.replace("(shared)", "(shared) of 10.0.0.0/24 alone");
    check(
        &[("/network", own), ("/reservation", Value::Null)],
        &[&claim],
    );
}

#[test]
fn an_address_that_a_pod_has_and_no_ippool_is_refused() {
    let status = r#"[{"name": "a/net", "interface": "net1", "ips": ["10.0.0.5"]},
        {"name": "a/net", "interface": "net2", "ips": ["10.0.0.7"]},
        {"name": "a/foreign", "interface": "net3", "ips": ["10.0.0.8"]}]"#;
    check(
        &[(STATUS, status.into())],
        &[
            CLAIM,
            "refused pod a/web: it has 10.0.0.7 on net2 of a/net, and no IPPool has that: delete the pod first",
        ],
    );
}

#[test]
fn an_address_that_two_hold_is_refused_for_both() {
    let part = definition("part", &json!({"range": "10.0.0.0/28"}));
    let pool = json!({
        "kind": "IPPool", "metadata": {"name": "10.0.0.0-28", "namespace": "kube-system"},
        "spec": {"range": "10.0.0.0/28", "allocations": {
            "5": {"id": "def", "podref": "a/web", "ifname": "net2"},
        }},
    });
    let twice = "10.0.0.5 is held twice, by net1 of container abc in network net and by net2 of container def in network part";
    check(
        &[
            ("/part", part),
            ("/second", pool),
            ("/pod/metadata/name", "x".into()),
            (STATUS, "[]".into()),
        ],
        &[
            &format!("refused net1 of container abc in network net: {twice}"),
            &format!("refused net2 of container def in network part: {twice}"),
        ],
    );
}

#[test]
fn what_is_wrong_with_one_allocation_is_told_of_it() {
    let cases = [
        (
            "/pool/spec/allocations/5/id",
            "a/b".into(),
            "offset 5: \"a/b\" has the character '/'",
        ),
        (
            "/pool/spec/allocations/5/ifname",
            "a:b".into(),
            "offset 5: the interface \"a:b\" has",
        ),
        (
            "/pool/spec/allocations/5/podref",
            "web".into(),
            "offset 5: \"web\" is no namespace",
        ),
        (
            "/pool/spec/range",
            "10.0.0/24".into(),
            "10.0.0.0-24: \"10.0.0/24\" is no range",
        ),
        (
            "/pool/spec/allocations/300",
            json!({"id": "x"}),
            "offset 300: 10.0.1.44 is outside",
        ),
        (
            STATUS,
            r#"[{"name": "a/net", "interface": "net7", "ips": ["10.0.0.5"]}]"#.into(),
            "offset 5: pod a/web has them on net7, not on net1",
        ),
    ];
    for (pointer, value, part) in cases {
        let plan = changed(&[(pointer, value)], Stale::Take).expect("all kinds are there");
        let first = plan.refused.first().map(ToString::to_string);
        assert!(
            first.as_ref().is_some_and(|text| text.contains(part)),
            "{part}: {first:?}"
        );
    }
}

#[test]
fn input_that_lacks_a_kind_is_an_error() {
    for (kind, part) in [
        ("/pool", "there is no IPPool"),
        ("/network", "there is no NetworkAttachmentDefinition"),
        ("/pod", "there is no Pod"),
    ] {
        let error = changed(&[(kind, Value::Null)], Stale::Take).expect_err(kind);
        assert!(error.contains(part), "{error}");
    }
}
