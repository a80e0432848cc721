//! The orders of lists that people ask for: `--sort-by`.

use std::cmp::Reverse;

use whereabouts_audit::occupancy::Use;
use whereabouts_core::address::Address;

use super::shown::Shown;

/// The column by which claims are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ClaimOrder {
    /// The lowest address first.
    Address,
    Network,
    Pod,
    Node,
    /// The oldest first. A claim of an unknown age is the last one.
    Age,
    /// The claim that was written first.
    Revision,
}

impl ClaimOrder {
    /// Sorts `claims`. Equal ones are in the order of their addresses.
    pub(crate) fn sort(self, claims: &mut [Shown]) {
        by_address(claims);
        match self {
            Self::Address => {}
            Self::Network => claims.sort_by(|a, b| a.attachment.network.cmp(&b.attachment.network)),
            Self::Pod => claims.sort_by_cached_key(Shown::pod),
            Self::Node => claims.sort_by(|a, b| node(a).cmp(&node(b))),
            Self::Age => claims.sort_by_key(|shown| {
                let created = shown.claim.value.created;
                (created.is_zero(), created)
            }),
            Self::Revision => claims.sort_by_key(|shown| shown.claim.modified),
        }
    }
}

/// Sorts claims by their first addresses.
pub(crate) fn by_address(claims: &mut [Shown]) {
    claims.sort_by_key(first_address);
}

fn first_address(shown: &Shown) -> Option<Address> {
    shown.claim.value.held.first().map(|held| held.address)
}

/// A claim without a node comes after the others.
fn node(shown: &Shown) -> (bool, Option<&str>) {
    let node = shown.claim.value.owner.node.as_deref();
    (node.is_none(), node)
}

/// The column by which ranges are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RangeOrder {
    Range,
    /// The fullest first.
    Use,
    /// The most taken addresses first.
    Taken,
    /// The largest first.
    Size,
}

impl RangeOrder {
    /// Sorts `uses`. Equal ones keep their order.
    pub(crate) fn sort(self, uses: &mut [Use]) {
        match self {
            Self::Range => {}
            Self::Use => uses.sort_by(|a, b| share(b).total_cmp(&share(a))),
            Self::Taken => uses.sort_by_key(|one| Reverse(one.taken)),
            Self::Size => uses.sort_by_key(|one| Reverse(one.size)),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "only the order counts")]
fn share(used: &Use) -> f64 {
    used.taken as f64 / used.size.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use whereabouts_core::address::{Name, Pool};
    use whereabouts_core::allocator::Stored;
    use whereabouts_core::claim::{Attachment, Claim, Held, Owner, RangeId};

    use super::*;

    /// A claim of one address.
    fn claim(last: u8, network: &str, pod: &str, node: Option<&str>, created: u64) -> Shown {
        let address: IpAddr = format!("10.0.0.{last}").parse().expect("an address");
        let cidr = "10.0.0.0/24".parse().expect("a CIDR");
        let name = |text: &str| Name::new(text).expect("a name");
        Shown {
            attachment: Attachment {
                network: name(network),
                container: name(pod),
                interface: "eth0".to_owned(),
            },
            claim: Stored {
                value: Claim {
                    held: vec![Held {
                        range: RangeId {
                            pool: Pool::default(),
                            cidr,
                        },
                        address: address.into(),
                    }],
                    usable: Vec::new(),
                    owner: Owner {
                        node: node.map(str::to_owned),
                        pod_name: Some(pod.to_owned()),
                        ..Owner::default()
                    },
                    created: Duration::from_secs(created),
                },
                created: 1,
                modified: i64::from(100 - last),
            },
        }
    }

    #[test]
    fn claims_are_sorted_by_a_column_and_then_by_address() {
        let claims = [
            claim(3, "a", "web-1", Some("n2"), 50),
            claim(1, "b", "web-0", None, 0),
            claim(2, "b", "db-0", Some("n1"), 70),
            claim(4, "a", "web-0", Some("n1"), 50),
        ];
        let cases = [
            (ClaimOrder::Address, [1, 2, 3, 4]),
            (ClaimOrder::Network, [3, 4, 1, 2]),
            (ClaimOrder::Pod, [2, 1, 4, 3]),
            (ClaimOrder::Node, [2, 4, 3, 1]),
            (ClaimOrder::Age, [3, 4, 2, 1]),
            (ClaimOrder::Revision, [4, 3, 2, 1]),
        ];
        for (order, expected) in cases {
            let mut sorted = claims.to_vec();
            order.sort(&mut sorted);
            let found: Vec<u8> = sorted
                .iter()
                .map(|one| one.claim.value.held[0].address.bit())
                .collect();
            assert_eq!(found, expected, "{order:?}");
        }
    }

    #[test]
    fn ranges_are_sorted_with_the_fullest_or_largest_first() {
        let one = |taken: u128, size: u128| Use {
            range: RangeId {
                pool: Pool::default(),
                cidr: "10.0.0.0/8".parse().expect("a CIDR"),
            },
            intervals: Vec::new(),
            size,
            taken,
            held: 0,
        };
        let uses = [one(1, 10), one(200, 65_534), one(6, 6)];
        let cases = [
            (RangeOrder::Range, [10, 65_534, 6]),
            (RangeOrder::Use, [6, 10, 65_534]),
            (RangeOrder::Taken, [65_534, 6, 10]),
            (RangeOrder::Size, [65_534, 10, 6]),
        ];
        for (order, expected) in cases {
            let mut sorted = uses.to_vec();
            order.sort(&mut sorted);
            let found: Vec<u128> = sorted.iter().map(|one| one.size).collect();
            assert_eq!(found, expected, "{order:?}");
        }
    }
}
