//! All that the Kubernetes version remembers, as one plan: which claims stand for its allocations, and
//! which of them contradict each other or the pods.
//!
//! ```text
//! documents -> objects -> IPPools   -> allocations -> attachments -+
//!                         networks  -> ranges, pools  -------------+-> judged -> plan
//!                         pods      -> nodes, addresses -----------+
//!                         reservations ----------------------------+
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::attachment::{Allocation, Judge, Stale, Stays, grouped};
use super::ip_pool::IpPool;
use super::network::{Network, network};
use super::objects::{Objects, full_name, name_of};
use super::pod::Pod;
use super::reservation::Reservations;
use super::{Unusable, names};
use whereabouts_core::address::{Address, Pool};
use whereabouts_core::claim::{Ask, Attachment, Choice};

/// How many holders of one address are named.
const SHOWN_HOLDERS: usize = 3;

/// The requests to be made, and the objects of which none can be made.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Requests, each with what a person should know of it.
    pub(crate) takes: Vec<(Ask, Vec<String>)>,
    /// Ambiguous ones and contradictions. Each is one address at least.
    pub(crate) refused: Vec<Unusable>,
    /// Stale ones that stay behind.
    pub(crate) left: Vec<Unusable>,
}

/// The plan for `documents`. An error is input that cannot be whole.
pub(crate) fn plan(documents: Vec<Value>, stale: Stale) -> Result<Plan, String> {
    let objects = Objects::of(documents);
    for (kind, resource, is_missing) in [
        ("IPPool", "ippools", objects.pools.is_empty()),
        (
            "NetworkAttachmentDefinition",
            "net-attach-def",
            objects.networks.is_empty(),
        ),
        ("Pod", "pods", objects.pods.is_empty()),
    ] {
        if is_missing {
            return Err(format!(
                "there is no {kind} in the input: `kubectl get {resource} -A -o yaml` prints them"
            ));
        }
    }
    let mut plan = Plan {
        refused: objects.refused,
        ..Plan::default()
    };
    let mut networks = Vec::new();
    for found in objects.networks.iter().filter_map(network) {
        found.map_or_else(|error| plan.refused.push(error), |one| networks.push(one));
    }
    let pods = objects.pods.iter();
    let pods: BTreeMap<String, Pod> = pods.map(|one| (full_name(one), Pod::of(one))).collect();
    let mut reservations = Reservations::of(&objects.reservations);
    let allocations = allocations(&objects.pools, &mut plan.refused);
    plan.find_unrecorded(&networks, &pods, &allocations, &mut reservations);
    let judge = Judge {
        networks: &networks,
        pods: &pods,
        stale,
    };
    for group in grouped(allocations) {
        let unusable = |reason: &str| {
            let each = |one: &Allocation| Unusable::new(&one.found.origin, reason);
            group.iter().map(each).collect::<Vec<_>>()
        };
        match judge.claim(&group, &mut reservations) {
            Ok(take) => plan.takes.push(take),
            Err(Stays::Stale(reason)) => plan.left.extend(unusable(&reason)),
            Err(Stays::Refused(reason)) => plan.refused.extend(unusable(&reason)),
        }
    }
    plan.refuse_held_twice();
    plan.find_reserved_alone(reservations, &pods, stale);
    Ok(plan)
}

fn allocations(pools: &[Value], refused: &mut Vec<Unusable>) -> Vec<Allocation> {
    let mut allocations = Vec::new();
    for document in pools {
        let pool = match IpPool::of(document) {
            Ok(pool) => pool,
            Err(error) => {
                refused.push(error);
                continue;
            }
        };
        for one in pool.read {
            match one {
                Err(error) => refused.push(error),
                Ok(found) => allocations.push(Allocation {
                    ip_pool: name_of(document).to_owned(),
                    network_name: pool.network_name.clone(),
                    found,
                }),
            }
        }
    }
    allocations
}

