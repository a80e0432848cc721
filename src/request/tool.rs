//! How an operator's tool reaches etcd and a collector: as the keys of the config say it, without a
//! verb.

use super::error::RequestError;
use super::findings::Findings;
use super::{Access, Collector, Remark, access, flat_file, json, tracing};
use crate::invocation::{Invocation, Machine};

/// How `keys`, the JSON of an object as `ipam` is one, says that etcd is reached. Where it leaves a
/// key out, the flat file says it, as for the plugin.
pub fn access_from(
    keys: &[u8],
    machine: &dyn Machine,
) -> Result<(Access, Vec<Remark>), RequestError> {
    let mut findings = Findings::new();
    let mut keys = json::object(keys, "the options", "")?;
    flat_file::merge(&mut keys, machine, &mut findings)?;
    let access = access::Raw::take(&mut keys).read(machine, &mut findings)?;
    Ok((access, findings.remarks))
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
