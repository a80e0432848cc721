//! The network configuration. It hands each key to the module that reads it.

use std::path::PathBuf;

use super::error::RequestError;
use super::findings::Findings;
use super::json::{Node, Object};
use super::{
    LogLevel, behaviour, datastore, flat_file, identity, plan, previous, ranges, static_parts,
    sticky, tracing,
};
use crate::invocation::{Invocation, Machine};
use whereabouts_core::address::Name;

/// Keys of the ancestor without a meaning here. They configure locks, stores and jobs that this
/// plugin does not have.
const MEANINGLESS: [&str; 5] = [
    "leader_lease_duration",
    "leader_renew_deadline",
    "leader_retry_period",
    "reconciler_cron_expression",
    "sleep_for_race",
];

/// Keys of `host-local`, with the keys of the same meaning here.
const OF_HOST_LOCAL: [(&str, &str); 2] = [("subnet", "range"), ("ranges", "ipRanges")];

/// A network configuration. Its keys are known by name, but not yet read.
pub(super) struct Config {
    /// `name`
    pub(super) network: Name,
    /// Whether the runtime hands addresses or ranges over that a pod requests. It gives them to ADD alone.
    pub(super) runtime_gives: bool,
    /// `prevResult`
    pub(super) previous: Option<Node>,
    /// The attachments in use.
    pub(super) valid_attachments: previous::Valid,
    /// The folders of the files beside the flat file.
    pub(super) directories: Vec<PathBuf>,
    /// The node's name. Its error is reported in its turn.
    pub(super) node: Result<Option<String>, RequestError>,
    /// `boot_id_path`
    pub(super) boot: Option<Node>,
    /// `cluster_id`
    pub(super) cluster_id: Option<Node>,
    pub(super) datastore: datastore::Raw,
    pub(super) behaviour: behaviour::Raw,
    pub(super) sticky: sticky::Raw,
    pub(super) ranges: ranges::Raw,
    pub(super) requested: plan::Raw,
    pub(super) static_parts: static_parts::Raw,
}

impl Config {
    /// Takes the keys out of `config`, merged with those of the flat file. It reports unknown keys
    /// of `ipam`; other unknown keys of the config belong to other plugins. The settings of logging
    /// and tracing go to `findings` at once, so later errors are also logged and traced.
    pub(super) fn take(
        mut config: Object,
        invocation: &Invocation,
        machine: &dyn Machine,
        findings: &mut Findings,
    ) -> Result<Self, RequestError> {
        let name = config.needed_text("name")?;
        let network = Name::new(&name.text).map_err(|error| name.wrong(error))?;
        let ipam = config
            .take("ipam")
            .ok_or_else(|| RequestError::MissingKey {
                key: "ipam".to_owned(),
                reason: "it configures the addresses".to_owned(),
            })?;
        let mut ipam = ipam.object()?;
        let merged = flat_file::merge(&mut ipam, machine, findings)?;
        findings.logging = behaviour::logging(&mut ipam, merged.log_file, findings)?;
        findings.metrics_socket = tracing::socket(&mut ipam, "metrics_socket", findings)?;
        findings.tracing = tracing::tracing(&mut ipam, merged.otlp_endpoint, invocation, findings)?;
        let node = ipam.take("node_name");
        let node = identity::node_name(node, &merged.directories, machine, findings);
        if let (Some(tracing), Ok(node)) = (&mut findings.tracing, &node) {
            tracing.node.clone_from(node);
        }
        for error in merged.refused {
            findings.tolerate::<()>(Err(error))?;
        }

        let runtime_gives = findings.tolerate(takes_addresses_from_runtime(&mut config))?;
        let runtime = object_or_none(config.take("runtimeConfig"));
        let mut runtime = findings.tolerate(runtime)?;
        let args = object_or_none(config.take("args"));
        let args = args.and_then(|mut args| object_or_none(args.take("cni")));
        let mut args = findings.tolerate(args)?;
        take_host_locals_keys(&mut ipam, findings)?;
        let taken = Self {
            network,
            runtime_gives,
            previous: config.take("prevResult"),
            valid_attachments: previous::Valid::take(&mut config),
            directories: merged.directories,
            node,
            boot: ipam.take("boot_id_path"),
            cluster_id: ipam.take("cluster_id"),
            datastore: datastore::Raw::take(&mut ipam),
            behaviour: behaviour::Raw::take(&mut ipam),
            sticky: sticky::Raw::take(&mut ipam),
            ranges: ranges::Raw::take(&mut config, &mut ipam, &mut runtime),
            requested: plan::Raw::take(&mut args, &mut runtime),
            static_parts: static_parts::Raw::take(&mut ipam, &mut runtime),
        };
        take_ancestors_keys(&mut ipam, findings)?;
        ipam.finish(findings)?;
        Ok(taken)
    }
}

/// Takes out the keys that give `host-local` its ranges. They are an error if no other key gives a
/// range.
fn take_host_locals_keys(ipam: &mut Object, findings: &mut Findings) -> Result<(), RequestError> {
    let has_range = OF_HOST_LOCAL.iter().any(|(_, known)| ipam.has(known));
    for (key, known) in OF_HOST_LOCAL {
        let Some(node) = ipam.take(key) else { continue };
        let error = RequestError::OfHostLocal {
            key: node.key().to_owned(),
            known,
        };
        if has_range {
            findings.remark(LogLevel::Warn, format!("ignored: {error}"));
        } else {
            findings.tolerate::<()>(Err(error))?;
        }
    }
    Ok(())
}

pub(super) fn object_or_none(node: Option<Node>) -> Result<Object, RequestError> {
    Ok(node.map(Node::object).transpose()?.unwrap_or_default())
}

/// Takes out the keys without a meaning: the type, which started this plugin, and the ancestor's.
fn take_ancestors_keys(ipam: &mut Object, findings: &mut Findings) -> Result<(), RequestError> {
    let kind = ipam.text("type").map(|_| ());
    findings.tolerate(kind)?;
    if let Some(node) = ipam.take("node_slice_size") {
        let text = format!(
            "{} is ignored: nodes have no slices, each address is taken from the whole range",
            node.key()
        );
        findings.remark(LogLevel::Warn, text);
    }
    for key in MEANINGLESS {
        if let Some(node) = ipam.take(key) {
            let text = format!("{} has no meaning here, ignored", node.key());
            findings.remark(LogLevel::Debug, text);
        }
    }
    Ok(())
}

/// Whether the runtime hands addresses or ranges over that a pod requests.
fn takes_addresses_from_runtime(config: &mut Object) -> Result<bool, RequestError> {
    let mut capabilities = object_or_none(config.take("capabilities"))?;
    for key in ["ips", "ipRanges"] {
        if let Some(node) = capabilities.take(key)
            && node.flag()?
        {
            return Ok(true);
        }
    }
    Ok(false)
}
