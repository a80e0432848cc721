//! The page's API and metrics, with whatever is stored.

use whereabouts_core::escaped;

use super::Server;
use crate::ctl::hostile;

#[test]
fn the_api_and_the_metrics_tell_of_whatever_is_stored() {
    let site = hostile::site();
    let server = Server::of(&site, &[]);
    for path in [
        "/api/ranges",
        "/api/queues",
        "/api/claims?range=10.1.0.0/16",
        "/api/claims?range=::/0",
        "/api/blocks?range=0.0.0.0/0",
        "/api/blocks?range=::/0",
        "/api/block?range=::/0&block=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "/api/block?range=255.255.255.0/24",
        "/api/block?range=10.0.0.0/24",
        "/api/range?range=10.1.0.0/16",
        "/api/map?range=0.0.0.0/0",
        "/api/map?range=::/0&columns=64",
        "/api/map?range=::/0&at=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00/120&columns=8",
        "/api/address?range=::/0&address=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "/api/address?range=255.255.255.0/24&address=255.255.255.255",
        "/api/overview",
        "/api/suspects",
        "/api/groups?by=node",
        "/api/feed",
        "/api/search?search=::/0",
        "/api/search?search=network:net",
        "/api/search?search=c1",
        "/api/search?search=10.0.0.0",
        "/api/search?search=%1b",
    ] {
        server.json(path);
    }
    for line in server.get("/metrics").lines() {
        let is_sample = line.starts_with("whereabouts_") || line.starts_with("process_");
        assert!(line.starts_with("# ") || is_sample, "{line:.300}");
        assert!(!line.contains('\n'));
    }
    for empty in ["", "%20", "%0a"] {
        let refused = server.request(
            &format!("GET /api/search?search={empty}"),
            "Host: localhost\r\n",
        );
        assert!(refused.head.starts_with("HTTP/1.1 400"), "{}", refused.head);
        assert_eq!(escaped::lines(&refused.body), refused.body);
    }
    for wrong in [
        "/api/map?range=10.0.0.0/24&at=10.0.0.0/16",
        "/api/map?range=10.0.0.0/24&at=10.9.0.0/28",
        "/api/map?range=10.0.0.0/24&columns=0",
        "/api/map?range=10.0.0.0/24&columns=128",
        "/api/address?range=10.0.0.0/24",
        "/api/address?range=10.0.0.0/24&address=10.0.1.1",
        "/api/groups?by=owner",
        "/api/search?search=c&after=x",
    ] {
        let refused = server.request(&format!("GET {wrong}"), "Host: localhost\r\n");
        assert!(
            refused.head.starts_with("HTTP/1.1 400"),
            "{wrong}: {}",
            refused.head
        );
    }
    server.await_state("live");
}
