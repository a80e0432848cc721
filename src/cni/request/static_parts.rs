//! The keys of the `static` plugin: addresses, routes and DNS.

use super::error::RequestError;
use super::findings::Findings;
use super::json::{Node, Object, Text};
use super::notation;
use super::stated::Stated;
use super::{Dns, Route};
use whereabouts_core::address::Address;

/// The keys of `ipam` and of `runtimeConfig` whose values are answered unchanged, not yet read.
pub(super) struct Raw {
    addresses: Option<Node>,
    routes: Option<Node>,
    dns: Option<Node>,
    runtime_dns: Option<Node>,
}

/// The parts of an answer that repeat the config.
#[derive(Debug, Default, PartialEq)]
pub(super) struct StaticParts {
    /// `addresses`
    pub(super) addresses: Vec<Stated>,
    /// `routes`
    pub(super) routes: Vec<Route>,
    /// `dns`
    pub(super) dns: Dns,
}

impl Raw {
    /// Takes the keys out.
    pub(super) fn take(ipam: &mut Object, runtime: &mut Object) -> Self {
        Self {
            addresses: ipam.take("addresses"),
            routes: ipam.take("routes"),
            dns: ipam.take("dns"),
            runtime_dns: runtime.take("dns"),
        }
    }

    /// Reads the keys.
    pub(super) fn read(self, findings: &mut Findings) -> Result<StaticParts, RequestError> {
        let addresses = each(self.addresses, findings, address);
        let addresses = findings.tolerate(addresses)?;
        let routes = each(self.routes, findings, route);
        let routes = findings.tolerate(routes)?;
        let dns = self.dns.map(|node| dns(node, findings));
        let dns = findings.tolerate(dns.transpose())?.unwrap_or_default();
        let runtime = self.runtime_dns.map(|node| runtime_dns(node, findings));
        let runtime = findings.tolerate(runtime.transpose())?.unwrap_or_default();
        Ok(StaticParts {
            addresses,
            routes,
            dns: dns_of(runtime, dns),
        })
    }
}

fn each<T>(
    list: Option<Node>,
    findings: &mut Findings,
    read: fn(Object, &mut Findings) -> Result<T, RequestError>,
) -> Result<Vec<T>, RequestError> {
    let nodes = list.map(Node::list).transpose()?.unwrap_or_default();
    let element = |node: Node| read(node.object()?, findings);
    nodes.into_iter().map(element).collect()
}

fn address(mut object: Object, findings: &mut Findings) -> Result<Stated, RequestError> {
    let text = object.needed_text("address")?;
    let gateway = optional_address(&mut object, "gateway")?;
    object.finish(findings)?;
    let host = text.read(notation::host)?;
    Ok(Stated {
        gateway,
        ..Stated::new(text, host)
    })
}

fn route(mut object: Object, findings: &mut Findings) -> Result<Route, RequestError> {
    let dst = object.needed_text("dst")?;
    let scope = number(&mut object, "scope", u8::MAX.into())?;
    let route = Route {
        dst: dst.read(notation::cidr)?.trunc(),
        gw: optional_address(&mut object, "gw")?,
        mtu: number(&mut object, "mtu", u32::MAX)?,
        advmss: number(&mut object, "advmss", u32::MAX)?,
        priority: number(&mut object, "priority", u32::MAX)?,
        table: number(&mut object, "table", u32::MAX)?,
        scope: scope.map(|scope| u8::try_from(scope).expect("it is at most 255")),
    };
    object.finish(findings)?;
    Ok(route)
}

fn dns(node: Node, findings: &mut Findings) -> Result<Dns, RequestError> {
    let mut object = node.object()?;
    let dns = Dns {
        nameservers: texts(&mut object, "nameservers")?,
        domain: object
            .text("domain")?
            .map(|domain| domain.text)
            .filter(|text| !text.is_empty()),
        search: texts(&mut object, "search")?,
        options: texts(&mut object, "options")?,
    };
    object.finish(findings)?;
    Ok(dns)
}

/// The DNS settings with the keys of the conventions for `runtimeConfig`.
fn runtime_dns(node: Node, findings: &mut Findings) -> Result<Dns, RequestError> {
    let mut object = node.object()?;
    let dns = Dns {
        nameservers: texts(&mut object, "servers")?,
        domain: None,
        search: texts(&mut object, "searches")?,
        options: texts(&mut object, "options")?,
    };
    object.finish(findings)?;
    Ok(dns)
}

/// The DNS settings of the runtime. The config's settings fill the gaps.
fn dns_of(runtime: Dns, config: Dns) -> Dns {
    let either = |ours: Vec<String>, theirs| if ours.is_empty() { theirs } else { ours };
    Dns {
        nameservers: either(runtime.nameservers, config.nameservers),
        domain: config.domain,
        search: either(runtime.search, config.search),
        options: either(runtime.options, config.options),
    }
}

fn texts(object: &mut Object, key: &'static str) -> Result<Vec<String>, RequestError> {
    let texts = object
        .take(key)
        .map(Node::texts)
        .transpose()?
        .unwrap_or_default();
    Ok(texts.into_iter().map(|text: Text| text.text).collect())
}

