//! What an operator's tool asks of configs and of this machine, without a verb: how etcd and a
//! collector are reached, and what is wrong with a config.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::config::Config;
use super::env::Verb;
use super::error::RequestError;
use super::findings::{Findings, Tolerance};
use super::plan::{Plan, Sources};
use super::ranges::SpokenFor;
use super::{
    CniVersion, Collector, Datastore, LogLevel, Remark, Route, datastore, flat_file, identity,
    json, previous, tracing,
};
use crate::invocation::{Invocation, Machine};
use whereabouts_core::address::{Address, Name, Range};
use whereabouts_core::identity::Identity;
use whereabouts_core::verbs::ValidAttachment;

/// The datastore that `keys` name, the JSON of an object as `ipam` is one, and the cluster of this node.
/// Where it leaves a key out, the flat file says it, as for the plugin.
pub fn datastore_from(
    keys: &[u8],
    machine: &dyn Machine,
) -> Result<(Datastore, Option<Identity>, Vec<Remark>), RequestError> {
    let mut findings = Findings::new();
    let mut keys = json::object(keys, "the options", "")?;
    let directories = flat_file::merge_for_operator(&mut keys, machine, &mut findings)?;
    let datastore = datastore::Raw::take(&mut keys).read(machine, &mut findings)?;
    let cluster = keys.take("cluster_id");
    let cluster = identity::cluster(cluster, &directories, machine)?;
    Ok((datastore, cluster, findings.remarks))
}

/// The collector at `endpoint`, written as in `otlp_endpoint`; without one, the collector that
/// OpenTelemetry's variables name. The error continues "`<endpoint>`".
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

/// The attachments in use, as `config` lists them for GC; `None` when it has no list.
pub fn valid_attachments(config: &[u8]) -> Result<Option<BTreeSet<ValidAttachment>>, RequestError> {
    previous::Valid::take(&mut json::object(config, "the config", "")?).read()
}

/// Whether the plugin takes the file `nodename` with this text for a node's name, as it is.
pub fn check_node_name(text: &str) -> Result<(), &'static str> {
    match identity::in_file(text)? {
        None => Err("is what a host without a name has"),
        Some(name) if name != text => Err("begins or ends with a space"),
        Some(_) => Ok(()),
    }
}

/// The name of this node, as the plugin finds it with a config that does not give one.
pub fn node_name(machine: &dyn Machine) -> Option<String> {
    let directories = flat_file::DIRECTORIES.map(Into::into);
    // Only a configured name can be wrong.
    identity::node_name(None, &directories, machine, &mut Findings::new()).unwrap_or_default()
}

/// What is to be said of a config.
#[derive(Debug)]
pub struct Linted {
    /// The network.
    pub network: Name,
    /// Its version.
    pub version: CniVersion,
    /// The ranges that make sense.
    pub ranges: Vec<Range>,
    /// The subnet of each address that ADD answers, and the gateway of that address. Without
    /// a plan, because of an error, there is none.
    pub answered: Vec<(IpNet, Option<Address>)>,
    /// The routes that ADD answers.
    pub routes: Vec<Route>,
    /// The datastore as seen from here. It is for the nodes to know: a key may stand in their
    /// flat file, a certificate may be there alone.
    pub datastore: Result<Datastore, RequestError>,
    /// Everything else that was found; what fails an ADD is of level error.
    pub remarks: Vec<Remark>,
}

/// Looks at `config`, a network configuration as a runtime gives it to the plugin, as ADD does, but
/// goes on after an error where it can.
pub fn lint(config: &[u8], machine: &dyn Machine) -> Result<Linted, RequestError> {
    let mut findings = Findings::new();
    findings.tolerance = Tolerance::Collecting;
    let mut config = json::object(config, "the config", "")?;
    findings.version = CniVersion::take(&mut config)?;
    // It is a runtime's environment that matters, not the one of whoever lints.
    let invocation = Invocation {
        variables: BTreeMap::new(),
        program: String::new(),
        stdin: Ok(Vec::new()),
    };
    let config = Config::take(config, &invocation, machine, &mut findings)?;
    let network = config.network;
    let datastore = config.datastore.read(machine, &mut findings);
    config.behaviour.read(Verb::Add, &mut findings)?;
    let parts = config.static_parts.read(&mut findings)?;
    let requested = config.requested.read(Vec::new(), &mut findings)?;
    let spoken_for = SpokenFor::new(&parts.addresses, &requested, &[]);
    let ranges = config.ranges.read(spoken_for, &mut findings)?.ranges;
    let sources = Sources {
        ranges: &ranges,
        requested,
        configured: parts.addresses,
        gateways: Vec::new(),
    };
    let is_clean = !findings.remarks.iter().any(is_error);
    let version = findings.version;
    let plan = sources.plan(&mut findings);
    let plan = plan.and_then(|plan| plan.check_version(version).map(|()| plan));
    // Without a range because of an error, it would only say so again.
    let plan = if is_clean {
        findings.tolerate(plan)?
    } else {
        plan.unwrap_or_default()
    };
    let node = identity::node_name(config.node_name, &[], machine, &mut findings);
    findings.tolerate(node)?;
    findings.tolerate(identity::cluster(config.cluster_id, &[], machine))?;
    Ok(Linted {
        network,
        version,
        answered: answered(&plan),
        routes: parts.routes,
        ranges: ranges.into_iter().map(|one| one.range).collect(),
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
