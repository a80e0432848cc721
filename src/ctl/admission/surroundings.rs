//! The rest of the cluster: other networks, Service ranges and Pod ranges. It serves for warnings alone.

use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;
use whereabouts_controller::Watched;
use whereabouts_core::address::Interval;
use whereabouts_core::claim::RangeId;

use crate::commands::lint::{Line, Part, Report, Severity};
use crate::configs::{self, FlatFileFolders};

/// The configurations of one NetworkAttachmentDefinition that use whereabouts.
pub(super) type Definition = Arc<Vec<Report>>;

/// A range of addresses that the cluster itself uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClusterRange {
    /// Its addresses.
    pub(super) cidr: IpNet,
    /// The kind, such as `the Service range of ServiceCIDR kubernetes`.
    pub(super) what: String,
}

/// All that is known, as the caches have it.
#[derive(Clone, Default)]
pub(super) struct Surroundings {
    /// The NetworkAttachmentDefinitions, by namespace and name.
    pub(super) definitions: Watched<Definition>,
    /// The Service ranges, by object.
    pub(super) services: Watched<Vec<ClusterRange>>,
    /// The nodes' Pod ranges, by object.
    pub(super) pods: Watched<Vec<ClusterRange>>,
    /// Ranges that an option names.
    pub(super) stated: Vec<ClusterRange>,
}

impl Surroundings {
    /// The NetworkAttachmentDefinitions besides the one called `key`; `None` if they are not known yet.
    pub(super) fn others(&self, key: &str) -> Option<Vec<Definition>> {
        self.definitions.is_complete().then(|| {
            let all = self.definitions.all().into_iter();
            all.filter(|(other, _)| other != key)
                .map(|(_, definition)| definition)
                .collect()
        })
    }

    /// All ranges of the cluster.
    pub(super) fn cluster_ranges(&self) -> Vec<ClusterRange> {
        let watched = [&self.services, &self.pods];
        let watched = watched.into_iter().flat_map(Watched::all);
        watched
            .flat_map(|(_, ranges)| ranges)
            .chain(self.stated.iter().cloned())
            .collect()
    }
}

/// The parts of an object that use whereabouts, or that cannot be read.
pub(super) fn reports(object: Value) -> Vec<Report> {
    let found = configs::of_object(&FlatFileFolders, object).into_iter();
    found
        .map(Report::of)
        .filter(|report| report.part != Part::Other)
        .collect()
}

/// The part of an object that the cache keeps; nothing if it does not use whereabouts.
pub(super) fn definition(object: Value) -> Option<Definition> {
    let mut reports = reports(object);
    reports.retain(|report| report.network.is_some());
    (!reports.is_empty()).then(|| Arc::new(reports))
}

/// The CIDRs at `pointer` of an object, each called `what` and the object's name.
pub(super) fn ranges_at(object: &Value, pointer: &str, what: &str) -> Option<Vec<ClusterRange>> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let cidrs = object.pointer(pointer)?.as_array()?.iter();
    let ranges: Vec<ClusterRange> = cidrs
        .filter_map(|cidr| {
            Some(ClusterRange {
                cidr: cidr.as_str()?.parse().ok()?,
                what: format!("{what} {name}"),
            })
        })
        .collect();
    (!ranges.is_empty()).then_some(ranges)
}

/// The overlaps of a network with the cluster's own ranges.
pub(super) fn overlaps<'r>(
    report: &'r Report,
    cluster: &'r [ClusterRange],
) -> impl Iterator<Item = Line> + 'r {
    let ranges = report.network.iter().flat_map(|network| &network.ranges);
    ranges.flat_map(move |range| {
        let own = Interval::of(range.cidr());
        let meets = move |other: &&ClusterRange| own.overlaps(Interval::of(other.cidr.trunc()));
        cluster.iter().filter(meets).map(move |other| {
            let (id, ClusterRange { cidr, what }) = (RangeId::of(range), other);
            let text = format!("range {id} overlaps {cidr}, {what}");
            (Severity::Warning, text)
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ranges_of_objects_are_read_as_far_as_they_make_sense() {
        let service = json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16", "x", 7, "fd00::/112"]}});
        let found = ranges_at(&service, "/spec/cidrs", "the Service range of ServiceCIDR");
        let found = found.expect("two are right");
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].what, "the Service range of ServiceCIDR kubernetes");
        for nothing in [
            json!({}),
            json!({"spec": {"cidrs": []}}),
            json!({"spec": {"cidrs": "x"}}),
        ] {
            assert_eq!(ranges_at(&nothing, "/spec/cidrs", ""), None);
        }
    }
}