fn optional_address(
    object: &mut Object,
    key: &'static str,
) -> Result<Option<Address>, RequestError> {
    let text = object.text(key)?;
    text.map(|text| text.read(notation::address)).transpose()
}

fn number(object: &mut Object, key: &'static str, most: u32) -> Result<Option<u32>, RequestError> {
    let number = object
        .take(key)
        .map(|node| node.number(0, most.into()))
        .transpose()?;
    Ok(number.map(|number| u32::try_from(number).expect("it is at most a u32")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::sample::{Sample, assert_found};
    use super::*;

    fn check(ipam: Value, runtime: &Value, expected: Result<&str, (u32, &str)>) {
        let sample = Sample::of("ADD")
            .ipam(json!({"range": "10.0.0.0/24"}))
            .ipam(ipam)
            .config(json!({"runtimeConfig": runtime}));
        let found = sample.add().map(|add| {
            let route = |route: &Route| {
                let gw = route.gw.map_or("-".to_owned(), |gw| gw.to_string());
                let numbers = [route.mtu, route.advmss, route.priority, route.table];
                format!("{} {gw} {numbers:?} {:?}", route.dst, route.scope)
            };
            let routes: Vec<String> = add.answer.routes.iter().map(route).collect();
            let dns = add.answer.dns;
            let lists = [dns.nameservers, dns.search, dns.options];
            let lists = lists.map(|list| list.join(","));
            format!(
                "{} | {} {}",
                routes.join("; "),
                dns.domain.unwrap_or_default(),
                lists.join(" ")
            )
        });
        assert_found(found, expected);
    }

    #[test]
    fn routes_have_all_that_1_1_0_knows() {
        let plain = json!({"dst": "0.0.0.0/0", "gw": "010.0.0.1"});
        let full = json!({"dst": "fd01::9/64", "mtu": 1400, "advmss": 1360, "priority": 10,
            "table": 4_294_967_295_u32, "scope": 255});
        check(
            json!({"routes": [plain, full]}),
            &Value::Null,
            Ok("0.0.0.0/0 10.0.0.1 [None, None, None, None] None; \
                fd01::/64 - [Some(1400), Some(1360), Some(10), Some(4294967295)] Some(255) |    "),
        );
    }

    #[test]
    fn a_route_that_is_none_is_code_7_and_names_its_key() {
        let with = |route: Value| json!({"routes": [{"dst": "0.0.0.0/0"}, route]});
        let cases = [
            (json!({"gw": "10.0.0.1"}), "ipam.routes[1].dst is missing"),
            (
                json!({"dst": "default"}),
                "ipam.routes[1].dst: \"default\" is not an address",
            ),
            (
                json!({"dst": "::/0", "gw": "x"}),
                "ipam.routes[1].gw: \"x\" is not an address",
            ),
            (
                json!({"dst": "::/0", "mtu": -1}),
                "ipam.routes[1].mtu: \"-1\" is not a whole number",
            ),
            (
                json!({"dst": "::/0", "mtu": "1"}),
                "ipam.routes[1].mtu: expected a number, found a",
            ),
            (
                json!({"dst": "::/0", "scope": 256}),
                "\"256\" is not a whole number from 0 to 255",
            ),
            (
                json!({"dst": "::/0", "Mtu": 1}),
                "\"ipam.routes[1].Mtu\" is unknown; is mtu meant?",
            ),
            (
                json!("::/0"),
                "ipam.routes[1]: expected an object, found a string",
            ),
        ];
        for (route, expected) in cases {
            check(with(route), &Value::Null, Err((7, expected)));
        }
    }

    #[test]
    fn the_runtimes_dns_replaces_what_it_says_something_of() {
        let ipam = json!({"dns": {"nameservers": ["10.0.0.2"], "domain": "example",
            "search": ["a", "b"], "options": ["ndots:2"]}});
        check(
            ipam.clone(),
            &Value::Null,
            Ok(" | example 10.0.0.2 a,b ndots:2"),
        );
        let runtime = json!({"dns": {"servers": ["10.0.0.3"], "searches": [], "options": null}});
        check(ipam, &runtime, Ok(" | example 10.0.0.3 a,b ndots:2"));
    }

    #[test]
    fn dns_and_addresses_of_a_wrong_type_are_code_7_and_name_their_key() {
        let cases = [
            (
                json!({"dns": []}),
                "ipam.dns: expected an object, found a list",
            ),
            (
                json!({"dns": {"nameservers": "a"}}),
                "ipam.dns.nameservers: expected a list",
            ),
            (
                json!({"dns": {"domain": 1}}),
                "ipam.dns.domain: expected a string, found a number 1",
            ),
            (json!({"dns": {"nameserver": []}}), "is nameservers meant?"),
            (
                json!({"addresses": [{}]}),
                "ipam.addresses[0].address is missing",
            ),
            (
                json!({"addresses": [{"address": "x/8"}]}),
                "ipam.addresses[0].address: \"x/8\"",
            ),
            (
                json!({"addresses": [{"address": "172.16.0.9"}]}),
                "has no prefix length",
            ),
            (
                json!({"addresses": {"address": "x"}}),
                "ipam.addresses: expected a list",
            ),
        ];
        for (ipam, expected) in cases {
            check(ipam, &Value::Null, Err((7, expected)));
        }
    }
}
