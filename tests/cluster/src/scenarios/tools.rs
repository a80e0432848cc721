//! CNI's own tools: cnitool and the reference plugins of the current releases, without Kubernetes.

use serde_json::{Value, json};

use super::expect;
use crate::judge::{count_of, network_has};
use crate::lab::{Lab, NODES};

/// The reference plugins that are tried, each with a network of two addresses.
const PLUGINS: [(&str, &str); 3] = [
    ("bridge", "10.59.0."),
    ("macvlan", "10.59.1."),
    ("ptp", "10.59.2."),
];

/// ADD, CHECK, STATUS, DEL and GC of each reference plugin.
pub(super) fn cni_tools(lab: &Lab) -> Result<(), String> {
    // A cable of which nobody else makes macvlan interfaces.
    node(
        lab,
        "mkdir -p /run/tool; ip link add cable type veth peer name cable-end; ip link set cable up",
    )?;
    for container in CONTAINERS {
        node(lab, &format!("ip netns add {container}"))?;
    }
    for (plugin, prefix) in PLUGINS {
        every_verb(lab, plugin, prefix).map_err(|reason| format!("{plugin}: {reason}"))?;
    }
    gc_of_a_null_list(lab)?;
    for container in CONTAINERS {
        node(lab, &format!("ip netns del {container}"))?;
    }
    node(lab, "ip link del cable; ip link del tool-bridge")
}

const CONTAINERS: [&str; 3] = ["tool-1", "tool-2", "tool-3"];

fn every_verb(lab: &Lab, plugin: &str, prefix: &str) -> Result<(), String> {
    let tool = |verb: &str, container: &str| cnitool(lab, verb, plugin, container);
    write_config(lab, plugin, &interface(plugin, prefix))?;
    tool("status", "tool-1")?;
    for container in &CONTAINERS[..2] {
        tool("add", container)?;
        tool("check", container)?;
    }
    network_has(lab, plugin, prefix, 2)?;
    refused("an ADD of a full range", tool("add", "tool-3"), "is full")?;
    // As a runtime does after an ADD that failed: the bridge plugin leaves its interface.
    tool("del", "tool-3")?;
    refused("STATUS of a full range", tool("status", "tool-1"), "full")?;
    tool("del", "tool-1")?;
    refused("CHECK after DEL", tool("check", "tool-1"), "")?;
    network_has(lab, plugin, prefix, 1)?;
    tool("del", "tool-1")?;
    tool("add", "tool-3")?;
    network_has(lab, plugin, prefix, 2)?;
    // To cnitool no attachment is valid: libcni sends DEL for each that it knows, and GC.
    tool("gc", "tool-1")?;
    network_has(lab, plugin, prefix, 0)
}

/// libcni writes an empty list of valid attachments as `null`. The reference plugins pass no GC on, so the plugin is called
/// as the runtime of a network without an interface would.
fn gc_of_a_null_list(lab: &Lab) -> Result<(), String> {
    let own =
        json!({"type": "whereabouts", "ipam": {"type": "whereabouts", "range": "10.59.3.0/29"}});
    write_config(lab, "alone", &own)?;
    cnitool(lab, "add", "alone", "tool-1")?;
    expect("claims before a GC", count_of(lab, "alone")?, 1)?;
    let mut config = own;
    config["cniVersion"] = json!("1.1.0");
    config["name"] = json!("alone");
    config["cni.dev/valid-attachments"] = Value::Null;
    config["cni.dev/attachments"] = Value::Null;
    let gc = "CNI_COMMAND=GC CNI_PATH=/opt/cni/bin /opt/cni/bin/whereabouts";
    node(lab, &format!("{gc} <<< '{config}'"))?;
    expect(
        "claims after a GC of a null list",
        count_of(lab, "alone")?,
        0,
    )
}

/// Two addresses of a network with a gateway, which ptp needs.
fn interface(plugin: &str, prefix: &str) -> Value {
    let mut config = json!({
        "type": plugin,
        "ipam": {
            "type": "whereabouts",
            "range": format!("{prefix}0/29"),
            "range_start": format!("{prefix}2"),
            "range_end": format!("{prefix}3"),
            "gateway": format!("{prefix}1"),
        },
    });
    match plugin {
        "bridge" => config["bridge"] = json!("tool-bridge"),
        "macvlan" => config["master"] = json!("cable"),
        _ => {}
    }
    config
}

fn write_config(lab: &Lab, network: &str, plugin: &Value) -> Result<(), String> {
    let list = json!({"cniVersion": "1.1.0", "name": network, "plugins": [plugin]});
    node(lab, &format!("echo '{list}' >/run/tool/{network}.conflist"))
}

fn cnitool(lab: &Lab, verb: &str, network: &str, container: &str) -> Result<(), String> {
    let call = format!("cnitool {verb} {network} /run/netns/{container} 2>&1");
    node(
        lab,
        &format!("CNI_PATH=/opt/cni/bin NETCONFPATH=/run/tool {call}"),
    )
}

fn refused(what: &str, ended: Result<(), String>, reason: &str) -> Result<(), String> {
    match ended {
        Err(told) if told.contains(reason) => Ok(()),
        Err(told) => Err(format!("{what} does not tell {reason:?}: {told}")),
        Ok(()) => Err(format!("{what} succeeds")),
    }
}

fn node(lab: &Lab, lines: &str) -> Result<(), String> {
    lab.script(NODES[0], lines).map(drop)
}
