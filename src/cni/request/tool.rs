//! The questions of an operator's tool about configs and about this machine, without a verb: the
//! access to etcd and to a collector, and the errors of a config.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::config::Config;
use super::env::Verb;
use super::error::RequestError;
use super::findings::{Findings, Tolerance};
use super::plan::{Plan, RANGE, Sources};
use super::ranges::SpokenFor;
use super::{
    CniVersion, Collector, Datastore, LogLevel, Remark, Route, datastore, flat_file, identity,
    json, previous, tracing,
};
use crate::invocation::{Invocation, Machine};
use whereabouts_core::address::{Address, Name, Range};
use whereabouts_core::identity::Identity;
use whereabouts_core::verbs::ValidAttachment;

/// Whether the flat file of this node, in its usual place, names a datastore.
pub fn usual_flat_file(machine: &dyn Machine) -> Result<bool, RequestError> {
    flat_file::names_datastore(machine)
}

/// The datastore and the cluster of this node, from `keys`: the JSON of an object like `ipam`. If the keys name no
/// datastore, the flat file completes them.
pub fn datastore_from(
    keys: &[u8],
    machine: &dyn Machine,
) -> Result<(Datastore, Option<Identity>, Vec<Remark>), RequestError> {
    let mut findings = Findings::new();
    let mut keys = json::object(keys, "the options", "")?;
    let directories = flat_file::merge_for_operator(&mut keys, machine, &mut findings)?;
    let datastore = datastore::Raw::take(&mut keys);
    let datastore = datastore.read(&directories, machine, &mut findings)?;
    let cluster = keys.take("cluster_id");
    let cluster = identity::cluster(cluster, &directories, machine)?;
    Ok((datastore, cluster, findings.remarks))
}

/// The collector at `endpoint`, in the notation of `otlp_endpoint`. Without an endpoint,
/// OpenTelemetry's variables name the collector. The text of the error continues "`<endpoint>`".
pub fn collector_from(
    endpoint: Option<&str>,
    invocation: &Invocation,
) -> Result<(Option<Collector>, Vec<Remark>), String> {
    let mut findings = Findings::new();
    let url = match endpoint.map(tracing::collector_url) {
        Some(url) => Some(url.map_err(|error| error.to_string())?),
        None => tracing::inherited_endpoint(invocation, &mut findings),
    };
    let collector = url.map(|url| Collector {
        url,
        headers: tracing::headers(invocation, &mut findings),
    });
    Ok((collector, findings.remarks))
}

/// The attachments in use, in the list of `config` for GC; `None` without a list.
pub fn valid_attachments(config: &[u8]) -> Result<Option<BTreeSet<ValidAttachment>>, RequestError> {
    previous::Valid::take(&mut json::object(config, "the config", "")?).read()
}

/// Checks that the plugin accepts this text of the file `nodename` unchanged as a node's name.
pub fn check_node_name(text: &str) -> Result<(), &'static str> {
    match identity::in_file(text)? {
        None => Err("is the name of a host that nobody has named"),
        Some(name) if name != text => Err("begins or ends with a space"),
        Some(_) => Ok(()),
    }
}

/// The name of this node, as the plugin finds it with a config without a name.
pub fn node_name(machine: &dyn Machine) -> Option<String> {
    let directories = flat_file::DIRECTORIES.map(Into::into);
    // Only a configured name can be wrong.
    identity::node_name(None, &directories, machine, &mut Findings::new()).unwrap_or_default()
}

/// The findings about a config.
#[derive(Debug)]
pub struct Linted {
    /// The network.
    pub network: Name,
    /// The version of the config.
    pub version: CniVersion,
    /// The valid ranges.
    pub ranges: Vec<Range>,
    /// The subnet and the gateway of each address that ADD answers. Empty if an error prevents a
    /// plan.
    pub answered: Vec<(IpNet, Option<Address>)>,
    /// The routes that ADD answers.
    pub routes: Vec<Route>,
    /// The datastore, as seen from this machine. The nodes may see another one: a key may be in
    /// their flat file, and a certificate may exist only there.
    pub datastore: Result<Datastore, RequestError>,
    /// All other findings. A finding that makes ADD fail has level error.
    pub remarks: Vec<Remark>,
}

