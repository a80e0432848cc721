//! The samples and the examples of the documents, executed as a runtime does: each plugin of each
//! configuration, on a node that has the interfaces which they name.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use super::{Namespace, REFERENCE_PLUGINS, ip};
use crate::plugin::{Answer, Call, Pod, Site, log_folder};
use crate::support::etcd::Cluster;

/// How many pods each configuration serves.
const PODS: usize = 2;

/// A configuration that an operator may copy.
struct Example {
    /// Where it stands.
    origin: String,
    /// Its plugins, each with its version and the network's name.
    plugins: Vec<Value>,
}

impl Example {
    /// Of a network configuration, or a list of plugins; `None` if `config` is neither.
    fn read(origin: String, config: &Value) -> Option<Self> {
        let plugins = match config.get("plugins") {
            Some(plugins) => plugins.as_array().expect("plugins are a list").clone(),
            None => vec![config.get("ipam").and(Some(config.clone()))?],
        };
        let plugins = plugins.into_iter().map(|mut plugin| {
            for key in ["cniVersion", "name"] {
                plugin[key] = config[key].clone();
            }
            plugin
        });
        let plugins = plugins.collect();
        Some(Self { origin, plugins })
    }

    fn types(&self) -> impl Iterator<Item = &str> {
        let types = self.plugins.iter().map(|plugin| plugin["type"].as_str());
        types.map(|name| name.expect("a plugin has a type"))
    }
}

fn top() -> &'static Path {
    whereabouts_fixtures::binaries::top()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every configuration in `deploy/samples`.
fn samples() -> Vec<Example> {
    let entries = fs::read_dir(top().join("deploy/samples")).expect("it is a folder");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let of_file = |path: PathBuf| -> Vec<Example> {
        let origin = path.display().to_string();
        let configs: Vec<Value> = match path.extension().and_then(|extension| extension.to_str()) {
            Some("conflist") => vec![serde_json::from_str(&text(&path)).expect("it is JSON")],
            Some("yaml") => {
                let documents: Vec<Value> =
                    serde_saphyr::from_multiple(&text(&path)).expect("it is YAML");
                let config = |document: &Value| {
                    let config = document["spec"]["config"]
                        .as_str()
                        .expect("it has a config");
                    serde_json::from_str(config).expect("the config is JSON")
                };
                documents.iter().map(config).collect()
            }
            _ => panic!("{origin}: no test reads such a file"),
        };
        let read = |config| Example::read(origin.clone(), config).expect("it is a configuration");
        configs.iter().map(read).collect()
    };
    paths.into_iter().flat_map(of_file).collect()
}

/// Every complete configuration in a document, but those that an error follows, and those that need an API server:
/// `kubernetes::installs` executes them.
fn examples(document: &str) -> Vec<Example> {
    let text = text(&top().join(document));
    let mut examples = Vec::new();
    for block in text.split("\n```json").skip(1) {
        let (info, block) = block.split_once('\n').expect("a line ends");
        let (json, rest) = block.split_once("\n```").expect("a block ends");
        let is_an_error = rest.trim_start().starts_with("```text");
        if is_an_error || info == " flat-file" {
            continue;
        }
        let config: Value = serde_json::from_str(json).expect("an example is JSON");
        if config["ipam"]["datastore"] == "kubernetes" {
            continue;
        }
        examples.extend(Example::read(format!("{document}: {json}"), &config));
    }
    examples
}

/// A node with an etcd.
struct Node {
    cluster: Arc<Cluster>,
    folder: tempfile::TempDir,
}

impl Node {
    /// Makes one, with these interfaces, in the network namespace of this thread.
    fn prepare(links: &BTreeSet<String>) -> Self {
        ip(&["link", "set", "lo", "up"]);
        for (number, link) in links.iter().enumerate() {
            let peer = format!("far-{number}");
            ip(&["link", "add", link, "type", "veth", "peer", "name", &peer]);
            ip(&["link", "set", link, "up"]);
        }
        // A macvlan without a master takes the interface of the default route.
        if let Some(link) = links.first() {
            ip(&["route", "add", "default", "dev", link]);
        }
        Self {
            cluster: Arc::new(Cluster::start(1)),
            folder: log_folder(),
        }
    }

    /// Two pods are added, checked and deleted by all plugins of an example, in its own prefix.
    fn check(&self, number: usize, example: &Example) {
        let origin = &example.origin;
        let site = Site {
            cluster: Arc::clone(&self.cluster),
            prefix: format!("/example-{number}/"),
        };
        let plugins = example
            .plugins
            .iter()
            .map(|plugin| self.here(plugin, &site));
        let plugins: Vec<Value> = plugins.collect();
        let namespaces: [Namespace; PODS] = std::array::from_fn(|_| Namespace::create());
        let pods = namespaces.each_ref().map(Namespace::pod);
        let mut given = BTreeSet::new();
        for (namespace, pod) in namespaces.iter().zip(&pods) {
            let mut result = Value::Null;
            for plugin in &plugins {
                let added = call(plugin, "ADD", pod, &result);
                assert_eq!(added.exit_code, Some(0), "{origin}: {added:?}");
                result = added.json();
            }
            for plugin in &plugins {
                let checked = call(plugin, "CHECK", pod, &result);
                assert_eq!(checked.exit_code, Some(0), "{origin}: {checked:?}");
            }
            let addresses = namespace.addresses("eth0");
            assert!(!addresses.is_empty(), "{origin}");
            given.extend(addresses);
        }
        let is_local = |plugin: &Value| plugin["ipam"]["datastore"] == "local";
        if plugins.iter().any(is_local) {
            assert!(fs::exists(local_path()).expect("a folder"), "{origin}");
        } else {
            assert_eq!(site.audit().claims, PODS, "{origin}");
        }
        assert!(given.len() >= PODS, "{origin}: {given:?}");
        for pod in &pods {
            for plugin in plugins.iter().rev() {
                let deleted = call(plugin, "DEL", pod, &Value::Null);
                assert_eq!(deleted.exit_code, Some(0), "{origin}: {deleted:?}");
            }
        }
        let is_sticky = |plugin: &Value| plugin["ipam"]["sticky"] == "statefulset";
        if plugins.iter().any(is_sticky) {
            // The names of the pods keep their addresses.
            let audit = site.audit();
            assert_eq!(audit.findings, [], "{origin}");
            let counted = (audit.claims, audit.owners, audit.set_bits);
            assert_eq!(counted, (0, PODS, PODS), "{origin}");
        } else {
            site.assert_at_rest(0);
        }
    }

