//! The tool as a plugin of kubectl. The proxy of the API server is a script in the place of kubectl.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;
use whereabouts_core::limits;
use whereabouts_store::Write;

use super::Server;
use crate::ctl::{FAILED, WELL, assert_said, on, tool_binary};
use crate::plugin::fill::fill;
use crate::plugin::{Answer, Call, Foreigner, Pod, Site, await_in_line, pods, put, range};
use crate::support::poll;

const CIDR: &str = "10.0.0.0/24";

/// Where the API server's proxy has the page.
const PROXY: &str = "/api/v1/namespaces/kube-system/services/http:whereabouts-page:http/proxy/";

/// A folder with the plugin and a kubectl.
struct Desk(TempDir);

impl Desk {
    /// With a kubectl that keeps its arguments, and then acts as the lines `acts`.
    fn of(acts: &str) -> Self {
        let desk = Self::without_kubectl();
        let calls = desk.path("calls");
        let script = format!("#!/bin/bash\nprintf '%s\\n' \"$*\" >>{calls}\n{acts}\n");
        let path = desk.path("kubectl");
        fs::write(&path, script).expect("the folder can be written");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, mode).expect("the file is ours");
        desk
    }

    /// With a kubectl that asks `server` as the API server does.
    fn at(server: &Server) -> Self {
        let url = format!("http://{}/${{!##*/proxy/}}", server.address);
        Self::of(&format!("exec curl --silent --fail \"{url}\""))
    }

    fn without_kubectl() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let link = folder.path().join("kubectl-whereabouts");
        symlink(Path::new(tool_binary()), link).expect("the folder can be written");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// As kubectl calls its plugin.
    fn plugin(&self, arguments: &[&str]) -> Call {
        let call = Call::new().program(self.path("kubectl-whereabouts"));
        let path = format!("{}:/usr/bin:/bin", self.0.path().display());
        call.arguments(arguments).variable("PATH", path)
    }

    /// What kubectl was called with.
    fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }
}

fn ended(answer: &Answer) -> (Option<i32>, &str, &str) {
    (answer.exit_code, &answer.stdout, &answer.stderr)
}

/// The plugin says the same as the tool at etcd.
#[track_caller]
fn assert_same(site: &Site, desk: &Desk, arguments: &[&str]) {
    assert_same_with(site, &[], desk, arguments);
}

/// The same of a tool that is given further options.
#[track_caller]
fn assert_same_with(site: &Site, options: &[&str], desk: &Desk, arguments: &[&str]) {
    poll("the plugin says the same", || {
        let direct = on(site, &[arguments, options].concat()).run();
        let plugin = desk.plugin(arguments).run();
        // Between two executions a second may pass.
        let same = ended(&direct) == ended(&plugin);
        if !same {
            eprintln!("{arguments:?}: {direct:?} is not {plugin:?}");
        }
        same.then_some(())
    });
}

#[test]
fn each_command_that_reads_says_the_same_through_the_api_server() {
    let site = Site::shared();
    let sticky = site
        .network("10.1.0.0/30")
        .ipam(json!({"sticky": "statefulset"}));
    for pod in pods(3) {
        site.network(CIDR).add(&pod).result();
    }
    let named = |uid: &str, container: &str| {
        let pod = Pod::new(container).argument("K8S_POD_NAME=web-0");
        pod.argument(&format!("K8S_POD_UID={uid}"))
    };
    sticky.add(&named("u-1", "web")).result();
    sticky.del(&named("u-1", "web")).assert_silent();
    let server = Server::of(&site, &[]);
    let desk = Desk::at(&server);
    for arguments in [
        &["ranges"][..],
        &["claims"],
        &["claims", "--range", CIDR, "--node", "nobody"],
        &["map", CIDR],
        &["map", "10.7.0.0/24"],
        &["show", "10.0.0.2"],
        &["show", "10.0.0.77"],
        &["show", "10.1.0.1"],
        &["owners"],
        &["owners", "space/web-0"],
        &["check"],
        &["queue"],
    ] {
        assert_same(&site, &desk, arguments);
        for format in ["json", "yaml"] {
            assert_same(&site, &desk, &[arguments, &["-o", format]].concat());
        }
    }
    assert_said(
        &desk.plugin(&["owners"]).run(),
        WELL,
        &["space/web-0", "at rest"],
    );
    assert!(
        desk.calls()
            .lines()
            .all(|call| call.starts_with("get --raw "))
    );
    assert!(
        desk.calls()
            .contains(&format!("{PROXY}api/store/read?asked="))
    );
}

