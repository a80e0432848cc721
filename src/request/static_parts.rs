//! What the `static` plugin's config can say: addresses, routes and DNS.

use super::error::RequestError;
use super::findings::Findings;
use super::json::{Node, Object, Text};
use super::notation;
use super::plan::Stated;
use super::{Dns, Route};
use crate::address::Address;

/// The keys of `ipam` and of `runtimeConfig` about what is answered as it stands, not yet looked
/// at.
pub(super) struct Raw {
    addresses: Option<Node>,
    routes: Option<Node>,
    dns: Option<Node>,
    runtime_dns: Option<Node>,
}

/// What is answered as it stands.
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

    /// What they say.
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
    let host = notation::host(&text.text).map_err(|error| text.wrong(error))?;
    Ok(Stated {
        gateway,
        ..Stated::new(text, host)
    })
}

fn route(mut object: Object, findings: &mut Findings) -> Result<Route, RequestError> {
    let dst = object.needed_text("dst")?;
    let scope = number(&mut object, "scope", u8::MAX.into())?;
    let route = Route {
        dst: notation::cidr(&dst.text)
            .map_err(|error| dst.wrong(error))?
            .trunc(),
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

/// DNS as the conventions for `runtimeConfig` spell it.
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

/// What the runtime says, and where it says nothing what the config says.
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
    let read = |text: Text| notation::address(&text.text).map_err(|error| text.wrong(error));
    object.text(key)?.map(read).transpose()
}

fn number(object: &mut Object, key: &'static str, most: u32) -> Result<Option<u32>, RequestError> {
    let number = object
        .take(key)
        .map(|node| node.number(0, most.into()))
        .transpose()?;
    Ok(number.map(|number| u32::try_from(number).expect("it is at most a u32")))
}
