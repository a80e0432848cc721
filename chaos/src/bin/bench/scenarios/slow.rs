//! `slow`: one range, and a network on which each round trip takes some milliseconds more: so does
//! each commit, as its client sees it.

use std::net::SocketAddr;
use std::time::Duration;

use whereabouts_chaos::cluster::Cluster;
use whereabouts_chaos::proxy::{Link, Links, Party, Proxy};
use whereabouts_etcd::Access;

use super::pods;
use crate::arena::{Arena, Contender, Pattern};
use crate::client::text;
use crate::report::{Found, Ratio, Row, Target};
use crate::setting::{Setting, runtime};

/// By how much round trips take longer, in milliseconds.
const DELAYS_MS: [u64; 3] = [1, 5, 20];

/// At which of them the thousand pods come.
const PODS_AT_MS: u64 = 5;

/// How many clients.
const CLIENTS: usize = 256;

/// How many times as fast as a lock per range, at the longest.
const TO_RANGE_LOCK: f64 = 20.0;

/// Runs it.
pub(crate) fn run(setting: &Setting, window: Duration) -> Result<Found, String> {
    let mut all = Found::default();
    for delay_ms in DELAYS_MS {
        let runtime = runtime()?;
        let cluster = Cluster::start(setting.members, setting.storage, &[]);
        let network = Network::new(&cluster, Duration::from_millis(delay_ms))?;
        let arena = Arena::new(setting, &runtime, &cluster, network.access.clone())?;
        let mut found = vec![measure(&arena, window, delay_ms)?];
        if delay_ms == PODS_AT_MS {
            let about = format!("{delay_ms} ms more a round trip");
            found.push(pods::run_slow(&arena, &about)?);
        }
        for found in found {
            all.json.extend(found.json);
            all.ratios.extend(found.ratios);
            all.complaints.extend(found.complaints);
        }
    }
    Ok(all)
}

fn measure(arena: &Arena<'_>, window: Duration, delay_ms: u64) -> Result<Found, String> {
    let contenders = [
        Contender::Whereabouts,
        Contender::LockService,
        Contender::RangeLock,
        Contender::CompareRetry,
    ];
    let mut rows = Vec::new();
    let mut ratios = Vec::new();
    for contender in contenders {
        let cost = arena.run(contender, Pattern::Sustained(window), CLIENTS, 1)?;
        let is_longest = delay_ms == DELAYS_MS[DELAYS_MS.len() - 1];
        if is_longest && matches!(contender, Contender::LockService | Contender::RangeLock) {
            let ours: &Row = &rows[0];
            ratios.push(Ratio {
                name: format!(
                    "allocations/s, one range, {CLIENTS} clients, {delay_ms} ms more a round trip: \
                     to {contender}"
                ),
                value: ours.cost.rate() / cost.rate(),
                target: Target::AtLeast(TO_RANGE_LOCK),
            });
        }
        rows.push(Row {
            who: contender.to_string(),
            what: format!("ADD, {delay_ms} ms more a round trip"),
            clients: CLIENTS,
            ranges: 1,
            cost,
        });
    }
    Ok(Found {
        ratios,
        complaints: arena.complaints("slow")?,
        ..Found::of_rows(&rows)
    })
}

/// A slow network in front of a cluster.
struct Network {
    access: Access,
    _proxies: Vec<Proxy>,
}

impl Network {
    /// One on which each way takes half of `delay`.
    fn new(cluster: &Cluster, delay: Duration) -> Result<Self, String> {
        let links = Links::default();
        let mut access = cluster.access();
        let mut proxies = Vec::new();
        for (number, url) in access.endpoints.iter_mut().enumerate() {
            let member = Party::Member(number);
            links.set_both(Party::Clients, member, Link::delayed(delay / 2));
            let target = url.trim_start_matches("http://").parse();
            let target: SocketAddr = target.map_err(|error| format!("{url}: {error}"))?;
            let proxy = Proxy::for_clients(&links, member, target).map_err(text)?;
            *url = format!("http://{}", proxy.address());
            proxies.push(proxy);
        }
        Ok(Self {
            access,
            _proxies: proxies,
        })
    }
}
