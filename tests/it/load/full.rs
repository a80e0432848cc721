//! A large range filled to its last address, and beyond.

use crate::plugin::fill::{fill, filler};
use crate::plugin::{Pod, Site, range};
use crate::support::etcd::Cluster;

#[test]
fn a_16_filled_to_its_last_address_says_how_many_there_are_and_gives_the_one_that_is_freed() {
    let site = Site::of(Cluster::start(1));
    let network = site.network("10.0.0.0/16");
    let range = range("10.0.0.0/16");
    // All but the network and broadcast address, and the other 255 that end in .0.
    assert_eq!(range.size(), 65_534 - 255);
    let count = usize::try_from(range.size()).expect("a range of IPv4");
    fill(&site, &range, count - 1);
    network.status().assert_silent();
    assert_eq!(network.add(&Pod::new("last")).address(), "10.0.255.254/16");

    let late = Pod::new("late");
    let refused = network.add(&late);
    refused.assert_error(
        101,
        &["10.0.0.0/16", &format!("all of its {count} addresses")],
    );
    network.status().assert_error(50, &["10.0.0.0/16"]);
    site.assert_at_rest(count);

    // In the middle: each block of 255 before it is full.
    network.del(&filler(128 * 255 + 6)).assert_silent();
    network.status().assert_silent();
    assert_eq!(network.add(&late).address(), "10.0.128.7/16");
    network
        .add(&Pod::new("later"))
        .assert_error(101, &[&format!("all of its {count} addresses")]);
    site.assert_at_rest(count);
}
