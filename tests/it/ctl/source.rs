//! Where the tool learns how to reach the datastore: variables, contexts and relative paths.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::tool_binary;
use crate::plugin::{Pod, Site};

/// `claims` in a process that has these variables and this home, and no others.
fn claims(home: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(tool_binary())
        .arg("claims")
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .envs(variables.iter().copied())
        .current_dir(home)
        .output()
        .expect("the tool starts")
}

#[track_caller]
fn assert_shows(output: &Output, container: &str) {
    let shown = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(shown.contains(container), "no {container} in {shown}");
}

#[test]
fn variables_and_contexts_lead_to_the_datastore_as_options_do() {
    let site = Site::shared();
    site.network("10.0.0.0/24").add(&Pod::new("found")).result();
    let endpoints = site.access().endpoints.join(",");
    let home = TempDir::new().expect("a folder");
    let own = [
        ("WHEREABOUTS_ETCD_HOST", endpoints.as_str()),
        ("WHEREABOUTS_ETCD_PREFIX", site.prefix.as_str()),
    ];
    assert_shows(&claims(home.path(), &[], &own), "found");
    let of_etcdctl = [("ETCDCTL_ENDPOINTS", endpoints.as_str())];
    let prefix = ["--etcd-prefix", site.prefix.as_str()];
    assert_shows(&claims(home.path(), &prefix, &of_etcdctl), "found");

    let folder = home.path().join(".config/whereabouts");
    fs::create_dir_all(&folder).expect("a folder");
    let text = format!(
        "current-context: dead\ncontexts:\n  dead: {{etcd_host: '{}'}}\n  live:\n    etcd_host: '{endpoints}'\n    etcd_prefix: '{}'\n",
        crate::support::dead_endpoint(),
        site.prefix
    );
    fs::write(folder.join("config.yaml"), text).expect("a file");
    assert_shows(&claims(home.path(), &["--context", "live"], &[]), "found");
    let by_variable = [("WHEREABOUTS_CONTEXT", "live")];
    assert_shows(&claims(home.path(), &[], &by_variable), "found");
    // Variables come before a context that no option names.
    assert_shows(&claims(home.path(), &[], &own), "found");
    let unknown = claims(home.path(), &["--context", "lives"], &[]);
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(
        said.contains("no context lives; there is dead, live"),
        "{said}"
    );
}

#[test]
fn a_relative_path_is_below_the_working_directory() {
    let home = TempDir::new().expect("a folder");
    let missing = claims(home.path(), &["--local-path", "data/none.db"], &[]);
    let said = String::from_utf8_lossy(&missing.stderr);
    let whole = home.path().join("data");
    assert!(said.contains(&whole.display().to_string()), "{said}");
}
