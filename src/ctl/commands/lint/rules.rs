//! Demands of a configuration that the plugin of its interface refuses, or takes for something else.
//!
//! Each rule was seen with the reference plugins in a network namespace: `tests/it/ctl/lint/real.rs`
//! shows it anew.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;
use whereabouts_cni::request::{CniVersion, Linted, Route};
use whereabouts_core::address::{Address, Family};

use super::{Line, Severity};

/// The findings of `config` beside those of whereabouts; `chain` are the plugins of its list.
pub(crate) fn findings(config: &Value, chain: &[Value], linted: &Linted) -> Vec<Line> {
    let mut lines = Vec::new();
    let plugin = Plugin { config, linted };
    plugin.check_interface(&mut lines);
    plugin.check_gateways(&mut lines);
    plugin.check_routes(&mut lines);
    plugin.check_version(&mut lines);
    check_chain(chain, &mut lines);
    lines
}

/// The medium of a network's packets, as far as its config names one. Two networks on different
/// media may have the same addresses.
pub(crate) fn wire(config: &Value) -> Option<String> {
    let text = |key: &str| config[key].as_str().filter(|text| !text.is_empty());
    let vlan = |key: &str| match config[key].as_u64() {
        None | Some(0) => String::new(),
        Some(vlan) => format!(" vlan {vlan}"),
    };
    match config["type"].as_str()? {
        "bridge" => {
            let bridge = text("bridge").unwrap_or("cni0");
            Some(format!("bridge {bridge}{}", vlan("vlan")))
        }
        "ovs" => Some(format!("bridge {}{}", text("bridge")?, vlan("vlan"))),
        "vlan" => Some(format!("{}{}", text("master")?, vlan("vlanId"))),
        "sriov" => Some(format!("SR-IOV{}", vlan("vlan"))),
        _ => text("master").map(str::to_owned),
    }
}

/// The addresses at which the network's own gateways are: those of the config, and those that a
/// bridge takes by itself.
pub(crate) fn gateways(config: &Value, linted: &Linted) -> BTreeSet<Address> {
    let plugin = Plugin { config, linted };
    let stated = linted.answered.iter().filter_map(|(_, gateway)| *gateway);
    let own = plugin.bridge_addresses();
    stated.chain(own.map(|net| net.addr().into())).collect()
}

/// The IPv4 addresses that a bridge must have. It can have only one.
pub(crate) fn only_addresses(config: &Value, linted: &Linted) -> BTreeSet<IpNet> {
    let plugin = Plugin { config, linted };
    let addresses = plugin.bridge_addresses();
    addresses.filter(|net| family(*net) == Family::V4).collect()
}

struct Plugin<'a> {
    config: &'a Value,
    linted: &'a Linted,
}

