//! `release`: one claim, as it was shown, and nothing else.

use serde_json::json;

use super::{FAILED, FOUND, WELL, assert_said, json_of, on};
use crate::plugin::{Foreigner, Network, Pod, Site, await_in_line, log_folder};

const CIDR: &str = "10.0.0.0/24";

#[test]
fn release_names_the_owner_asks_and_frees_the_address() {
    let site = Site::shared();
    let network = site.network(CIDR);
    for container in ["one", "two"] {
        network.add(&Pod::new(container)).result();
    }
    let owner = ["space/pod-one", "node-1", "[y/N]"];
    for no in ["", "\n", "no\n", "yesterday\n"] {
        let refused = on(&site, &["release", "10.0.0.1"]).stdin(no).run();
        assert_said(&refused, FOUND, &owner);
        assert_said(&refused, FOUND, &["Nothing is changed"]);
    }
    let shown = on(&site, &["release", "10.0.0.1", "--dry-run"]).run();
    assert_said(&shown, WELL, &["would release 10.0.0.1"]);
    site.assert_at_rest(2);
    let done = on(&site, &["release", "10.0.0.1"]).stdin("y\n").run();
    assert_said(&done, WELL, &["released 10.0.0.1"]);
    site.assert_at_rest(1);
    assert_eq!(network.add(&Pod::new("three")).address(), "10.0.0.1/24");
}

#[test]
fn release_of_nothing_or_of_several_changes_nothing() {
    let site = Site::shared();
    let network = site.network(CIDR);
    network.add(&Pod::new("one")).result();
    network.add(&Pod::new("one").interface("eth1")).result();
    let several = on(&site, &["release", "one", "--yes"]).run();
    assert_said(&several, FOUND, &["2 claims are meant", "--interface"]);
    assert_said(
        &on(&site, &["release", "10.0.0.9", "--yes"]).run(),
        FOUND,
        &["nothing to release"],
    );
    site.assert_at_rest(2);
    let one = on(&site, &["release", "one", "--interface", "eth1", "--yes"]).run();
    assert_said(&one, WELL, &["released 10.0.0.2"]);
    site.assert_at_rest(1);
}

#[test]
fn release_is_refused_when_the_claim_is_at_another_revision() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let pod = Pod::new("one");
    network.add(&pod).result();
    let revision = json_of(&site, &["show", "one"])[0]["revision"].to_string();
    network.del(&pod).assert_silent();
    network.add(&pod).result();
    let late = on(&site, &["release", "one", "--yes", "--revision", &revision]).run();
    assert_said(&late, FOUND, &["nothing is changed"]);
    site.assert_at_rest(1);
}

/// While it waits for its answer, the container is deleted and another one gets the address.
#[test]
fn release_is_guarded_by_the_claim_that_was_shown() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let pod = Pod::new("one");
    network.add(&pod).result();
    // It must not reach its transaction before the claim has changed: it waits for the lock.
    let gate = Foreigner::hold(&site, CIDR);
    let mut release = on(&site, &["release", "one", "--yes"]).start();
    await_in_line(&site, 1, &mut release);
    let claim = format!("{}claim/net/one/eth0", site.prefix).into_bytes();
    let entry = site.entries().into_iter().find(|entry| entry.key == claim);
    let touch = whereabouts_store::Write::Put {
        value: entry.expect("it is there").value,
        key: claim,
        lease: 0,
    };
    crate::plugin::put(&site, touch);
    gate.leave(&site);
    assert_said(
        &release.finish(),
        FOUND,
        &["It has changed", "nothing is released"],
    );
    site.assert_at_rest(1);
}

#[test]
fn release_of_both_addresses_of_a_dual_stack_attachment_is_one() {
    let site = Site::shared();
    let both = site
        .network(CIDR)
        .ipam(json!({"ipRanges": [{"range": "fd00::/64"}]}));
    both.add(&Pod::new("one")).result();
    let done = on(&site, &["release", "fd00::1", "--yes"]).run();
    assert_said(&done, WELL, &["released 10.0.0.1, fd00::1"]);
    site.assert_at_rest(0);
}

