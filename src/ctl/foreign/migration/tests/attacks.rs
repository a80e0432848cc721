//! Input that leads astray: an address that may be in use is claimed or refused, and never left behind.

use super::*;

/// A living pod that tells `address` on net1 of a/net.
fn living(name: &str, address: &str) -> Value {
    let status = json!([{"name": "a/net", "interface": "net1", "ips": [address]}]).to_string();
    json!({
        "kind": "Pod", "spec": {"nodeName": "n"}, "status": {"phase": "Running"},
        "metadata": {"name": name, "namespace": "a",
            "annotations": {"k8s.v1.cni.cncf.io/network-status": status}},
    })
}

/// `claimed`, `refused` and `left`: how many of each.
#[track_caller]
fn check_counts(changes: &[(&str, Value)], stale: Stale, expected: (usize, usize, usize)) {
    let plan = changed(changes, stale).expect("all kinds are there");
    let counts = (plan.takes.len(), plan.refused.len(), plan.left.len());
    assert_eq!(counts, expected, "{changes:?}: {:#?}", lines(&plan));
}

#[test]
fn an_address_that_may_be_in_use_is_never_left_behind() {
    const ALLOCATION: &str = "/pool/spec/allocations/5";
    let of = |podref: &str| json!({"id": "abc", "podref": podref, "ifname": "net1"});
    let gone = || (ALLOCATION, of("a/gone"));
    let unreserved = || ("/reservation/metadata/name", json!("10.0.9.9"));
    let status = |text: &str| (STATUS, json!(text));
    let other = || ("/pod/metadata/name", json!("other"));
    let cases = [
        // It is gone, and no other has its address.
        (vec![gone(), unreserved(), status("[]")], (0, 0, 2)),
        // Another pod lives on the address of one that is gone.
        (vec![gone(), unreserved()], (0, 1, 2)),
        (
            vec![gone(), unreserved(), ("/more", living("more", "10.0.0.5"))],
            (0, 2, 2),
        ),
        // No pod is named.
        (
            vec![
                (ALLOCATION, json!({"id": "abc"})),
                unreserved(),
                status("[]"),
            ],
            (1, 0, 1),
        ),
        // The input has pods of other namespaces alone.
        (vec![("/pod/metadata/namespace", json!("b"))], (0, 2, 0)),
        (
            vec![other(), ("/pod/metadata/namespace", json!("ab"))],
            (0, 2, 0),
        ),
        // A status that cannot be read tells nothing.
        (
            vec![status(
                r#"[{"name": "a/net", "interface": "net1", "ips": ["10.0.0.5/24"]}]"#,
            )],
            (1, 0, 0),
        ),
        (
            vec![status(
                r#"[{"name": "a/net", "interface": "net1", "ips": "10.0.0.9"}]"#,
            )],
            (1, 0, 0),
        ),
        (
            vec![status(
                r#"[{"name": "a/net", "interface": "net1", "ips": [null]}]"#,
            )],
            (1, 0, 0),
        ),
        (vec![status("[null]")], (1, 0, 0)),
        (vec![status("[5, []]")], (1, 0, 0)),
        (vec![status("{}")], (1, 0, 0)),
        (vec![status("[{\"ips\"")], (1, 0, 0)),
        (vec![(STATUS, json!([]))], (1, 0, 0)),
    ];
    for (changes, expected) in cases {
        check_counts(&changes, Stale::Leave, expected);
    }
}

#[test]
fn a_list_that_is_not_whole_is_told() {
    let lists = [
        (json!({"kind": "PodList", "items": {}}), 1),
        (json!({"kind": "List", "items": "x"}), 1),
        (
            json!({"kind": "IPPoolList", "items": [], "metadata": {"continue": "abc"}}),
            1,
        ),
        (
            json!({"kind": "IPPoolList", "items": [], "metadata": {"continue": ""}}),
            0,
        ),
        (json!({"kind": "List", "items": null, "metadata": null}), 0),
        (
            json!({"kind": "List", "items": [{"kind": "List", "items": 7}]}),
            1,
        ),
        (json!([{"kind": "IPPool"}]), 0),
        (json!({"kind": ["IPPool"]}), 0),
    ];
    for (list, refused) in lists {
        check_counts(&[("/list", list)], Stale::Take, (1, refused, 0));
    }
}

#[test]
fn an_ippool_of_another_product_is_none_of_ours() {
    for (version, refused) in [
        ("crd.projectcalico.org/v1", 0),
        ("projectcalico.org/v3", 0),
        ("whereabouts.cni.cncf.io/v1alpha1", 1),
    ] {
        let pool = json!({"kind": "IPPool", "apiVersion": version,
            "metadata": {"name": "default-ipv4-ippool"}, "spec": {"cidr": "10.9.0.0/16"}});
        check_counts(&[("/calico", pool)], Stale::Take, (1, refused, 0));
    }
}

