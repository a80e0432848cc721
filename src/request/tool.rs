//! How an operator's tool reaches etcd: by the keys of the config, without a verb.

use super::error::RequestError;
use super::findings::Findings;
use super::{Access, Remark, access, flat_file, json};
use crate::invocation::Machine;

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
