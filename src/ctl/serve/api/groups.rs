//! The claims by node, by network, or by namespace: how many each has.

use serde::Deserialize;
use serde_json::{Value, json};
use whereabouts_core::limits;

use crate::serve::watched::Watched;

/// The kind of groups.
#[derive(Deserialize)]
pub(in crate::serve) struct Grouped {
    by: By,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Node,
    Network,
    Namespace,
}

/// The groups with most claims, and the number of the others.
pub(in crate::serve) fn groups(watched: &Watched, grouped: &Grouped) -> Value {
    let state = watched.state();
    let tallies = &state.seen.tallies;
    let tally = match grouped.by {
        By::Node => &tallies.nodes,
        By::Network => &tallies.networks,
        By::Namespace => &tallies.namespaces,
    };
    let mut groups: Vec<(&String, u64)> =
        tally.iter().map(|(name, count)| (name, *count)).collect();
    groups.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0)));
    let others = groups.len().saturating_sub(limits::PAGE_GROUPS);
    groups.truncate(limits::PAGE_GROUPS);
    let groups = groups
        .iter()
        .map(|(name, claims)| json!({"name": name, "claims": claims}));
    json!({"groups": groups.collect::<Vec<_>>(), "others": others})
}