/// As in Kubernetes, where each node knows its cluster, and a reader does not.
#[test]
fn a_reader_needs_not_know_whose_the_keys_are() {
    let site = Site::shared();
    site.network(CIDR).add(&Pod::new("c")).result();
    let server = Server::of(&site, &[]);
    let desk = Desk::at(&server);
    let owner = ["--cluster-id", "0123456789abcdef"];
    let set = ["cluster", "--set", "0123456789abcdef", "--yes"];
    assert_said(&on(&site, &set).run(), WELL, &["are those of cluster"]);
    for arguments in [&["owners"][..], &["show", "10.0.0.77"], &["claims"]] {
        assert_same_with(&site, &owner, &desk, arguments);
    }
}

#[test]
fn the_lease_of_a_lock_is_read_through_the_page() {
    let site = Site::shared();
    let network = site.network(CIDR);
    network.add(&Pod::new("before")).result();
    let holder = Foreigner::hold(&site, CIDR);
    let mut add = network.call("ADD", &Pod::new("waits")).start();
    await_in_line(&site, 1, &mut add);
    let server = Server::of(&site, &[]);
    let desk = Desk::at(&server);
    assert_same(&site, &desk, &["queue"]);
    assert_said(
        &desk.plugin(&["queue"]).run(),
        WELL,
        &[" of 300 s", "waits"],
    );
    holder.leave(&site);
    assert_eq!(add.finish().address(), "10.0.0.2/24");
}

#[test]
fn more_claims_than_one_answer_may_have_come_in_several() {
    let site = Site::shared();
    let count = limits::ENTRIES_PER_PAGE as usize + 1_000;
    fill(&site, &range("10.0.0.0/14"), count);
    let server = Server::of(&site, &[]);
    let desk = Desk::at(&server);
    assert_same(&site, &desk, &["claims", "-o", "json"]);
    // What the page is, whose the keys are, and two pages of claims.
    assert_eq!(desk.calls().lines().count(), 4);
}

#[test]
fn values_that_are_too_large_for_one_answer_come_in_several() {
    let site = Site::shared();
    let large = vec![b'x'; 1 << 20];
    let count = limits::PAGE_ANSWER_BYTES / large.len();
    for number in 0..count {
        let key = format!("{}claim/net/{number}/eth0", site.prefix);
        let write = Write::Put {
            key: key.into_bytes(),
            value: large.clone(),
            lease: 0,
        };
        put(&site, write);
    }
    let server = Server::of(&site, &[]);
    let desk = Desk::at(&server);
    assert_same(&site, &desk, &["check", "-o", "json"]);
}

#[test]
fn kubectl_gets_its_own_options_and_finds_the_service_that_is_named() {
    let site = Site::shared();
    let server = Server::of(&site, &[]);
    let desk = Desk::at(&server);
    let options = ["--context=prod", "--cluster=c", "--user", "me", "--as=you"];
    let place = ["--service-namespace", "net", "--service", "https:page:443"];
    let kubeconfig = ["--kubeconfig", "/some/config"];
    let all = [&["claims"][..], &options, &place, &kubeconfig].concat();
    assert_said(&desk.plugin(&all).run(), WELL, &["No claim fits."]);
    let flags = "--kubeconfig=/some/config --context=prod --cluster=c --user=me --as=you get --raw";
    let path = "/api/v1/namespaces/net/services/https:page:443/proxy/api/store";
    assert!(
        desk.calls().starts_with(&format!("{flags} {path}\n")),
        "{}",
        desk.calls()
    );
    // The tool by its own name takes this way if it is told to, and only then.
    let tool = |arguments: &[&str]| {
        let path = format!("{}:/usr/bin:/bin", desk.0.path().display());
        crate::ctl::tool(arguments).variable("PATH", path).run()
    };
    assert_said(&tool(&["claims", "--user=me"]), WELL, &["No claim fits."]);
    assert_said(&tool(&["claims"]), FAILED, &["--etcd-host"]);
    for wrong in ["a/b", "a?b", "..", "ftp:a:b", ""] {
        let answer = desk.plugin(&["claims", "--service", wrong]).run();
        assert_said(&answer, FAILED, &["--service"]);
    }
    let wrong = desk.plugin(&["claims", "--service-namespace", "a/b"]).run();
    assert_said(
        &wrong,
        FAILED,
        &["--service-namespace", "no name of an object"],
    );
}

