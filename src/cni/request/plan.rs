//! The plan of an ADD: addresses from ranges, and stated addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::error::RequestError;
use super::findings::Findings;
use super::json::{Node, Object, Text};
use super::notation;
use super::ranges::ConfiguredRange;
use super::stated::Stated;
use super::{CniVersion, LogLevel, StaticAddress};
use whereabouts_core::address::{Address, Family};
use whereabouts_core::claim::{Choice, Want};
use whereabouts_core::limits;

/// The keys with addresses for this one attachment, not yet read.
pub(super) struct Raw {
    args: Option<Node>,
    runtime: Option<Node>,
}

impl Raw {
    /// Takes `args.cni.ips` and `runtimeConfig.ips` out.
    pub(super) fn take(args: &mut Object, runtime: &mut Object) -> Self {
        Self {
            args: args.take("ips"),
            runtime: runtime.take("ips"),
        }
    }

    /// The requested addresses: `CNI_ARGS` IP, `args.cni.ips` or `runtimeConfig.ips`. The last
    /// source with an address counts.
    pub(super) fn read(
        self,
        from_arguments: Vec<Stated>,
        findings: &mut Findings,
    ) -> Result<Vec<Stated>, RequestError> {
        let mut requested = from_arguments;
        for node in [self.args, self.runtime].into_iter().flatten() {
            let stated = findings.tolerate(stated(node))?;
            if !stated.is_empty() {
                requested = stated;
            }
        }
        Ok(requested)
    }
}

fn stated(node: Node) -> Result<Vec<Stated>, RequestError> {
    let read = |text: Text| {
        let host = text.read(notation::host)?;
        Ok(Stated::new(text, host))
    };
    node.texts()?.into_iter().map(read).collect()
}

/// The addresses to reserve, and the addresses to answer without a reservation.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// The wants to reserve.
    pub(super) wants: Vec<Want>,
    /// The gateway of the address of each want.
    pub(super) gateways: Vec<Option<Address>>,
    /// The addresses to answer without a reservation.
    pub(super) statics: Vec<StaticAddress>,
}

/// The key that is missed where nothing says which addresses are meant.
pub(super) const RANGE: &str = "ipam.range";

/// The sources of a plan.
pub(super) struct Sources<'a> {
    /// The ranges of the config.
    pub(super) ranges: &'a [ConfiguredRange],
    /// The addresses that this attachment requests. An address in the CIDR of a range replaces the
    /// allocation from that range.
    pub(super) requested: Vec<Stated>,
    /// The `addresses` of the config. An address in the CIDR of a range is reserved in addition to
    /// the allocation.
    pub(super) configured: Vec<Stated>,
    /// `GATEWAY` of `CNI_ARGS`. Each is the gateway of the addresses in its subnet.
    pub(super) gateways: Vec<Address>,
    /// All gateways, and the addresses that the bridge takes. No attachment has one of them.
    pub(super) forbidden: &'a [Address],
}

impl Sources<'_> {
    /// Whether nothing says which addresses are meant.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.requested.is_empty() && self.configured.is_empty()
    }

    /// A stated address that is in no range.
    fn outside(&self, stated: &Stated) -> Result<StaticAddress, RequestError> {
        if self.forbidden.contains(&stated.address) {
            let reason = "is a gateway, or the address of the bridge: no attachment gets it";
            return Err(stated.text.wrong(reason));
        }
        let length = stated.length.ok_or_else(|| {
            let reason = "has no prefix length, and no range of the config has the address";
            stated.text.wrong(reason)
        })?;
        let address = IpNet::new(stated.address.into(), length)
            .expect("the length was checked against the family");
        Ok(StaticAddress {
            address,
            gateway: stated.gateway,
        })
    }

    /// The plan. Its remarks go to `findings`.
    pub(super) fn plan(self, findings: &mut Findings) -> Result<Plan, RequestError> {
        if self.is_empty() {
            return Err(RequestError::MissingKey {
                key: RANGE.to_owned(),
                reason: "a config needs range, ipRanges or addresses".to_owned(),
            });
        }
        check_distinct(self.requested.iter().chain(&self.configured))?;
        let mut plan = Plan::default();
        for range in self.ranges {
            plan.reserve(Want::lowest(&range.range), range.gateway);
        }
        for stated in &self.requested {
            plan.add_requested(stated, &self, findings)?;
        }
        for stated in &self.configured {
            match plan.place(self.ranges, stated.address) {
                None => plan.statics.push(self.outside(stated)?),
                Some(index) => {
                    let range = &self.ranges[index];
                    let gateway = stated.gateway.or(range.gateway);
                    plan.reserve(exactly(stated, range, findings)?, gateway);
                }
            }
        }
        if plan.wants.len() > limits::WANTS {
            return Err(RequestError::TooMany {
                key: "ipam: ranges, requested and configured addresses".to_owned(),
                count: plan.wants.len(),
                most: limits::WANTS,
            });
        }
        for gateway in self.gateways {
            plan.set_gateway(gateway, findings);
        }
        Ok(plan)
    }
}

