//! The answers: results as CNI's JSON, in each version of CNI.
//!
//! Only this module makes the text on stdout. It does not know the origin of a result.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use tracing::instrument;

use crate::request::{AnswerParts, CniVersion, Dns, Route};
use whereabouts_core::address::{Address, Family};
use whereabouts_core::claim::Held;
use whereabouts_core::escaped;

/// The result of an ADD: first the held addresses, in the order of the request's wants, then the
/// static addresses (CNI 1.1.0, "ADD Success").
#[instrument(name = "answer", level = "debug", skip_all)]
pub fn success(version: CniVersion, held: &[Held], parts: &AnswerParts) -> String {
    assert_eq!(
        held.len(),
        parts.gateways.len(),
        "each held address is the answer to one want"
    );
    let allocated = held.iter().zip(&parts.gateways);
    let allocated = allocated.map(|(held, gateway)| (held.interface_address(), *gateway));
    let stated = parts.statics.iter().map(|one| (one.address, one.gateway));
    let addresses: Vec<_> = allocated.chain(stated).collect();
    match version {
        CniVersion::V0_1_0 | CniVersion::V0_2_0 => {
            let of_family = |family| {
                let mut addresses = addresses.iter().copied();
                let (ip, gateway) = addresses.find(|(ip, _)| family_of(*ip) == family)?;
                let routes = parts.routes.iter();
                Some(FamilyJson {
                    ip: ip.to_string(),
                    gateway: gateway.map(IpAddr::from),
                    routes: route_list(
                        version,
                        routes.filter(|route| family_of(route.dst) == family),
                    ),
                })
            };
            json(&FamilyResultJson {
                cni_version: version.as_str(),
                ip4: of_family(Family::V4),
                ip6: of_family(Family::V6),
                dns: DnsJson::new(&parts.dns),
            })
        }
        CniVersion::V0_3_0
        | CniVersion::V0_3_1
        | CniVersion::V0_4_0
        | CniVersion::V1_0_0
        | CniVersion::V1_1_0 => {
            let ip = |(address, gateway): &(IpNet, Option<Address>)| IpJson {
                version: (version < CniVersion::V1_0_0).then(|| family_of(*address).digit()),
                address: address.to_string(),
                gateway: gateway.map(IpAddr::from),
            };
            json(&ResultJson {
                cni_version: version.as_str(),
                ips: addresses.iter().map(ip).collect(),
                routes: route_list(version, parts.routes.iter()),
                dns: DnsJson::new(&parts.dns),
            })
        }
    }
}

/// The answer to VERSION (CNI 1.1.0, "Version Success").
pub fn versions(version: CniVersion) -> String {
    json(&VersionsJson {
        cni_version: version.as_str(),
        supported_versions: CniVersion::ALL.map(CniVersion::as_str),
    })
}

/// An error (CNI 1.1.0, "Error"). A `code` below 100 is one of the specification. `message` is the
/// kind of the error, and `details` names its case.
pub fn failure(version: CniVersion, code: u32, message: &str, details: &str) -> String {
    json(&ErrorJson {
        cni_version: version.as_str(),
        code,
        msg: message,
        details: &escaped::line(details),
    })
}

/// The text on stderr for a person who calls `program` without a verb.
pub(crate) fn about(program: &str) -> String {
    format!(
        "{} {}: a CNI IPAM plugin that gives each attachment of a cluster an address of its own\n\
         CNI versions: {}\n\
         It is called by a container runtime, with CNI_COMMAND in its environment.",
        escaped::line(program),
        env!("CARGO_PKG_VERSION"),
        CniVersion::ALL.map(CniVersion::as_str).join(", "),
    )
}

fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("structs of strings and numbers are JSON");
    escaped::json(&text).into_owned()
}

fn route_list<'a>(version: CniVersion, routes: impl Iterator<Item = &'a Route>) -> Vec<RouteJson> {
    routes.map(|route| RouteJson::new(version, route)).collect()
}

fn family_of(net: IpNet) -> Family {
    Address::from(net.addr()).family()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultJson<'a> {
    cni_version: &'a str,
    ips: Vec<IpJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<DnsJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyResultJson<'a> {
    cni_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<FamilyJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<FamilyJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<DnsJson<'a>>,
}

#[derive(Serialize)]
struct FamilyJson {
    ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteJson>,
}

#[derive(Serialize)]
struct IpJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<char>,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

#[derive(Serialize)]
struct RouteJson {
    dst: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advmss: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<u8>,
}

impl RouteJson {
    fn new(version: CniVersion, route: &Route) -> Self {
        let plain = Self {
            dst: route.dst.to_string(),
            gw: route.gw.map(IpAddr::from),
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        };
        if version < CniVersion::V1_1_0 {
            return plain;
        }
        Self {
            mtu: route.mtu,
            advmss: route.advmss,
            priority: route.priority,
            table: route.table,
            scope: route.scope,
            ..plain
        }
    }
}

#[derive(Serialize)]
struct DnsJson<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    nameservers: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    search: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    options: &'a [String],
}

