//! Network configurations and attachments, in the making.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use super::{Answer, Call};
use crate::support::etcd::Cluster;

/// The `timeout` of configs whose verbs must end early, in seconds. A quarter of it is for leaving
/// in good order, which is enough on a busy machine too.
pub(crate) const TIMEOUT_S: u64 = 4;

/// A folder in which a network configuration may name a log file.
pub(crate) fn log_folder() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("whereabouts-")
        .tempdir_in("/tmp");
    folder.expect("a temporary folder")
}

/// A flat file of the node's own, which a network configuration may name.
pub(crate) fn node_file(keys: &Value) -> NamedTempFile {
    let file = tempfile::Builder::new()
        .prefix("whereabouts-")
        .tempfile_in("/etc")
        .expect("tests run as root");
    fs::write(file.path(), keys.to_string()).expect("it is ours");
    file
}

/// A network configuration. It keeps its etcd running, if it has one.
#[derive(Clone)]
pub(crate) struct Network {
    config: Value,
    _etcd: Option<Arc<Cluster>>,
}

impl Network {
    /// The network `net` of the newest version on the node `node-1`, with etcd below `prefix`.
    pub(crate) fn new(etcd: &Arc<Cluster>, prefix: &str) -> Self {
        let network = Self::plain(Some(Arc::clone(etcd)));
        network.ipam(json!({
            "node_name": "node-1", "etcd_host": etcd.access().endpoints, "etcd_prefix": prefix,
        }))
    }

    /// The network `net` of the newest version on a node whose flat file is at `path`.
    pub(crate) fn of_node(path: &Path) -> Self {
        Self::plain(None).ipam(json!({"configuration_path": path}))
    }

    fn plain(etcd: Option<Arc<Cluster>>) -> Self {
        let config = json!({
            "cniVersion": "1.1.0",
            "name": "net",
            "type": "bridge",
            "ipam": {"type": "whereabouts"},
        });
        Self {
            config,
            _etcd: etcd,
        }
    }

    /// With these keys of `ipam` set; `null` removes one.
    pub(crate) fn ipam(mut self, keys: Value) -> Self {
        set(&mut self.config["ipam"], keys);
        self
    }

    /// With these keys of the config set; `null` removes one.
    pub(crate) fn config(mut self, keys: Value) -> Self {
        set(&mut self.config, keys);
        self
    }

    /// In another version of CNI.
    pub(crate) fn version(self, version: &str) -> Self {
        self.config(json!({"cniVersion": version}))
    }

    /// The config.
    pub(crate) fn json(&self) -> String {
        self.config.to_string()
    }

    /// A call for one attachment.
    pub(crate) fn call(&self, verb: &str, pod: &Pod) -> Call {
        self.call_without_pod(verb)
            .variable("CNI_CONTAINERID", &pod.container)
            .variable("CNI_NETNS", &pod.netns)
            .variable("CNI_IFNAME", &pod.interface)
            .variable("CNI_ARGS", &pod.arguments)
    }

    /// A call that is about no attachment.
    pub(crate) fn call_without_pod(&self, verb: &str) -> Call {
        Call::new()
            .variable("CNI_COMMAND", verb)
            .variable("CNI_PATH", "/opt/cni/bin")
            .stdin(self.json())
    }

    /// ADD.
    pub(crate) fn add(&self, pod: &Pod) -> Answer {
        self.call("ADD", pod).run()
    }

    /// DEL, without a network namespace, as after a reboot.
    pub(crate) fn del(&self, pod: &Pod) -> Answer {
        self.call("DEL", pod).variable("CNI_NETNS", "").run()
    }

    /// CHECK of what an ADD has answered.
    pub(crate) fn check(&self, pod: &Pod, previous: &Value) -> Answer {
        let network = self.clone().config(json!({"prevResult": previous}));
        network.call("CHECK", pod).run()
    }

    /// GC with a list of valid attachments, or without one.
    pub(crate) fn gc(&self, valid: Option<&[&Pod]>) -> Answer {
        let entry = |pod: &&Pod| json!({"containerID": pod.container, "ifname": pod.interface});
        let list = valid.map(|pods| pods.iter().map(entry).collect::<Vec<_>>());
        let network = self
            .clone()
            .config(json!({"cni.dev/valid-attachments": list}));
        network.call_without_pod("GC").run()
    }

    /// STATUS.
    pub(crate) fn status(&self) -> Answer {
        self.call_without_pod("STATUS").run()
    }
}

fn set(object: &mut Value, keys: Value) {
    let object = object.as_object_mut().expect("a config is an object");
    let Value::Object(keys) = keys else {
        panic!("keys are an object")
    };
    object.extend(keys);
    object.retain(|_, value| !value.is_null());
}

/// An attachment, as a runtime names it.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    /// `CNI_CONTAINERID`
    pub(crate) container: String,
    /// `CNI_IFNAME`
    pub(crate) interface: String,
    /// `CNI_NETNS`
    pub(crate) netns: String,
    /// `CNI_ARGS`
    pub(crate) arguments: String,
}

impl Pod {
    /// `eth0` of a container, in a network namespace that nobody has made.
    pub(crate) fn new(container: &str) -> Self {
        Self {
            container: container.to_owned(),
            interface: "eth0".to_owned(),
            netns: format!("/run/netns/{container}"),
            arguments: format!("K8S_POD_NAMESPACE=space;K8S_POD_NAME=pod-{container}"),
        }
    }

    /// Another interface of it.
    pub(crate) fn interface(mut self, name: &str) -> Self {
        name.clone_into(&mut self.interface);
        self
    }

    /// With more in `CNI_ARGS`.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments = format!("{};{argument}", self.arguments);
        self
    }
}

/// So many attachments.
pub(crate) fn pods(count: usize) -> Vec<Pod> {
    (0..count)
        .map(|number| Pod::new(&format!("c{number}")))
        .collect()
}