    /// A plugin's configuration on this node. A flat file says where etcd is on another, and Debian's
    /// plugins do not have the newest version of CNI.
    fn here(&self, plugin: &Value, site: &Site) -> Value {
        let mut plugin = plugin.clone();
        if let Some(ipam) = plugin.get_mut("ipam").and_then(Value::as_object_mut) {
            ipam.retain(|key, _| !key.starts_with("etcd_"));
            ipam.insert("etcd_host".to_owned(), json!(site.access().endpoints));
            ipam.insert("etcd_prefix".to_owned(), json!(site.prefix));
            ipam.insert("log_file".to_owned(), json!(self.folder.path().join("log")));
            if ipam.get("datastore") == Some(&json!("local")) {
                ipam.insert("local_path".to_owned(), json!(local_path()));
            }
        }
        let program = program(&plugin);
        let versions = Call::new()
            .program(program)
            .variable("CNI_COMMAND", "VERSION")
            .stdin(r#"{"cniVersion": "1.0.0"}"#)
            .run()
            .result();
        let versions = versions["supportedVersions"].as_array().expect("a list");
        if !versions.contains(&plugin["cniVersion"]) {
            plugin["cniVersion"] = versions.last().expect("a version").clone();
        }
        plugin
    }
}

/// The file of an example with `datastore: local`: where a network configuration may name one, and of this test alone.
fn local_path() -> String {
    format!("/var/lib/whereabouts/test-{}.db", std::process::id())
}

/// The file of such an example goes with the test.
impl Drop for Node {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(local_path() + end);
        }
    }
}

fn program(plugin: &Value) -> String {
    let name = plugin["type"].as_str().expect("a plugin has a type");
    format!("{REFERENCE_PLUGINS}/{name}")
}

fn call(plugin: &Value, verb: &str, pod: &Pod, previous: &Value) -> Answer {
    let mut config = plugin.clone();
    if !previous.is_null() {
        config["prevResult"] = previous.clone();
    }
    let path = format!("{}:{REFERENCE_PLUGINS}", Call::folder().display());
    Call::new()
        .program(program(plugin))
        .variable("CNI_COMMAND", verb)
        .variable("CNI_CONTAINERID", &pod.container)
        .variable("CNI_NETNS", &pod.netns)
        .variable("CNI_IFNAME", &pod.interface)
        .variable("CNI_ARGS", format!("IgnoreUnknown=1;{}", pod.arguments))
        .variable("CNI_PATH", path)
        // portmap and the masquerade of bridge execute iptables.
        .variable("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(config.to_string())
        .run()
}

/// That every example serves pods on a node of its own.
fn check(examples: &[Example]) {
    let plugins = examples.iter().flat_map(|example| &example.plugins);
    let masters = plugins.filter_map(|plugin| plugin["master"].as_str());
    let links = masters.chain(["eth0"]).map(str::to_owned).collect();
    let namespace = Namespace::create();
    let on_the_node = || {
        let file = File::open(namespace.path()).expect("it was made");
        let network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(file.as_fd(), network).expect("this is root");
        let node = Node::prepare(&links);
        for (number, example) in examples.iter().enumerate() {
            node.check(number, example);
        }
    };
    // A thread of its own: a network namespace is a thread's.
    let checked = thread::scope(|scope| scope.spawn(on_the_node).join());
    checked.unwrap_or_else(|panic| panic::resume_unwind(panic));
}

#[test]
fn every_sample_serves_pods_with_the_real_plugins() {
    let samples = samples();
    assert!(samples.len() >= 5, "{}", samples.len());
    check(&samples);
}

#[test]
fn every_example_of_the_documents_serves_pods_with_the_real_plugins() {
    let documents = ["README.md", "docs/CONFIG.md"];
    let examples: Vec<Example> = documents.into_iter().flat_map(examples).collect();
    assert!(examples.len() >= 8, "{}", examples.len());
    check(&examples);
}

#[test]
fn the_plugins_that_a_sample_needs_are_named_beside_it() {
    let page = text(&top().join("deploy/README.md"));
    for sample in samples() {
        let name = Path::new(&sample.origin).file_name().expect("a file");
        let name = name.to_str().expect("a name is text");
        let row = page.lines().find(|line| line.contains(name));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the page"));
        for plugin in sample.types() {
            assert!(row.contains(&format!("`{plugin}`")), "{name}: {plugin}");
        }
    }
}