#[test]
fn odd_offsets_are_one_address_outside_or_none() {
    let cases = [
        ("+5", (0, 1, 0)),
        ("05", (0, 1, 0)),
        ("-1", (1, 1, 0)),
        ("0", (1, 1, 0)),
        ("255", (1, 1, 0)),
        ("256", (1, 1, 0)),
        ("18446744073709551616", (1, 1, 0)),
        ("340282366920938463463374607431768211455", (1, 1, 0)),
        ("340282366920938463463374607431768211456", (1, 1, 0)),
        ("5 ", (1, 1, 0)),
        ("0x6", (1, 1, 0)),
        ("6.0", (1, 1, 0)),
        ("٦", (1, 1, 0)),
        ("", (1, 1, 0)),
    ];
    for (offset, expected) in cases {
        let pointer = format!("/pool/spec/allocations/{offset}");
        let one = json!({"id": "other", "podref": "a/else", "ifname": "net1"});
        let pods = living("else", "10.0.0.200");
        // Two that hold one address are both refused.
        let (claimed, refused, left) = expected;
        let refused = if claimed == 0 { refused + 1 } else { refused };
        let changes = [(pointer.as_str(), one), ("/else", pods)];
        // The pod `else` tells an address that no IPPool has.
        check_counts(&changes, Stale::Take, (claimed, refused + 1, left));
    }
}

#[test]
fn odd_allocations_and_pools_are_refused() {
    let allocations = [
        json!(null),
        json!([]),
        json!(5),
        json!("x"),
        json!({}),
        json!({"id": null}),
        json!({"id": ""}),
        json!({"id": 5}),
        json!({"id": "a b"}),
        json!({"id": "a/b"}),
        json!({"id": "\u{1b}[2J"}),
        json!({"id": "x", "podref": "x"}),
        json!({"id": "x", "podref": "a/b/c"}),
        json!({"id": "x", "podref": "/"}),
        json!({"id": "x", "ifname": "a:b"}),
        json!({"id": "x", "ifname": "0123456789abcdef"}),
        json!({"id": "x", "ifname": ".."}),
        json!({"id": "x", "ifname": "a\nb"}),
    ];
    for allocation in allocations {
        check_counts(
            &[("/pool/spec/allocations/9", allocation)],
            Stale::Take,
            (1, 1, 0),
        );
    }
    let spec = |spec: Value| json!({"kind": "IPPool", "metadata": {"name": "odd"}, "spec": spec});
    for pool in [
        spec(json!(null)),
        spec(json!([])),
        spec(json!({"range": 5})),
        spec(json!({"range": "10.0.0.0"})),
        spec(json!({"range": "10.0.0.0/33"})),
        spec(json!({"range": "::/129"})),
        spec(json!({"range": "10.0.0.0/24"})),
        json!({"kind": "IPPool", "metadata": {"name": "10.7.0.0-24"},
            "spec": {"range": "10.7.0.0/24", "allocations": []}}),
        json!({"kind": "IPPool"}),
    ] {
        check_counts(&[("/odd", pool)], Stale::Take, (1, 1, 0));
    }
}

#[test]
fn an_interface_told_once_and_not_told_once_is_refused() {
    let two = json!({
        "5": {"id": "abc", "podref": "a/web", "ifname": "net1"},
        "6": {"id": "abc", "podref": "a/web"},
    });
    let status = r#"[{"name": "a/net", "interface": "net1", "ips": ["10.0.0.5", "10.0.0.6"]}]"#;
    let changes = [("/pool/spec/allocations", two), (STATUS, status.into())];
    check_counts(&changes, Stale::Take, (0, 2, 0));
}

#[test]
fn many_holders_of_one_address_are_told_in_lines_that_do_not_grow() {
    let mut allocations = serde_json::Map::new();
    for zeros in 0..500 {
        let offset = "0".repeat(zeros) + "5";
        let one = json!({"id": format!("c{zeros}"), "podref": "a/web", "ifname": "net1"});
        allocations.insert(offset, one);
    }
    let changes = [("/pool/spec/allocations", allocations.into())];
    let plan = changed(&changes, Stale::Take).expect("all kinds are there");
    assert_eq!((plan.takes.len(), plan.refused.len()), (0, 500));
    let longest = plan.refused.iter().map(|one| one.reason.len()).max();
    assert!(longest < Some(300), "{longest:?}");
}