impl Plan {
    /// Addresses that a pod has and no IPPool: they would be given a second time.
    fn find_unrecorded(
        &mut self,
        networks: &[Network],
        pods: &BTreeMap<String, Pod>,
        allocations: &[Allocation],
        reservations: &mut Reservations,
    ) {
        let key = |name: Option<&str>, address| (name.map(str::to_owned), address);
        let mut recorded: BTreeMap<(Option<String>, Address), Vec<Option<String>>> =
            BTreeMap::new();
        for one in allocations {
            let recorded = recorded.entry(key(one.network_name.as_deref(), one.found.address));
            recorded.or_default().push(one.found.podref());
        }
        for (podref, pod) in pods.iter().filter(|(_, pod)| !pod.has_ended) {
            for interface in pod.status.iter().flatten() {
                let is_its = |network: &&Network| network.id == interface.network;
                let ranges = networks.iter().filter(is_its).flat_map(|one| &one.ranges);
                for (range, address) in ranges
                    .flat_map(|range| interface.addresses.iter().map(move |one| (range, *one)))
                {
                    let name = range.pool().name.as_deref();
                    let mut given = range.intervals().iter();
                    // An allocation without a pod may be of this one.
                    let is_its =
                        |whose: &Option<String>| whose.as_ref().is_none_or(|whose| whose == podref);
                    let whose = recorded.get(&key(name, address));
                    if !given.any(|interval| interval.contains(address))
                        || whose.is_some_and(|pods| pods.iter().any(is_its))
                    {
                        continue;
                    }
                    if whose.is_none() {
                        reservations.forget(&names::reservation(name, address));
                    }
                    let which = match whose {
                        None => "no IPPool has that",
                        Some(_) => "the IPPool has that of another pod",
                    };
                    let reason = format!(
                        "it has {address} on {} of {}, and {which}: delete the pod first",
                        interface.name, interface.network
                    );
                    self.refused
                        .push(Unusable::new(&format!("pod {podref}"), &reason));
                }
            }
        }
    }

    /// Of two that hold one address, or are one attachment, neither can be trusted.
    fn refuse_held_twice(&mut self) {
        let mut holders: BTreeMap<(Pool, Address), Vec<usize>> = BTreeMap::new();
        let mut attachments: BTreeMap<Attachment, Vec<usize>> = BTreeMap::new();
        for (number, (ask, _)) in self.takes.iter().enumerate() {
            let same = attachments.entry(ask.attachment.clone());
            same.or_default().push(number);
            for want in &ask.wants {
                if let Choice::Exactly(address) = want.choice {
                    let holders = holders.entry((want.range.pool.clone(), address));
                    holders.or_default().push(number);
                }
            }
        }
        let mut twice = BTreeSet::new();
        let mut refuse = |numbers: &[usize], reason: String| {
            for number in numbers {
                let origin = self.takes[*number].0.attachment.to_string();
                self.refused.push(Unusable::new(&origin, &reason));
                twice.insert(*number);
            }
        };
        for ((_, address), numbers) in holders.iter().filter(|(_, numbers)| numbers.len() > 1) {
            let names: Vec<String> = numbers
                .iter()
                .take(SHOWN_HOLDERS)
                .map(|number| self.takes[*number].0.attachment.to_string())
                .collect();
            let more = match numbers.len() - names.len() {
                0 => String::new(),
                more => format!(" and by {more} more"),
            };
            let reason = format!(
                "{address} is held twice, by {}{more}",
                names.join(" and by ")
            );
            refuse(numbers, reason);
        }
        for numbers in attachments.values().filter(|numbers| numbers.len() > 1) {
            let reason = "its addresses are told twice, with its interface and without".to_owned();
            refuse(numbers, reason);
        }
        let mut number = 0;
        self.takes.retain(|_| {
            number += 1;
            !twice.contains(&(number - 1))
        });
    }

    /// Reservations without an allocation name no container, so that no DEL could free their addresses.
    fn find_reserved_alone(
        &mut self,
        reservations: Reservations,
        pods: &BTreeMap<String, Pod>,
        stale: Stale,
    ) {
        for (name, podref) in reservations.into_rest() {
            let pod = pods.get(&podref);
            let denies = |pod: &Pod| pod.denies(|address| names::is_reservation_of(&name, address));
            let (why, is_stale) = match pod {
                None => ("is not there", true),
                Some(pod) if denies(pod) => ("does not have that address", true),
                Some(_) => ("may have that address", false),
            };
            let reason = format!("it has no allocation, and pod {podref} {why}");
            let unusable = Unusable::new(&format!("reservation {name}"), &reason);
            if is_stale && stale == Stale::Leave {
                self.left.push(unusable);
            } else {
                self.refused.push(unusable);
            }
        }
    }
}

#[cfg(test)]
mod tests;
