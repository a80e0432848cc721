//! Where Kubernetes resources carry network configurations: the schemas of their owners.
//!
//! | resource | where its schema is |
//! | --- | --- |
//! | NetworkAttachmentDefinition | k8snetworkplumbingwg/network-attachment-definition-client, and Multus for what an empty `config` means |
//! | MacvlanNetwork, HostDeviceNetwork, IPoIBNetwork | Mellanox/network-operator: `api/v1alpha1`, `manifests/state-*-network` |
//! | SriovNetwork, SriovIBNetwork, OVSNetwork | k8snetworkplumbingwg/sriov-network-operator: `api/v1`, `bindata/manifests/cni-config` |
//! | Network (`operator.openshift.io`) | openshift/cluster-network-operator: `pkg/network/additional_networks.go`, `multus_ipam.go` |
//! | ConfigMap | files of a node's `/etc/cni/net.d`, as the manifests of flannel and Multus carry them |
//! | List, and lists of one kind | Kubernetes |

use serde_json::{Map, Value, json};

use crate::output::tree::Tree;

/// A configuration that a document carries, or why there is none.
pub(crate) struct Carried {
    /// Kind, namespace and name of the resource that carries it.
    pub(crate) object: Option<String>,
    /// It.
    pub(crate) content: Content,
    /// The paths of keys that stand twice in the resource or in the configuration.
    pub(crate) repeated: Vec<String>,
}

/// The content of a resource.
pub(crate) enum Content {
    /// A network configuration, or a list of plugins.
    Config(Value),
    /// Nothing, and why it does not.
    Nothing(String),
    /// A network that the owner of the resource refuses, and why.
    Wrong(String),
    /// A text that is no configuration, and why.
    Unread(String),
}

/// A resource of an operator that makes a NetworkAttachmentDefinition of it.
struct Operator {
    kind: &'static str,
    /// The plugin of its configuration.
    plugin: &'static str,
    /// The configuration's version.
    version: &'static str,
    /// Keys of `spec` that the configuration has, too.
    keys: &'static [&'static str],
}

const OPERATORS: [Operator; 6] = [
    Operator {
        kind: "MacvlanNetwork",
        plugin: "macvlan",
        version: "0.3.1",
        keys: &["master", "mode", "mtu"],
    },
    Operator {
        kind: "HostDeviceNetwork",
        plugin: "host-device",
        version: "0.3.1",
        keys: &[],
    },
    Operator {
        kind: "IPoIBNetwork",
        plugin: "ipoib",
        version: "0.3.1",
        keys: &["master"],
    },
    Operator {
        kind: "SriovNetwork",
        plugin: "sriov",
        version: "1.0.0",
        keys: &["vlan"],
    },
    Operator {
        kind: "SriovIBNetwork",
        plugin: "ib-sriov",
        version: "1.0.0",
        keys: &[],
    },
    Operator {
        kind: "OVSNetwork",
        plugin: "ovs",
        version: "1.0.0",
        keys: &["bridge", "vlan"],
    },
];

/// All configurations of a document.
pub(crate) fn carried(tree: Tree) -> Vec<Carried> {
    let Tree { value, repeated } = tree;
    let Some(kind) = value["kind"].as_str() else {
        return match value {
            Value::Array(items) => elements("", items, repeated),
            Value::Object(_) => vec![Carried {
                object: None,
                content: Content::Config(value),
                repeated,
            }],
            _ => vec![Carried {
                object: None,
                content: Content::Unread("it is no object".to_owned()),
                repeated,
            }],
        };
    };
    if let Value::Array(items) = &value["items"] {
        return elements("items", items.clone(), repeated);
    }
    let object = Some(title(kind, &value["metadata"]));
    let spec = &value["spec"];
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    let operator = OPERATORS.iter().find(|operator| operator.kind == kind);
    let one = match (kind, operator) {
        ("NetworkAttachmentDefinition", _) => definition(&spec["config"], name),
        (_, Some(operator)) => operator.config(spec, name),
        ("Network", _) => return additional_networks(spec, object, repeated),
        ("ConfigMap", _) => return config_map(&value["data"], object, repeated),
        _ => (
            Content::Nothing("it carries no network configuration".to_owned()),
            Vec::new(),
        ),
    };
    vec![Carried::of(object, one, repeated)]
}

