//! How the program is called: names, variables, stdin, a person at a terminal, and a bug.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use serde_json::json;
use whereabouts_cni::plugin;

use crate::plugin::{Call, Pod, Site};

#[test]
fn without_cni_command_the_about_text_is_on_stderr_and_the_exit_code_is_0() {
    let about = Call::new().stdin("not JSON").run();
    assert_eq!((about.exit_code, about.stdout.as_str()), (Some(0), ""));
    assert!(about.stderr.starts_with("whereabouts "), "{about:?}");
    assert!(about.stderr.contains("1.1.0"), "{about:?}");
}

/// Called by a link and by a copy of that name, with that type: as in Canada.
#[test]
fn it_works_in_canada() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let built = Call::folder().join("whereabouts");
    let (link, copy) = (
        folder.path().join("whereaboots"),
        folder.path().join("copy"),
    );
    symlink(&built, &link).expect("the folder can be written");
    fs::create_dir(&copy).expect("the folder can be written");
    let copy = copy.join("whereaboots");
    fs::copy(&built, &copy).expect("the folder can be written");
    let site = Site::shared();
    let network = site
        .network("10.0.0.0/24")
        .ipam(json!({"type": "whereaboots"}));
    for (program, pod, address) in [(link, "link", "10.0.0.1/24"), (copy, "copy", "10.0.0.2/24")] {
        let (pod, call) = (Pod::new(pod), |verb: &str, pod: &Pod| {
            network.call(verb, pod).program(&program)
        });
        assert_eq!(call("ADD", &pod).run().address(), address);
        let about = Call::new().program(&program).run();
        assert!(about.stderr.starts_with("whereaboots "), "{about:?}");
    }
    for pod in ["link", "copy"] {
        network.del(&Pod::new(pod)).assert_silent();
    }
    site.assert_at_rest(0);
}

#[test]
fn missing_variables_are_code_4_and_all_named() {
    let network = Site::shared().network("10.0.0.0/24");
    let add = network.call_without_pod("ADD").variable("CNI_PATH", "");
    add.run()
        .assert_error(4, &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]);
    let del = network.call_without_pod("DEL");
    del.run()
        .assert_error(4, &["CNI_CONTAINERID", "CNI_IFNAME"]);
    let gc = network.call_without_pod("GC").variable("CNI_PATH", "");
    gc.run().assert_error(4, &["CNI_PATH"]);
}

#[test]
fn cni_path_is_needed_by_gc_alone() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let pod = Pod::new("c");
    let call = |verb| network.call(verb, &pod).variable("CNI_PATH", "").run();
    call("ADD").result();
    call("STATUS").assert_silent();
    call("DEL").assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn an_unknown_verb_is_code_4() {
    let network = Site::shared().network("10.0.0.0/24");
    network
        .call_without_pod("UPDATE")
        .run()
        .assert_error(4, &["UPDATE"]);
}

#[test]
fn ids_that_are_none_are_code_4_and_store_nothing() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    for container in ["a/b", "..", "a\nb", &"a".repeat(10_000)] {
        let call = network.call("ADD", &Pod::new(container));
        let failed = call.variable("CNI_ARGS", "").run();
        failed.assert_error(4, &["CNI_CONTAINERID"]);
    }
    for interface in ["sixteen-bytes-xx", ".", "..", "a/b", "a:b", "a b"] {
        let failed = network.add(&Pod::new("c").interface(interface));
        failed.assert_error(4, &["CNI_IFNAME"]);
    }
    assert_eq!(site.entries(), []);
}

/// ADD with this on stdin.
fn check_stdin(stdin: impl Into<Vec<u8>>, code: u64, parts: &[&str]) {
    let network = Site::shared().network("10.0.0.0/24");
    let call = network.call("ADD", &Pod::new("c")).stdin(stdin);
    call.run().assert_error(code, parts);
}

