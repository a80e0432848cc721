//! Allocations of one interface of one container, and the claim that stands for them.

use std::collections::BTreeMap;

use super::network::Network;
use super::pod::{Evidence, Pod};
use super::reservation::{Reservations, Reserved};
use super::{Found, want};
use whereabouts_core::address::{Address, Name, Pool, Range, Refusal};
use whereabouts_core::claim::{Ask, Attachment, Owner, UNKNOWN_INTERFACE, Want};

/// The choice for an allocation whose pod is not there, or denies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    /// It is claimed, so that nobody else gets its address before a person releases it.
    Take,
    /// It stays behind.
    Leave,
}

/// An allocation of an IPPool.
pub(super) struct Allocation {
    /// The IPPool.
    pub(super) ip_pool: String,
    /// The `network_name` in its name.
    pub(super) network_name: Option<String>,
    /// Its content.
    pub(super) found: Found,
}

impl Allocation {
    /// Whether `range` is the one of its IPPool.
    fn is_of(&self, range: &Range) -> bool {
        range.cidr() == self.found.range && range.pool().name == self.network_name
    }
}

/// The allocations of each interface of each container. Where no interface is told, each container is
/// taken to have one.
pub(super) fn grouped(allocations: Vec<Allocation>) -> Vec<Vec<Allocation>> {
    let mut groups: BTreeMap<(Name, Option<String>), Vec<Allocation>> = BTreeMap::new();
    for one in allocations {
        let key = (one.found.container.clone(), one.found.interface.clone());
        groups.entry(key).or_default().push(one);
    }
    groups.into_values().collect()
}

/// Everything that allocations are judged by.
pub(super) struct Judge<'a> {
    /// All networks.
    pub(super) networks: &'a [Network],
    /// All pods, by namespace and name.
    pub(super) pods: &'a BTreeMap<String, Pod>,
    /// The choice for stale ones.
    pub(super) stale: Stale,
}

/// Why the allocations of an attachment are not claimed.
pub(super) enum Stays {
    /// They are stale, and stay behind.
    Stale(String),
    /// They are ambiguous, or contradict something.
    Refused(String),
}