#[test]
fn an_option_that_names_a_datastore_wins_and_writes_do_not_go_through_the_page() {
    let site = Site::shared();
    site.network(CIDR).add(&Pod::new("c")).result();
    let desk = Desk::of("exit 1");
    let endpoints = site.access().endpoints.join(",");
    let etcd = ["--etcd-host", &endpoints, "--etcd-prefix", &site.prefix];
    let direct = desk.plugin(&[&["claims"][..], &etcd].concat()).run();
    assert_said(&direct, WELL, &["10.0.0.1"]);
    let both = [&["claims", "--user=me"][..], &etcd].concat();
    assert_said(&desk.plugin(&both).run(), FAILED, &["from one of them"]);
    for write in [
        &["release", "10.0.0.1", "--yes"][..],
        &["gc", "--node", "n", "--valid", "-", "--yes"],
        &["check", "--repair"],
        &["watch"],
    ] {
        let answer = desk
            .plugin(write)
            .stdin(r#"{"name": "net", "cni.dev/valid-attachments": []}"#)
            .run();
        let parts = ["goes to the datastore itself", "--etcd-host"];
        assert_said(&answer, FAILED, &parts);
    }
    let repair = desk.plugin(&["check", "--repair", "--user=me"]).run();
    assert_said(&repair, FAILED, &["--repair needs the datastore itself"]);
    let released = [&["release", "10.0.0.1", "--yes"][..], &etcd].concat();
    assert_said(&desk.plugin(&released).run(), WELL, &["released"]);
    assert_eq!(desk.calls(), "", "kubectl is asked nothing");
}

#[test]
fn errors_are_told_with_the_words_of_kubectl_and_with_what_to_do() {
    let says = |line: &str| format!("echo '{line}' >&2; exit 1");
    let forbidden = r#"Error from server (Forbidden): services "http:whereabouts-page:http" is forbidden: User "eve" cannot get resource "services/proxy" in API group "" in the namespace "kube-system""#;
    let missing = r#"Error from server (NotFound): services "whereabouts-page" not found"#;
    let old = "Error from server (NotFound): the server could not find the requested resource";
    let empty = r#"Error from server (ServiceUnavailable): no endpoints available for service "whereabouts-page""#;
    let login = "error: You must be logged in to the server (Unauthorized)";
    for (acts, parts) in [
        (says(forbidden), vec![forbidden, "whereabouts-reader"]),
        (says(missing), vec![missing, "--service-namespace"]),
        (says(old), vec![old, "another version"]),
        (says(empty), vec![empty, "No pod of the page is ready"]),
        (says(login), vec![login]),
        ("exit 3".to_owned(), vec!["exit status: 3"]),
        (
            "echo '{\"api\": 2}'".to_owned(),
            vec!["version 2", "version 1"],
        ),
        (
            "echo '<html>'".to_owned(),
            vec!["none of a whereabouts page"],
        ),
        (
            "echo '{\"api\": 1, \"answer\": {\"prefix\": \"x\"}}'".to_owned(),
            vec!["does not end in a slash"],
        ),
        (
            "echo '{\"api\": 1, \"failure\": {\"kind\": \"denied\", \"reason\": \"no user\"}}'"
                .to_owned(),
            vec!["etcd refuses access: no user"],
        ),
    ] {
        let answer = Desk::of(&acts).plugin(&["claims"]).run();
        assert_said(&answer, FAILED, &parts);
        let count = answer.stderr.matches(parts[0]).count();
        assert_eq!(count, 1, "once: {}", answer.stderr);
        assert_eq!(answer.stdout, "");
    }
    let nowhere = Desk::without_kubectl();
    let call = nowhere
        .plugin(&["claims"])
        .variable("PATH", nowhere.path(""));
    assert_said(&call.run(), FAILED, &["kubectl is not on PATH"]);
}

/// A login may ask something before kubectl answers.
#[test]
fn what_a_login_says_is_passed_on() {
    let site = Site::shared();
    let server = Server::of(&site, &[]);
    let script = format!(
        "printf 'Visit https://login.example\\nCode: \\e[31m' >&2\n\
         read -r code\n[[ $code == 42 ]] || exit 9\n\
         exec curl --silent --fail \"http://{}/${{!##*/proxy/}}\"",
        server.address
    );
    let answer = Desk::of(&script)
        .plugin(&["ranges"])
        .stdin("42\n42\n42\n")
        .run();
    // No claim, but a login.
    assert_said(
        &answer,
        WELL,
        &["Visit https://login.example\n", "Code: \\u{1b}[31m"],
    );
}

#[test]
fn the_store_answers_nothing_but_reads_below_the_prefix() {
    let site = Site::shared();
    site.network(CIDR).add(&Pod::new("c")).result();
    let server = Server::of(&site, &[]);
    let key = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let between = |from: &str, until: &str, limit: u32| {
        let between =
            json!({"from": key(from), "until": key(until), "by_creation": false, "limit": limit});
        json!({"at": "now", "reads": [{"range": between}]})
    };
    let ask = |questions: &Value| {
        let path = format!("GET /api/store/read?asked={}", key(&questions.to_string()));
        server.request(&path, "Host: localhost\r\n")
    };
    let prefix = site.prefix.as_str();
    let end = format!("{}0", prefix.strip_suffix('/').expect("it ends in a slash"));
    let well_asked = between(prefix, &end, 1);
    let well = ask(&well_asked);
    assert!(well.head.starts_with("HTTP/1.1 200"), "{}", well.head);
    assert!(
        well.body.contains(r#"{"api":1,"answer":{"revision":"#),
        "{}",
        well.body
    );
    let many = json!({"key": key(prefix)});
    // etcd would build the whole answer before anybody bounds it.
    let page = between(prefix, &end, limits::ENTRIES_PER_PAGE);
    assert!(ask(&page).head.starts_with("HTTP/1.1 200"));
    let mut twice = page.clone();
    twice["reads"] = json!([page["reads"][0], page["reads"][0]]);
    let mut oldest = well_asked.clone();
    oldest["reads"][0]["range"]["by_creation"] = json!(true);
    for wrong in [
        between(prefix, &end, limits::ENTRIES_PER_PAGE + 1),
        twice,
        oldest,
        between("a", &end, 1),
        between(prefix, "zzz", 1),
        between(prefix, &end, 0),
        between(&end, prefix, 1),
        between(prefix, "", 1),
        between("", &end, 1),
        between("", "", 1),
        json!({"at": "now", "reads": [{"key": key("other")}]}),
        json!({"at": "now", "reads": [{"key": key("")}]}),
        json!({"at": "now", "reads": [{"key": key(&end)}]}),
        json!({"at": "now", "reads": [{"key": "%"}]}),
        json!({"at": "now", "reads": []}),
        json!({"at": "now", "reads": vec![many; 129]}),
        json!({"at": {"revision": 0}, "reads": [{"key": key(prefix)}]}),
        json!({"at": "then", "reads": [{"key": key(prefix)}]}),
        json!({}),
    ] {
        let refused = ask(&wrong);
        assert!(
            refused.head.starts_with("HTTP/1.1 400"),
            "{wrong}: {}",
            refused.head
        );
    }
    let future = json!({"at": {"revision": i64::MAX}, "reads": [{"key": key(prefix)}]});
    let failed = ask(&future);
    assert!(
        failed.body.contains(r#""failure":{"kind":"#),
        "{}",
        failed.body
    );
    for line in [
        "POST /api/store/read",
        "PUT /api/store",
        "DELETE /api/store",
    ] {
        let refused = server.request(line, "Host: localhost\r\n");
        assert!(
            refused.head.starts_with("HTTP/1.1 405"),
            "{line}: {}",
            refused.head
        );
    }
    let rebound = server.request("GET /api/store", "Host: evil.example\r\n");
    assert!(rebound.head.starts_with("HTTP/1.1 421"), "{}", rebound.head);
    assert_said(&on(&site, &["claims"]).run(), WELL, &["10.0.0.1"]);
}