/// Kind, namespace and name.
fn title(kind: &str, metadata: &Value) -> String {
    let name = metadata["name"].as_str().unwrap_or("without a name");
    match metadata["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// All configurations of the elements of a list. A repeated key belongs to its element; one outside of all
/// belongs to the list.
fn elements(key: &str, items: Vec<Value>, repeated: Vec<String>) -> Vec<Carried> {
    let mut carried_by = Vec::new();
    let mut repeated = repeated;
    for (index, value) in items.into_iter().enumerate() {
        let prefix = format!("{key}[{index}].");
        let (own, others): (Vec<String>, Vec<String>) = std::mem::take(&mut repeated)
            .into_iter()
            .partition(|path| path.starts_with(&prefix));
        repeated = others;
        let own = own.iter().map(|path| path[prefix.len()..].to_owned());
        let mut element = carried(Tree {
            value,
            repeated: own.collect(),
        });
        for one in element.iter_mut().filter(|one| one.object.is_none()) {
            one.object = Some(prefix.trim_end_matches('.').to_owned());
        }
        carried_by.extend(element);
    }
    if carried_by.is_empty() || !repeated.is_empty() {
        carried_by.push(Carried {
            object: None,
            content: Content::Nothing("it is a list".to_owned()),
            repeated,
        });
    }
    carried_by
}

/// A configuration in a string, with the paths of its repeated keys below `path`.
type Read = (Content, Vec<String>);

/// The JSON in the string at `key`, which must be there.
fn embedded(text: &Value, key: &str) -> Result<Tree, Read> {
    let unread = |reason: String| (Content::Unread(format!("{key}{reason}")), Vec::new());
    let Some(text) = text.as_str() else {
        return Err(unread(": expected a string".to_owned()));
    };
    Tree::of_json(text).map_err(|error| unread(format!(" is not JSON: {error}")))
}

/// The config of a NetworkAttachmentDefinition. One without a name gets its resource's, as Multus
/// does it.
fn definition(config: &Value, name: &str) -> Read {
    if config.is_null() || config.as_str().is_some_and(|text| text.trim().is_empty()) {
        let why = format!(
            "spec.config is empty: Multus takes the configuration named {name:?} from each node's /etc/cni/multus/net.d; lint that file"
        );
        return (Content::Nothing(why), Vec::new());
    }
    named(config, "spec.config", name)
}

fn named(config: &Value, key: &str, name: &str) -> Read {
    let Tree { value, repeated } = match embedded(config, key) {
        Ok(tree) => tree,
        Err(unread) => return unread,
    };
    let Value::Object(mut config) = value else {
        return (Content::Unread(format!("{key} is no object")), repeated);
    };
    config.entry("name").or_insert_with(|| name.into());
    let content = if is_shim(&config, name) {
        let why = "a shim: it has no range, and only makes OpenShift start the reconciler of the first whereabouts; no pod can use it, and this plugin does not need it";
        Content::Nothing(why.to_owned())
    } else {
        Content::Config(config.into())
    };
    (content, repeated)
}

/// OpenShift's guide calls it `whereabouts-shim`.
fn is_shim(config: &Map<String, Value>, name: &str) -> bool {
    let ipam = &config.get("ipam").unwrap_or(&Value::Null);
    let gives = ["range", "ipRanges", "addresses"];
    name.contains("shim")
        && ipam["type"] == "whereabouts"
        && gives.iter().all(|key| ipam[key].is_null())
}

impl Operator {
    /// The configuration that the operator makes of a resource.
    fn config(&self, spec: &Value, name: &str) -> Read {
        let ipam = &spec["ipam"];
        if ipam.is_null() || ipam == "" {
            return (Content::Nothing("it has no ipam".to_owned()), Vec::new());
        }
        let Tree { value, repeated } = match embedded(ipam, "spec.ipam") {
            Ok(tree) => tree,
            Err(unread) => return unread,
        };
        let mut config = json!({
            "cniVersion": self.version, "name": name, "type": self.plugin, "ipam": value,
        });
        for key in self.keys {
            config[*key] = spec[*key].clone();
        }
        let repeated = repeated.iter().map(|path| format!("ipam.{path}"));
        (Content::Config(config), repeated.collect())
    }
}

/// The networks of OpenShift's operator.
fn additional_networks(
    spec: &Value,
    object: Option<String>,
    repeated: Vec<String>,
) -> Vec<Carried> {
    let networks = spec["additionalNetworks"].as_array();
    let Some(networks) = networks.filter(|networks| !networks.is_empty()) else {
        let nothing = Content::Nothing("it has no additionalNetworks".to_owned());
        return vec![Carried::of(object, (nothing, Vec::new()), repeated)];
    };
    let mut all: Vec<Carried> = networks
        .iter()
        .map(|network| {
            let title = title(object.as_deref().unwrap_or_default(), network);
            Carried::of(Some(title), additional_network(network), Vec::new())
        })
        .collect();
    all[0].repeated.extend(repeated);
    all
}

fn additional_network(network: &Value) -> Read {
    let nothing = |why: String| (Content::Nothing(why), Vec::new());
    let name = network["name"].as_str().unwrap_or_default();
    match network["type"].as_str().unwrap_or_default() {
        "Raw" => named(&network["rawCNIConfig"], "rawCNIConfig", name),
        "SimpleMacvlan" => {
            let ipam = &network["simpleMacvlanConfig"]["ipamConfig"]["type"];
            match ipam.as_str().unwrap_or("DHCP") {
                ipam if ipam.eq_ignore_ascii_case("whereabouts") => (
                    Content::Wrong(
                        "simpleMacvlanConfig.ipamConfig.type: a SimpleMacvlan has DHCP or Static alone; whereabouts needs type Raw"
                            .to_owned(),
                    ),
                    Vec::new(),
                ),
                ipam => nothing(format!("a SimpleMacvlan takes its addresses from {ipam}")),
            }
        }
        other => nothing(format!(
            "a network of type {other:?} has no configuration of ours"
        )),
    }
}

/// The files of a ConfigMap that are network configurations.
fn config_map(data: &Value, object: Option<String>, repeated: Vec<String>) -> Vec<Carried> {
    let data = data.as_object().into_iter().flatten();
    let mut all: Vec<Carried> = data
        .filter_map(|(key, text)| {
            let Tree { value, repeated } = Tree::of_json(text.as_str()?).ok()?;
            let is_config = value["plugins"].is_array()
                || value["type"].is_string() && value["cniVersion"].is_string();
            let object = object.as_ref().map(|object| format!("{object}: {key}"));
            is_config.then(|| Carried::of(object, (Content::Config(value), repeated), Vec::new()))
        })
        .collect();
    if all.is_empty() {
        let why = "it carries no network configuration".to_owned();
        all.push(Carried::of(
            object,
            (Content::Nothing(why), Vec::new()),
            Vec::new(),
        ));
    }
    all[0].repeated.extend(repeated);
    all
}

impl Carried {
    /// Of a resource that itself has `repeated` keys.
    fn of(object: Option<String>, (content, inner): Read, mut repeated: Vec<String>) -> Self {
        repeated.extend(inner);
        Self {
            object,
            content,
            repeated,
        }
    }
}