/// A script whose variable is empty must not release the only claim.
#[test]
fn an_empty_selector_is_an_error_in_every_command_and_changes_nothing() {
    let site = Site::shared();
    site.network(CIDR).add(&Pod::new("one")).result();
    let selected: &[&[&str]] = &[
        &["release", "?", "--yes"],
        &["release", "one", "--yes", "--node", "?"],
        &["release", "one", "--yes", "--network", "?"],
        &["release", "one", "--yes", "--pool", "?"],
        &["show", "?"],
        &["claims", "--node", "?"],
        &["claims", "--pod", "?"],
        &["claims", "--network", "?"],
        &["claims", "--container", "?"],
        &["claims", "--interface", "?"],
        &["claims", "--pool", "?"],
        &["claims", "--range", "?"],
        &["claims", "--address", "?"],
        &["watch", "--node", "?"],
        &["queue", "?"],
        &["map", "?"],
        &["map", CIDR, "--pool", "?"],
        &["gc", "--netns", "--yes", "--node", "?"],
        &["gc", "--netns", "--yes", "--network", "?"],
        &["import", "ippools", "-", "--yes", "--network", "?"],
        &[
            "import",
            "ippools",
            "-",
            "--yes",
            "--network",
            "net",
            "--pool",
            "?",
        ],
        &[
            "import",
            "ippools",
            "-",
            "--yes",
            "--network",
            "net",
            "--node",
            "?",
        ],
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--reap",
            "1h",
            "--node",
            "?",
        ],
    ];
    let before = site.entries();
    for arguments in selected {
        for empty in ["", " ", "\t\n"] {
            let given: Vec<&str> = arguments
                .iter()
                .map(|argument| if *argument == "?" { empty } else { argument })
                .collect();
            let refused = on(&site, &given).run();
            assert_eq!(refused.exit_code, FAILED, "{given:?}: {refused:?}");
        }
    }
    assert_eq!(site.entries(), before);
}

#[test]
fn all_claims_of_a_node_a_pod_or_an_age_are_shown_and_released_together() {
    let site = Site::shared();
    let network = site.network(CIDR);
    for container in ["web-1", "web-2", "db-1"] {
        network.add(&Pod::new(container)).result();
    }
    let elsewhere = network.clone().ipam(json!({"node_name": "node-2"}));
    elsewhere.add(&Pod::new("far")).result();
    let nothing_said = on(&site, &["release", "--node", "node-2", "--yes"]).run();
    assert_said(&nothing_said, FAILED, &["--all", "WHAT"]);
    let all_of_all = on(&site, &["release", "--all", "--yes"]).run();
    assert_said(&all_of_all, FAILED, &["--node"]);
    let any_pod = on(&site, &["release", "--all", "--pod", "*", "--yes"]).run();
    assert_said(&any_pod, FAILED, &["empty"]);
    let by_age = ["release", "--all", "--older-than", "0s", "--yes"];
    assert_said(&on(&site, &by_age).run(), FAILED, &["--force"]);
    let dry = on(
        &site,
        &["release", "--all", "--pod", "pod-web*", "--dry-run"],
    )
    .run();
    assert_said(&dry, WELL, &["pod-web-1", "pod-web-2", "0 claims of 2"]);
    site.assert_at_rest(4);
    let asked = on(&site, &["release", "--all", "--pod", "pod-web*"])
        .stdin("n\n")
        .run();
    assert_said(&asked, FOUND, &["Release 2 claims?", "Nothing is changed"]);
    site.assert_at_rest(4);
    let many = on(
        &site,
        &["release", "--all", "--pod", "space/pod-web*", "--yes"],
    )
    .run();
    assert_said(&many, WELL, &["2 claims of 2 are released, 0 stayed"]);
    site.assert_at_rest(2);
    let far = on(&site, &["release", "--all", "--node", "node-2", "--yes"]).run();
    assert_said(&far, WELL, &["1 claim of 1 is released"]);
    let no_other = on(&site, &["release", "--all", "-n", "elsewhere", "--yes"]).run();
    assert_said(&no_other, FOUND, &["nothing to release"]);
    let young = [
        "release",
        "--all",
        "-n",
        "space",
        "--older-than",
        "1h",
        "--force",
        "--yes",
    ];
    assert_said(&on(&site, &young).run(), FOUND, &["nothing to release"]);
    let old = [
        "release",
        "--all",
        "-n",
        "space",
        "--older-than",
        "0s",
        "--force",
        "--yes",
    ];
    assert_said(&on(&site, &old).run(), WELL, &["1 claim of 1 is released"]);
    site.assert_at_rest(0);
}