/// Reads `config`, a network configuration as a runtime gives it to the plugin. It reads like ADD,
/// but goes on after an error if possible.
pub fn lint(config: &[u8], machine: &dyn Machine) -> Result<Linted, RequestError> {
    let mut findings = Findings::new();
    findings.tolerance = Tolerance::Collecting;
    let mut config = json::object(config, "the config", "")?;
    findings.version = CniVersion::take(&mut config)?;
    // The environment of a runtime matters, not that of the linter.
    let invocation = Invocation {
        variables: BTreeMap::new(),
        program: String::new(),
        stdin: Ok(Vec::new()),
    };
    let config = Config::take(config, &invocation, machine, &mut findings)?;
    let network = config.network;
    let runtime_gives = config.runtime_gives;
    let datastore = config.datastore;
    let datastore = datastore.read(&config.directories, machine, &mut findings);
    config.behaviour.read(Verb::Add, &mut findings)?;
    config.sticky.read(&mut findings)?;
    let parts = config.static_parts.read(&mut findings)?;
    let requested = config.requested.read(Vec::new(), &mut findings)?;
    let spoken_for = SpokenFor::new(&parts.addresses, &requested, &[]);
    let ranges = config.ranges.read(spoken_for, &mut findings)?;
    let sources = Sources {
        ranges: &ranges.valid,
        requested,
        configured: parts.addresses,
        gateways: Vec::new(),
        forbidden: &ranges.gateways,
    };
    let is_clean = !findings.remarks.iter().any(is_error);
    let version = findings.version;
    let plan = sources.plan(&mut findings);
    let plan = plan.and_then(|plan| plan.check_version(version).map(|()| plan));
    let plan = match plan {
        Err(RequestError::MissingKey { key, .. }) if key == RANGE && runtime_gives => {
            let text = format!("{key} is missing: only a pod that requests addresses gets any");
            findings.remark(LogLevel::Warn, text);
            Plan::default()
        }
        // If the ranges have errors, the plan would only repeat that a range is missing.
        plan if !is_clean => plan.unwrap_or_default(),
        plan => findings.tolerate(plan)?,
    };
    findings.tolerate(config.node)?;
    findings.tolerate(identity::cluster(config.cluster_id, &[], machine))?;
    Ok(Linted {
        network,
        version,
        answered: answered(&plan),
        routes: parts.routes,
        ranges: ranges.valid.into_iter().map(|one| one.range).collect(),
        datastore,
        remarks: findings.remarks,
    })
}

fn answered(plan: &Plan) -> Vec<(IpNet, Option<Address>)> {
    let cidrs = plan.wants.iter().map(|want| want.range.cidr);
    let reserved = cidrs.zip(plan.gateways.iter().copied());
    let stated = plan.statics.iter().map(|one| (one.address, one.gateway));
    reserved.chain(stated).collect()
}

fn is_error(remark: &Remark) -> bool {
    matches!(remark.level, LogLevel::Panic | LogLevel::Error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::fake::FakeMachine;

    fn check(ipam: &str, ranges: &[&str], errors: &[&str]) {
        let config = format!(r#"{{"name": "net", "type": "x", "ipam": {ipam}}}"#);
        let linted = lint(config.as_bytes(), &FakeMachine::default()).expect("it can be read");
        let found: Vec<String> = linted
            .ranges
            .iter()
            .map(|range| range.cidr().to_string())
            .collect();
        assert_eq!(found, ranges, "{ipam}");
        let found: Vec<&Remark> = linted.remarks.iter().filter(|one| is_error(one)).collect();
        assert_eq!(found.len(), errors.len(), "{found:?}");
        for (found, part) in found.iter().zip(errors) {
            assert!(found.text.contains(part), "{found:?}");
        }
    }

    #[test]
    fn all_errors_of_a_config_are_found_and_what_makes_sense_is_kept() {
        check(r#"{"range": "10.0.0.0/24"}"#, &["10.0.0.0/24"], &[]);
        check(
            r#"{"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "x"}, {"range": "fd00::/64"}],
                "rangeStart": "10.0.0.1", "log_level": "loud", "timeout": 0}"#,
            &["10.0.0.0/24", "fd00::/64"],
            &["log_level", "rangeStart", "timeout", "ipRanges[1].range"],
        );
        check("{}", &[], &["ipam.range"]);
    }

    #[test]
    fn a_config_without_etcd_has_ranges_all_the_same() {
        let config = br#"{"name": "net", "ipam": {"range": "10.0.0.0/30"}}"#;
        let linted = lint(config, &FakeMachine::default()).expect("it can be read");
        assert_eq!(linted.ranges[0].size(), 2);
        let error = linted.datastore.expect_err("nothing says where etcd is");
        assert!(error.details().contains("etcd_host"), "{error}");
    }
}