impl Plan {
    fn reserve(&mut self, want: Want, gateway: Option<Address>) {
        self.wants.push(want);
        self.gateways.push(gateway);
    }

    fn add_requested(
        &mut self,
        stated: &Stated,
        sources: &Sources<'_>,
        findings: &mut Findings,
    ) -> Result<(), RequestError> {
        let ranges = sources.ranges;
        let Some(index) = self.place(ranges, stated.address) else {
            self.statics.push(sources.outside(stated)?);
            if !ranges.is_empty() {
                let text = "is in none of the config's ranges: answered, but not reserved";
                findings.remark(LogLevel::Warn, stated.text.wrong(text).to_string());
            }
            return Ok(());
        };
        let range = &ranges[index];
        let want = exactly(stated, range, findings)?;
        match self.wants[index].choice {
            Choice::Lowest => self.wants[index] = want,
            Choice::Exactly(_) => self.reserve(want, range.gateway),
        }
        Ok(())
    }

    /// The range of an address. Among the ranges whose CIDR has the address, a range that could give the address by itself
    /// comes first: two ranges may have pools of their own. After that, a range without a requested address comes first. The
    /// first wants are those of the ranges.
    fn place(&self, ranges: &[ConfiguredRange], address: Address) -> Option<usize> {
        let ip = IpAddr::from(address);
        let indexed = ranges
            .iter()
            .map(|configured| &configured.range)
            .enumerate();
        let inside = indexed.filter(|(_, range)| range.cidr().contains(&ip));
        let best = inside.min_by_key(|(index, range)| {
            let is_requested = matches!(self.wants[*index].choice, Choice::Exactly(_));
            let gives = range
                .intervals()
                .iter()
                .any(|interval| interval.contains(address));
            (!gives, is_requested)
        });
        best.map(|(index, _)| index)
    }

    /// Checks that a result of `version` can hold all addresses.
    pub(super) fn check_version(&self, version: CniVersion) -> Result<(), RequestError> {
        if version >= CniVersion::V0_3_0 {
            return Ok(());
        }
        let wanted = self.wants.iter().map(|want| want.range.cidr);
        let subnets: Vec<IpNet> = wanted
            .chain(self.statics.iter().map(|one| one.address))
            .collect();
        [Family::V4, Family::V6].into_iter().try_for_each(|family| {
            let of_family = |subnet: &&IpNet| Address::from(subnet.addr()).family() == family;
            match subnets.iter().filter(of_family).count() {
                0 | 1 => Ok(()),
                count => Err(RequestError::FamilyTwice {
                    version,
                    family,
                    count,
                }),
            }
        })
    }

    fn set_gateway(&mut self, gateway: Address, findings: &mut Findings) {
        let ip = IpAddr::from(gateway);
        let mut matched = false;
        let wanted = self
            .wants
            .iter()
            .map(|want| want.range.cidr)
            .zip(&mut self.gateways);
        let stated = self
            .statics
            .iter_mut()
            .map(|one| (one.address, &mut one.gateway));
        for (subnet, place) in wanted.chain(stated) {
            if subnet.contains(&ip) {
                *place = Some(gateway);
                matched = true;
            }
        }
        if !matched {
            let text = format!("CNI_ARGS GATEWAY: {gateway} is in the subnet of no address");
            findings.remark(LogLevel::Warn, text);
        }
    }
}

/// The want of a stated address of `range`.
fn exactly(
    stated: &Stated,
    range: &ConfiguredRange,
    findings: &mut Findings,
) -> Result<Want, RequestError> {
    let cidr = range.range.cidr();
    if stated
        .length
        .is_some_and(|length| length != cidr.prefix_len())
    {
        let reason = format_args!("is answered with the prefix length of its range, {cidr}");
        findings.remark(LogLevel::Warn, stated.text.wrong(reason).to_string());
    }
    Want::exactly(&range.range, stated.address).map_err(|refusal| {
        stated.text.wrong(format_args!(
            "cannot be given from range {cidr} ({}): it {refusal}",
            range.key
        ))
    })
}

fn check_distinct<'a>(all: impl Iterator<Item = &'a Stated>) -> Result<(), RequestError> {
    let mut seen: BTreeMap<Address, &Stated> = BTreeMap::new();
    for stated in all {
        if let Some(first) = seen.insert(stated.address, stated) {
            return Err(RequestError::AddressTwice {
                address: stated.address,
                first: first.text.key.clone(),
                second: stated.text.key.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