/// A sticky network and a pod of a StatefulSet in it.
fn sticky(site: &Site) -> (Network, Pod) {
    let network = site.network(CIDR).ipam(json!({"sticky": "statefulset"}));
    (network, Pod::new("one").argument("K8S_POD_NAME=web-0"))
}

#[test]
fn release_of_a_durable_claim_leaves_its_owner_and_a_second_one_ends_that() {
    let site = Site::shared();
    let (network, pod) = sticky(&site);
    network.add(&pod).result();
    let attached = json_of(&site, &["owners"]);
    assert_eq!(attached[0]["container"], "one");
    let first = on(&site, &["release", "web-0", "--yes"]).run();
    assert_said(&first, WELL, &["released 10.0.0.1"]);
    let owners = on(&site, &["owners", "space/web-0"]).run();
    assert_said(&owners, WELL, &["space/web-0", "at rest", "10.0.0.1"]);
    assert_eq!(json_of(&site, &["owners", "10.0.0.1"])[0]["pod"], "web-0");
    for what in ["10.0.0.1", "space/web-0"] {
        let shown = on(&site, &["show", what]).run();
        assert_said(&shown, FOUND, &["at rest keeps the address", "space/web-0"]);
    }
    for other in [
        ["--node", "node-1"],
        ["--network", "other"],
        ["--interface", "eth7"],
    ] {
        let [option, value] = other;
        let refused = on(&site, &["release", "web-0", "--yes", option, value]).run();
        assert_said(&refused, FOUND, &["nothing to release"]);
    }
    let revision = json_of(&site, &["owners"])[0]["revision"].to_string();
    let late = on(&site, &["release", "web-0", "--yes", "--revision", "1"]).run();
    assert_said(&late, FOUND, &[&revision, "nothing is changed"]);
    let dry = on(&site, &["release", "10.0.0.1", "--dry-run"]).run();
    assert_said(&dry, WELL, &["would release 10.0.0.1"]);
    let second = on(
        &site,
        &["release", "10.0.0.1", "--yes", "--revision", &revision],
    )
    .run();
    assert_said(&second, WELL, &["released 10.0.0.1"]);
    site.assert_at_rest(0);
    assert_eq!(json_of(&site, &["owners"]), json!([]));
    assert_eq!(network.add(&Pod::new("two")).address(), "10.0.0.1/24");
}

#[test]
fn a_backup_brings_a_durable_owner_back() {
    let site = Site::shared();
    let (network, pod) = sticky(&site);
    network.add(&pod).result();
    network.del(&pod).assert_silent();
    let folder = log_folder();
    let file = folder.path().join("backup");
    let file = file.to_str().expect("text");
    let written = on(&site, &["backup", file]).run();
    assert_said(&written, WELL, &[]);
    let before = json_of(&site, &["owners"]);
    assert_said(&on(&site, &["release", "web-0", "--yes"]).run(), WELL, &[]);
    network.add(&Pod::new("two")).result();
    let restored = on(&site, &["restore", file, "--replace", "--yes"]).run();
    assert_said(&restored, WELL, &[]);
    assert_eq!(site.audit().findings, []);
    assert_eq!(
        json_of(&site, &["owners"])[0]["addresses"],
        before[0]["addresses"]
    );
    assert_eq!(network.add(&pod).address(), "10.0.0.1/24");
    site.assert_at_rest(1);
}
