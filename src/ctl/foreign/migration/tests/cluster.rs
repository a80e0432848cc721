//! The plan of all objects of a real cluster.

use super::*;

/// The objects, as kubectl prints them.
fn cluster() -> Vec<Value> {
    [
        include_str!("../../../../../tests/it/ctl/ancestor/ippools.yaml"),
        include_str!("../../../../../tests/it/ctl/ancestor/reservations.yaml"),
        include_str!("../../../../../tests/it/ctl/ancestor/networks.yaml"),
        include_str!("../../../../../tests/it/ctl/ancestor/pods.yaml"),
    ]
    .map(|text| serde_saphyr::from_str(text).expect("kubectl prints YAML"))
    .to_vec()
}

/// Worked out by hand. Interface and container are those of the IPPool. The network is the one whose
/// definition has its range and `network_name`. Node and UID are the pod's. Ids have four digits here.
const CLAIMS: [&str; 20] = [
    "net1 of 2ed3 in team-b: 10.61.0.2 of team-b 10.61.0.0/28, default/cache-ztcph node-b d6a3",
    "net1 of 2f77 in storage: 10.60.0.2 of (shared) 10.60.0.0/24, default/web-qmcpm node-b b61e",
    "net1 of 3d93 in storage: 10.60.0.4 of (shared) 10.60.0.0/24, default/web-l5hvb node-a dc1e",
    "net1 of 7113 in team-b: 10.61.0.3 of team-b 10.61.0.0/28, default/cache-99v4c node-a a6a1",
    "net1 of 713c in team-a: 10.61.0.1 of team-a 10.61.0.0/28, default/db-1 node-a 4a9c",
    "net1 of 8921 in storage: 10.60.0.3 of (shared) 10.60.0.0/24, default/web-2cs7d node-b 0d83",
    "net1 of 9076 in window: 10.63.1.11 of (shared) 10.63.0.0/16, default/two-r845g node-a a0ed",
    "net1 of ab8c in window: 10.63.1.10 of (shared) 10.63.0.0/16, default/two-lb6nn node-b 7566",
    "net1 of c251 in team-a: 10.61.0.3 of team-a 10.61.0.0/28, default/db-0 node-a d5d7",
    "net1 of d12f in team-b: 10.61.0.1 of team-b 10.61.0.0/28, default/cache-htqfh node-b a343",
    "net1 of e035 in team-a: 10.61.0.2 of team-a 10.61.0.0/28, default/db-2 node-b d050",
    "net1 of edfe in storage: 10.60.0.1 of (shared) 10.60.0.0/24, default/web-wj94w node-a 8307; 10.60.0.1 is the gateway of default/storage",
    "net2 of 2ed3 in part: 10.60.0.18 of (shared) 10.60.0.16/28, default/cache-ztcph node-b d6a3",
    "net2 of 7113 in part: 10.60.0.19 of (shared) 10.60.0.16/28, default/cache-99v4c node-a a6a1",
    "net2 of 713c in dual: 10.62.0.2 of (shared) 10.62.0.0/24, fd62::2 of (shared) fd62::/64, default/db-1 node-a 4a9c",
    "net2 of 9076 in window: 10.63.1.12 of (shared) 10.63.0.0/16, default/two-r845g node-a a0ed",
    "net2 of ab8c in window: 10.63.1.13 of (shared) 10.63.0.0/16, default/two-lb6nn node-b 7566",
    "net2 of c251 in dual: 10.62.0.3 of (shared) 10.62.0.0/24, fd62::3 of (shared) fd62::/64, default/db-0 node-a d5d7",
    "net2 of d12f in part: 10.60.0.17 of (shared) 10.60.0.16/28, default/cache-htqfh node-b a343",
    "net2 of e035 in dual: 10.62.0.1 of (shared) 10.62.0.0/24, fd62::1 of (shared) fd62::/64, default/db-2 node-b d050",
];

#[test]
fn the_objects_of_a_real_cluster_are_claims_of_the_right_pool_network_and_node() {
    let plan = plan(cluster(), Stale::Take).expect("all kinds are there");
    let mut found: Vec<String> = plan
        .takes
        .iter()
        .map(|(ask, notes)| {
            let Ask {
                attachment, owner, ..
            } = ask;
            let wants = ask.wants.iter().map(|want| {
                let range = &want.range;
                format!("{} of {} {}", stated(want), range.pool, range.cidr)
            });
            let wants: Vec<String> = wants.collect();
            let text = |part: &Option<String>| part.clone().unwrap_or_default();
            let notes = [&[String::new()], notes.as_slice()].concat().join("; ");
            format!(
                "{} of {} in {}: {}, {}/{} {} {}{notes}",
                attachment.interface,
                &attachment.container.as_str()[..4],
                attachment.network,
                wants.join(", "),
                text(&owner.pod_namespace),
                text(&owner.pod_name),
                text(&owner.node),
                &text(&owner.pod_uid)[..4],
            )
        })
        .collect();
    found.sort();
    assert_eq!(found, CLAIMS);
    assert_eq!((plan.refused.len(), plan.left.len()), (0, 0));
    let addresses: usize = plan.takes.iter().map(|(ask, _)| ask.wants.len()).sum();
    assert_eq!(addresses, 23);
}