impl<'a> DnsJson<'a> {
    /// The JSON of `dns`; `None` if it is empty.
    fn new(dns: &'a Dns) -> Option<Self> {
        (*dns != Dns::default()).then(|| Self {
            nameservers: &dns.nameservers,
            domain: dns.domain.as_deref(),
            search: &dns.search,
            options: &dns.options,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionsJson {
    cni_version: &'static str,
    supported_versions: [&'static str; CniVersion::ALL.len()],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorJson<'a> {
    cni_version: &'static str,
    code: u32,
    msg: &'a str,
    details: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::StaticAddress;
    use whereabouts_core::address::Pool;
    use whereabouts_core::claim::RangeId;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().expect("an address").into()
    }

    fn held(ip: &str, cidr: &str) -> Held {
        Held {
            range: RangeId {
                pool: Pool::default(),
                cidr: cidr.parse().expect("a CIDR"),
            },
            address: address(ip),
        }
    }

    /// A dual-stack result with every part.
    fn dual_stack() -> (Vec<Held>, AnswerParts) {
        let held = vec![
            held("10.0.0.5", "10.0.0.0/24"),
            held("fd00::5", "fd00::/64"),
        ];
        let route = |dst: &str, gw: Option<&str>| Route {
            dst: dst.parse().expect("a CIDR"),
            gw: gw.map(address),
            mtu: Some(1400),
            advmss: Some(1360),
            priority: Some(10),
            table: Some(100),
            scope: Some(0),
        };
        let parts = AnswerParts {
            gateways: vec![Some(address("10.0.0.1")), None],
            statics: Vec::new(),
            routes: vec![
                route("0.0.0.0/0", Some("10.0.0.1")),
                route("fd01::/64", None),
            ],
            dns: Dns {
                nameservers: vec!["10.0.0.2".to_owned()],
                domain: Some("example".to_owned()),
                search: vec!["a.example".to_owned()],
                options: vec!["ndots:2".to_owned()],
            },
        };
        (held, parts)
    }

    fn check(version: CniVersion, expected: &str) {
        let (held, parts) = dual_stack();
        let expected: String = expected.lines().map(str::trim).collect();
        assert_eq!(success(version, &held, &parts), expected);
    }

    const DNS: &str = r#""dns":{"nameservers":["10.0.0.2"],"domain":"example","search":["a.example"],"options":["ndots:2"]}"#;

    #[test]
    fn results_of_0_1_0_and_0_2_0_have_one_object_for_each_family() {
        for version in [CniVersion::V0_1_0, CniVersion::V0_2_0] {
            check(
                version,
                &format!(
                    r#"{{"cniVersion":"{version}",
                "ip4":{{"ip":"10.0.0.5/24","gateway":"10.0.0.1","routes":[{{"dst":"0.0.0.0/0","gw":"10.0.0.1"}}]}},
                "ip6":{{"ip":"fd00::5/64","routes":[{{"dst":"fd01::/64"}}]}},{DNS}}}"#
                ),
            );
        }
    }

    #[test]
    fn results_of_0_3_0_to_0_4_0_say_the_version_of_each_address() {
        for version in [CniVersion::V0_3_0, CniVersion::V0_3_1, CniVersion::V0_4_0] {
            check(
                version,
                &format!(
                    r#"{{"cniVersion":"{version}",
                "ips":[{{"version":"4","address":"10.0.0.5/24","gateway":"10.0.0.1"}},
                {{"version":"6","address":"fd00::5/64"}}],
                "routes":[{{"dst":"0.0.0.0/0","gw":"10.0.0.1"}},{{"dst":"fd01::/64"}}],{DNS}}}"#
                ),
            );
        }
    }

    #[test]
    fn results_of_1_0_0_do_not() {
        check(
            CniVersion::V1_0_0,
            &format!(
                r#"{{"cniVersion":"1.0.0",
            "ips":[{{"address":"10.0.0.5/24","gateway":"10.0.0.1"}},{{"address":"fd00::5/64"}}],
            "routes":[{{"dst":"0.0.0.0/0","gw":"10.0.0.1"}},{{"dst":"fd01::/64"}}],{DNS}}}"#
            ),
        );
    }

    #[test]
    fn routes_of_1_1_0_carry_mtu_advmss_priority_table_and_scope() {
        let more = r#""mtu":1400,"advmss":1360,"priority":10,"table":100,"scope":0"#;
        check(
            CniVersion::V1_1_0,
            &format!(
                r#"{{"cniVersion":"1.1.0",
            "ips":[{{"address":"10.0.0.5/24","gateway":"10.0.0.1"}},{{"address":"fd00::5/64"}}],
            "routes":[{{"dst":"0.0.0.0/0","gw":"10.0.0.1",{more}}},{{"dst":"fd01::/64",{more}}}],{DNS}}}"#
            ),
        );
    }

    #[test]
    fn static_addresses_follow_the_allocated_ones_and_empty_dns_is_omitted() {
        let parts = AnswerParts {
            gateways: vec![None],
            statics: vec![StaticAddress {
                address: "172.16.0.9/16".parse().expect("a CIDR"),
                gateway: Some(address("172.16.0.1")),
            }],
            ..AnswerParts::default()
        };
        let expected = r#"{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.5/24"},{"address":"172.16.0.9/16","gateway":"172.16.0.1"}]}"#;
        let held = [held("10.0.0.5", "10.0.0.0/24")];
        assert_eq!(success(CniVersion::V1_1_0, &held, &parts), expected);
    }

    #[test]
    fn version_answers_with_all_supported_versions() {
        let expected = r#"{"cniVersion":"0.4.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}"#;
        assert_eq!(versions(CniVersion::V0_4_0), expected);
    }

    #[test]
    fn an_error_is_one_line_of_version_code_msg_and_details() {
        let expected = r#"{"cniVersion":"1.0.0","code":7,"msg":"invalid \"x\"","details":"a\\nb"}"#;
        assert_eq!(
            failure(CniVersion::V1_0_0, 7, "invalid \"x\"", "a\nb"),
            expected
        );
    }

    #[test]
    fn the_about_text_names_the_program_as_it_was_called() {
        assert!(about("whereaboots").starts_with("whereaboots "));
        assert!(about("whereabouts").contains("1.1.0"));
    }
}