impl Plugin<'_> {
    fn is(&self, kind: &str) -> bool {
        self.config["type"] == kind
    }

    /// Whether a key is true. The plugins read keys in any case.
    fn flag(&self, key: &str) -> bool {
        let members = self.config.as_object().into_iter().flatten();
        let mut named = members.filter(|(name, _)| name.eq_ignore_ascii_case(key));
        named.any(|(_, value)| *value == true)
    }

    fn is_gateway(&self) -> bool {
        self.is("bridge") && (self.flag("isGateway") || self.flag("isDefaultGateway"))
    }

    /// Addresses that a bridge takes: the gateway of each subnet, or else the first of the subnet.
    fn bridge_addresses(&self) -> impl Iterator<Item = IpNet> {
        let answered = self.linted.answered.iter().filter(|_| self.is_gateway());
        answered.filter_map(|(subnet, gateway)| {
            let first = Address::from(subnet.network()).successor();
            let address = gateway.or(first)?;
            IpNet::new(address.into(), subnet.prefix_len()).ok()
        })
    }

    /// The gateway by which a route of `family` leads that names none.
    fn gateway(&self, family: Family) -> Option<Address> {
        let gateways = self
            .linted
            .answered
            .iter()
            .filter_map(|(_, gateway)| *gateway);
        gateways
            .into_iter()
            .find(|gateway| gateway.family() == family)
    }

    fn check_interface(&self, lines: &mut Vec<Line>) {
        let has_master = self.config["master"]
            .as_str()
            .is_some_and(|name| !name.is_empty());
        if !has_master && self.is("vlan") {
            lines.push(error("master is missing: vlan needs it".to_owned()));
        }
        if !has_master && ["macvlan", "ipvlan"].iter().any(|kind| self.is(kind)) {
            let text = "master is missing: each node takes the interface of its own default route";
            lines.push(note(text.to_owned()));
        }
        let leads_on = self.is_gateway()
            || [Family::V4, Family::V6]
                .iter()
                .any(|family| self.gateway(*family).is_some())
            || self.linted.routes.iter().any(|route| route.gw.is_some());
        if self.is("bridge") && self.flag("ipMasq") && !self.linted.answered.is_empty() && !leads_on
        {
            let text = "ipMasq masquerades nothing: no gateway, and no route by one, leads out";
            lines.push(warning(text.to_owned()));
        }
    }

    fn check_gateways(&self, lines: &mut Vec<Line>) {
        let addresses = only_addresses(self.config, self.linted);
        if addresses.len() > 1 {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let text = format!("a bridge cannot have {} at once", list.join(" and "));
            lines.push(error(text));
        }
        for (subnet, gateway) in &self.linted.answered {
            let Some(gateway) = *gateway else {
                if self.is("ptp") {
                    lines.push(error(format!(
                        "ipam.gateway is missing for {subnet}: ptp needs one"
                    )));
                }
                continue;
            };
            if subnet.contains(&IpAddr::from(gateway)) || is_link_local(gateway) {
                continue;
            }
            let leads =
                |route: &&Route| route.gw.is_none() && family(route.dst) == gateway.family();
            match self.linted.routes.iter().find(leads) {
                Some(route) => lines.push(error(format!(
                    "gateway {gateway} is outside of {subnet}, and unreachable for route {}",
                    route.dst
                ))),
                // ptp makes a route of its own to the gateway.
                None if self.is("ptp") => {}
                None => lines.push(warning(format!(
                    "gateway {gateway} is outside of {subnet}, and unreachable for every route"
                ))),
            }
        }
    }

    fn check_routes(&self, lines: &mut Vec<Line>) {
        if self.linted.answered.is_empty() {
            return;
        }
        let leads_by = |route: &Route| route.gw.or_else(|| self.gateway(family(route.dst)));
        let of = |route: &Route| (route.dst, leads_by(route), route.priority, route.table);
        let mut before = BTreeSet::new();
        for (index, route) in self.linted.routes.iter().enumerate() {
            let key = format!("ipam.routes[{index}] ({})", route.dst);
            lines.extend(match route.gw {
                Some(gw) => self.check_gw(&key, gw),
                None if route.dst.prefix_len() == 0 => self.check_default(&key, route),
                None => None,
            });
            if !before.insert(of(route)) {
                lines.push(error(format!("{key} is given twice: \"file exists\"")));
            }
        }
    }

    fn check_gw(&self, key: &str, gw: Address) -> Option<Line> {
        let mut subnets = self.linted.answered.iter().map(|(subnet, _)| subnet);
        let is_inside = subnets.any(|subnet| subnet.contains(&IpAddr::from(gw)));
        let text = format!("{key}: gw {gw} is in the subnet of no address, and unreachable");
        (!is_inside && !is_link_local(gw)).then(|| error(text))
    }

    /// Looks at a default route without `gw`.
    fn check_default(&self, key: &str, route: &Route) -> Option<Line> {
        let family = family(route.dst);
        let mut answered = self.linted.answered.iter();
        let is_answered = answered.any(|(subnet, _)| self::family(*subnet) == family);
        let is_plain = route.priority.is_none() && route.table.is_none();
        if !is_answered {
            return None;
        }
        if self.is("bridge") && self.flag("isDefaultGateway") {
            let text = format!(
                "{key} has no gw, and isDefaultGateway adds the same route again: \"file exists\"; leave one of them out"
            );
            return is_plain.then(|| error(text));
        }
        let has_gateway = self.gateway(family).is_some() || self.is_gateway() || self.is("ptp");
        let text = format!(
            "{key} has no gw, and there is no gateway: it takes every address for a neighbour"
        );
        (!has_gateway).then(|| warning(text))
    }

    fn check_version(&self, lines: &mut Vec<Line>) {
        if self.config["cniVersion"].is_null() {
            let text = "cniVersion is missing, and counts as 0.1.0: CHECK needs 0.4.0, GC and STATUS 1.1.0";
            lines.push(note(text.to_owned()));
        }
        if self.linted.version >= CniVersion::NEWEST {
            return;
        }
        for (index, route) in self.linted.routes.iter().enumerate() {
            let keys = [
                ("mtu", route.mtu.is_some()),
                ("advmss", route.advmss.is_some()),
                ("priority", route.priority.is_some()),
                ("table", route.table.is_some()),
                ("scope", route.scope.is_some()),
            ];
            let lost: Vec<&str> = keys
                .iter()
                .filter(|(_, is_given)| *is_given)
                .map(|(key, _)| *key)
                .collect();
            if !lost.is_empty() {
                lines.push(warning(format!(
                    "ipam.routes[{index}].{} needs cniVersion {}; in {} it is not answered",
                    lost.join(", ."),
                    CniVersion::NEWEST,
                    self.linted.version
                )));
            }
        }
    }
}

fn check_chain(chain: &[Value], lines: &mut Vec<Line>) {
    for (index, plugin) in chain.iter().enumerate() {
        if plugin["type"] == "portmap" && plugin["capabilities"]["portMappings"] != true {
            lines.push(warning(format!(
                "plugins[{index}]: portmap maps nothing without capabilities.portMappings"
            )));
        }
    }
}

fn family(net: IpNet) -> Family {
    Address::from(net.addr()).family()
}

/// Every interface has an address of that subnet, whatever its config.
fn is_link_local(gateway: Address) -> bool {
    matches!(IpAddr::from(gateway), IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn error(text: String) -> Line {
    (Severity::Error, text)
}

fn warning(text: String) -> Line {
    (Severity::Warning, text)
}

fn note(text: String) -> Line {
    (Severity::Note, text)
}
