//! One address of a range: its state, the reason why it is never given, and the whole claim.

use serde_json::{Value, json};
use whereabouts_audit::occupancy::Use;
use whereabouts_core::address::{Address, Bitmap, Interval, Range};
use whereabouts_core::claim::RangeId;

use super::{Chosen, state, use_of};
use crate::serve::watched::Watched;

pub(in crate::serve) fn address(watched: &Watched, chosen: &Chosen) -> Result<Value, &'static str> {
    let address = chosen.address.map(Address::from);
    let address = address.ok_or("an address is missing")?;
    let known = watched.state();
    let used = use_of(watched, &known.seen, &chosen.queue());
    if !Interval::of(used.range.cidr).contains(address) {
        return Err("the address is not in the range");
    }
    let holder = known.seen.holder(&used.range.pool, address);
    let here = Interval::new(address, address).expect("one address");
    let block = known.seen.occupancy.blocks(&used.range.pool, here).next();
    let bitmap = block.map_or(Bitmap::EMPTY, |(_, bitmap)| *bitmap);
    let keeper = known.seen.keeper(&used.range.pool, address);
    let claim = holder.as_ref().map(|shown| {
        let mut value = shown.value();
        value["created_revision"] = shown.claim.created.into();
        value["suspicion"] = known.seen.suspicion(shown).into();
        value
    });
    Ok(json!({
        "address": address.to_string(),
        "state": state(&known.seen, &used, holder.as_ref(), bitmap.is_set(address.bit()), address),
        "why_never": why_never(&watched.configured, &used, address),
        "claim": claim,
        "kept_for": keeper.map(|owner| json!({
            "network": owner.network.as_str(),
            "namespace": owner.namespace,
            "pod": owner.pod,
            "interface": owner.interface,
        })),
    }))
}

/// The reason why the range never gives the address.
fn why_never(configured: &[Range], used: &Use, address: Address) -> Option<String> {
    if used.gives(address) {
        return None;
    }
    if let Some(refusal) = whereabouts_core::address::refusal(used.range.cidr, address) {
        return Some(refusal.to_string());
    }
    let mut of_it = configured
        .iter()
        .filter(|one| RangeId::of(one) == used.range);
    let refused = of_it.find_map(|range| range.check_request(address).err());
    Some(refused.map_or_else(
        || "is excluded, or outside of range_start to range_end".to_owned(),
        |refusal| refusal.to_string(),
    ))
}