impl Judge<'_> {
    /// The claim that stands for the allocations of one attachment, and what a person should know of it.
    pub(super) fn claim(
        &self,
        group: &[Allocation],
        reservations: &mut Reservations,
    ) -> Result<(Ask, Vec<String>), Stays> {
        let mut notes = Vec::new();
        // Before anything is refused: a reservation that agrees is not one without an allocation.
        let reserved = self.reserved(group, reservations, &mut notes);
        let whose = whose(group)?;
        let pod = whose.as_ref().and_then(|pod| self.pods.get(pod));
        let first = &group.first().expect("a group has an allocation").found;
        let addresses: Vec<Address> = group.iter().map(|one| one.found.address).collect();
        let told = whose.as_deref().unwrap_or("(unknown)");
        let evidence = match pod {
            // An unknown pod may live.
            None if whose.is_none() => Evidence::Silent,
            None => Evidence::Denied("is not there".to_owned()),
            Some(pod) => pod.evidence(first.interface.as_deref(), &addresses),
        };
        let (shown, confirmed) = match evidence {
            Evidence::Confirmed(network) => (network, pod),
            Evidence::Contradicted(reason) => {
                return Err(Stays::Refused(format!("pod {told} {reason}")));
            }
            Evidence::Denied(reason) => {
                let reason = format!("stale: pod {told} {reason}");
                if self.stale == Stale::Leave {
                    self.check_namespace(first).map_err(Stays::Refused)?;
                    return Err(Stays::Stale(reason));
                }
                notes.push(reason);
                (None, None)
            }
            Evidence::Silent => {
                notes.push(format!("pod {told} does not tell its addresses"));
                (None, None)
            }
        };
        reserved?;
        let network = self.network(group, shown.as_deref())?;
        let interface = first.interface.clone().or_else(|| {
            let pod = confirmed?;
            Some(pod.interface_of(first.address)?.name.clone())
        });
        if let Some(interface) = &interface {
            super::interface(interface).map_err(Stays::Refused)?;
        }
        let (pod_namespace, pod_name) = first.pod.clone().unzip();
        let ask = Ask {
            attachment: Attachment {
                network: network.name.clone(),
                container: first.container.clone(),
                interface: interface.unwrap_or_else(|| UNKNOWN_INTERFACE.to_owned()),
            },
            wants: wants(group, network, &mut notes)?,
            owner: Owner {
                node: confirmed.and_then(|pod| pod.node.clone()),
                pod_namespace,
                pod_name,
                pod_uid: confirmed.and_then(|pod| pod.uid.clone()),
                netns: None,
                boot: None,
                is_durable: false,
            },
            may_take_over: false,
        };
        Ok((ask, notes))
    }

    /// That the input has pods of the namespace at all: without `-A`, kubectl prints those of one.
    fn check_namespace(&self, found: &Found) -> Result<(), String> {
        let Some((namespace, _)) = &found.pod else {
            return Ok(());
        };
        let mut from = self.pods.range(format!("{namespace}/")..);
        match from.next() {
            Some((pod, _)) if pod.starts_with(&format!("{namespace}/")) => Ok(()),
            Some(_) | None => Err(format!(
                "the input has no pod of the namespace {namespace}, so nothing shows that its pods are gone"
            )),
        }
    }

    /// Whether the reservations agree, of allocations whose ranges share their pool.
    fn reserved(
        &self,
        group: &[Allocation],
        reservations: &mut Reservations,
        notes: &mut Vec<String>,
    ) -> Result<(), Stays> {
        let mut result = Ok(());
        for one in group {
            match reservations.take(one.network_name.as_deref(), &one.found) {
                Reserved::Agrees => {}
                Reserved::Missing => {
                    let is_shared = |range: &Range| one.is_of(range) && range.pool().only.is_none();
                    if self
                        .networks
                        .iter()
                        .any(|network| network.ranges.iter().any(is_shared))
                    {
                        notes.push(format!("{} has no reservation", one.found.address));
                    }
                }
                Reserved::Differs(reason) => result = Err(Stays::Refused(reason)),
            }
        }
        result
    }

    /// The network of a group: the one that the pod tells, or the only one that has all its ranges.
    fn network(&self, group: &[Allocation], shown: Option<&str>) -> Result<&Network, Stays> {
        let has = |network: &Network, one: &Allocation| {
            network.ranges.iter().any(|range| one.is_of(range))
        };
        for one in group {
            self.check_pools(one)?;
        }
        let fitting = self.networks.iter();
        let fitting = fitting.filter(|network| group.iter().all(|one| has(network, one)));
        let fitting: Vec<&Network> = match shown {
            None => fitting.collect(),
            Some(id) => fitting.filter(|network| network.id == id).collect(),
        };
        let ids: Vec<&str> = fitting.iter().map(|network| network.id.as_str()).collect();
        match (fitting.as_slice(), shown) {
            ([], Some(id)) => {
                let reason = format!("its pod tells that it is of {id}, which has no such range");
                Err(Stays::Refused(reason))
            }
            ([], None) => {
                let reason = "no network has all ranges that this interface has addresses of";
                Err(Stays::Refused(reason.to_owned()))
            }
            ([first, others @ ..], _) if others.iter().all(|one| one.name == first.name) => {
                Ok(first)
            }
            _ => Err(Stays::Refused(format!("it may be of {}", ids.join(" or ")))),
        }
    }

    /// That all networks which have the range of an allocation agree on its pool.
    fn check_pools(&self, one: &Allocation) -> Result<(), Stays> {
        let Allocation {
            ip_pool,
            network_name,
            found,
        } = one;
        let ranges = self.networks.iter().flat_map(|network| {
            let ranges = network.ranges.iter();
            ranges.map(move |range| (network.id.as_str(), range))
        });
        let mut fitting = ranges.filter(|(_, range)| one.is_of(range));
        let Some((first, range)) = fitting.next() else {
            let named = match network_name {
                None => "no network_name".to_owned(),
                Some(name) => format!("the network_name {name}"),
            };
            let reason = format!(
                "no network has the range {} and {named}, as IPPool {ip_pool} has",
                found.range
            );
            return Err(Stays::Refused(reason));
        };
        match fitting.find(|(_, other)| other.pool() != range.pool()) {
            None => Ok(()),
            Some((second, _)) => Err(Stays::Refused(format!(
                "{first} and {second} share IPPool {ip_pool}, but not enable_overlapping_ranges, and here not their addresses"
            ))),
        }
    }
}

/// The pod of a group, of which all must be.
fn whose(group: &[Allocation]) -> Result<Option<String>, Stays> {
    let mut pods = group.iter().map(|one| one.found.podref());
    let first = pods.next().expect("a group has an allocation");
    match pods.find(|other| *other != first) {
        None => Ok(first),
        Some(other) => {
            let told = |pod: Option<String>| pod.unwrap_or_else(|| "no pod".to_owned());
            let (first, other) = (told(first), told(other));
            Err(Stays::Refused(format!(
                "its interface is of {first} and of {other}"
            )))
        }
    }
}

/// One address for each range, in the order in which the network answers them.
fn wants(
    group: &[Allocation],
    network: &Network,
    notes: &mut Vec<String>,
) -> Result<Vec<Want>, Stays> {
    let mut wants = Vec::new();
    for range in &network.ranges {
        let mut fitting = group.iter().filter(|one| one.is_of(range));
        let (first, second) = (fitting.next(), fitting.next());
        let Some(one) = first else {
            notes.push(format!(
                "nothing of {}, as {} says",
                range.cidr(),
                network.id
            ));
            continue;
        };
        let address = one.found.address;
        if second.is_some() {
            let reason = format!("it has two addresses of {}", range.cidr());
            return Err(Stays::Refused(reason));
        }
        if range.check_request(address) == Err(Refusal::Gateway) {
            notes.push(format!("{address} is the gateway of {}", network.id));
        }
        let pool: Pool = range.pool().clone();
        wants.push(want(&one.found, pool).map_err(Stays::Refused)?);
    }
    Ok(wants)
}