#[test]
fn stdin_of_10_mb_is_code_5() {
    let mut config = Site::shared().network("10.0.0.0/24").json();
    config.push_str(&" ".repeat(10 << 20));
    check_stdin(config, 5, &["stdin", "more than"]);
}

#[test]
fn broken_truncated_or_empty_stdin_is_code_6() {
    let config = Site::shared().network("10.0.0.0/24").json();
    check_stdin(&config[..config.len() - 2], 6, &["stdin"]);
    check_stdin("", 6, &["stdin"]);
    check_stdin("{", 6, &["stdin"]);
    check_stdin([0xff, 0xfe], 6, &["stdin"]);
    check_stdin("[]", 6, &["stdin"]);
}

#[test]
fn a_missing_or_wrong_network_name_is_code_7() {
    let network = Site::shared().network("10.0.0.0/24");
    for name in [json!(null), json!(""), json!("a/b"), json!("-a")] {
        let network = network.clone().config(json!({"name": name}));
        network.add(&Pod::new("c")).assert_error(7, &["name"]);
    }
}

#[test]
fn what_stands_in_the_flat_file_counts_unless_the_config_says_otherwise() {
    let site = Site::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flat_file = folder.path().join("whereabouts.conf");
    let keys = json!({
        "etcd_host": site.access().endpoints, "etcd_prefix": site.prefix,
        "range": "10.7.0.0/24", "gateway": "10.7.0.1",
    });
    fs::write(&flat_file, keys.to_string()).expect("the folder can be written");
    let bare = site.without_range().ipam(json!({
        "etcd_host": null, "etcd_prefix": null, "configuration_path": flat_file,
    }));
    assert_eq!(bare.add(&Pod::new("flat")).address(), "10.7.0.2/24");
    let own = bare.ipam(json!({"range": "10.8.0.0/24"}));
    assert_eq!(own.add(&Pod::new("own")).address(), "10.8.0.1/24");
    site.assert_at_rest(2);
}

/// The author of a network configuration would like to have the password of the node's flat file.
#[test]
fn the_password_of_the_flat_file_goes_to_no_endpoint_of_a_network_configuration() {
    let site = Site::shared();
    let evil = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    evil.set_nonblocking(true).expect("a socket");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flat_file = folder.path().join("whereabouts.conf");
    let keys = json!({
        "etcd_host": site.access().endpoints, "etcd_prefix": site.prefix,
        "etcd_username": "node", "etcd_password": "hunter2",
    });
    fs::write(&flat_file, keys.to_string()).expect("the folder can be written");
    let address = evil.local_addr().expect("it listens").to_string();
    let network = site.network("10.0.0.0/24").ipam(json!({
        "etcd_host": address, "etcd_prefix": null, "configuration_path": flat_file,
    }));
    let pod = Pod::new("c");
    network
        .add(&pod)
        .assert_error(7, &["ipam.etcd_host", "network_config_may_set"]);
    network.del(&pod).assert_silent();
    let error = evil.accept().expect_err("nobody connects");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

const CHILD: &str = "WHEREABOUTS_TEST_PANICS";

/// The test executes itself, and there is the plugin's hook and then a panic.
#[test]
fn a_panic_is_answered_as_json_with_code_100_and_exit_code_1() {
    if env::var_os(CHILD).is_some() {
        plugin::answer_panics();
        panic!("planted for the test");
    }
    let this = "verbs::invocation::a_panic_is_answered_as_json_with_code_100_and_exit_code_1";
    let call = Call::new()
        .program(env::current_exe().expect("a test knows its program"))
        .argument(this)
        .argument("--exact")
        .argument("--nocapture")
        .variable(CHILD, "1");
    let mut answer = call.run();
    // Before it stands what the test harness says.
    let (harness, json) = answer.stdout.split_at(answer.stdout.find('{').unwrap_or(0));
    assert!(harness.contains("running 1 test"), "{answer:?}");
    answer.stdout = json.to_owned();
    answer.assert_error(100, &["planted for the test", "invocation.rs"]);
}
