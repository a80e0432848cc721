//! The worlds: a few processes on a few addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use whereabouts_core::address::{Address, Name, Range, RangeSpec};
use whereabouts_core::claim::{Ask, Attachment, Owner, Want};
use whereabouts_core::durable::DurableOwner;
use whereabouts_kubernetes::memory::{Model, Versions};

use super::judge::Broken;
use super::process::Job;
use super::state::{Planned, State};

/// A small world.
#[derive(Clone, Debug)]
pub struct SmallWorld {
    /// The name.
    pub name: &'static str,
    /// The number of faults that the world is explored with, besides none, in a few minutes.
    pub faults: u32,
    /// What happens before, alone.
    before: Vec<Before>,
    pub(super) jobs: Vec<Planned>,
}

#[derive(Clone, Debug)]
enum Before {
    /// A verb that runs to its end.
    Runs(Job),
    /// A claim is deleted, and its bits stay.
    Dies(Attachment),
    /// A person removes the labels of a claim.
    Unlabelled(Attachment),
}

impl SmallWorld {
    /// The first moment.
    pub(super) fn begin(&self, faults: u32) -> Result<State, Broken> {
        let mut state = State::new(Model::new(Versions::OfEach), &self.jobs, faults);
        for (index, before) in self.before.iter().enumerate() {
            match before {
                Before::Runs(job) => {
                    state.run_alone(job, &format!("b{index}"))?;
                }
                Before::Dies(attachment) => state.die(attachment),
                Before::Unlabelled(attachment) => state.unlabel(attachment),
            }
        }
        state.start(&self.jobs);
        Ok(state)
    }

    pub(super) fn attachments(&self) -> BTreeSet<Attachment> {
        let of_before = self.before.iter().map(|before| match before {
            Before::Runs(job) => job.attachment().clone(),
            Before::Dies(attachment) | Before::Unlabelled(attachment) => attachment.clone(),
        });
        let jobs = self
            .jobs
            .iter()
            .map(|planned| planned.job.attachment().clone());
        of_before.chain(jobs).collect()
    }
}

pub(super) fn range(cidr: &str, first: &str, last: &str) -> Range {
    let end = |text: &str| text.parse::<IpAddr>().ok().map(Address::from);
    let mut spec = RangeSpec::of(cidr.parse().expect("a CIDR"));
    (spec.first, spec.last) = (end(first), end(last));
    Range::new(spec).expect("it makes sense")
}

pub(super) fn attachment(container: &str) -> Attachment {
    Attachment {
        network: Name::new("net").expect("a name"),
        container: Name::new(container).expect("a name"),
        interface: "eth0".to_owned(),
    }
}

pub(super) fn ask(container: &str, wants: Vec<Want>) -> Ask {
    Ask {
        attachment: attachment(container),
        wants,
        owner: Owner::default(),
        may_take_over: true,
    }
}

pub(super) fn of_pod(container: &str, wants: Vec<Want>) -> Ask {
    let owner = Owner {
        node: Some("node".to_owned()),
        pod_uid: Some("pod".to_owned()),
        ..Owner::default()
    };
    Ask {
        owner,
        ..ask(container, wants)
    }
}

/// The request of a container of the pod `web-0`, which keeps its addresses, with this UID.
pub(super) fn web(container: &str, uid: &str, range: &Range) -> Ask {
    let mut ask = of_pod(container, vec![Want::lowest(range)]);
    ask.owner.pod_namespace = Some("ns".to_owned());
    ask.owner.pod_name = Some("web-0".to_owned());
    ask.owner.pod_uid = Some(uid.to_owned());
    ask.owner.is_durable = true;
    ask
}

fn web_owner() -> DurableOwner {
    let ask = web("any", "any", &one());
    ask.durable_owner().expect("it is durable")
}

pub(super) fn leave(container: &str) -> Planned {
    plan(Job::Leave(attachment(container), web_owner()))
}

fn end(container: &str) -> Planned {
    plan(Job::End(attachment(container), web_owner()))
}

/// One address: the last of a block.
pub(super) fn one() -> Range {
    range("10.0.0.0/16", "10.0.0.255", "10.0.0.255")
}

/// Two addresses of one block.
fn two() -> Range {
    range("10.0.0.0/16", "10.0.0.254", "10.0.0.255")
}

/// An address in each of two blocks.
pub(super) fn edge() -> Range {
    range("10.0.0.0/16", "10.0.0.255", "10.0.1.1")
}

/// The second of these blocks, and a second address in it.
fn behind() -> Range {
    range("10.0.0.0/16", "10.0.1.1", "10.0.1.2")
}

pub(super) fn add(container: &str, range: &Range) -> Planned {
    plan(Job::Add(ask(container, vec![Want::lowest(range)])))
}

pub(super) fn del(container: &str) -> Planned {
    plan(Job::Del(attachment(container)))
}

pub(super) fn plan(job: Job) -> Planned {
    Planned {
        job,
        after: Vec::new(),
    }
}

pub(super) fn after(others: &[usize], planned: Planned) -> Planned {
    Planned {
        after: others.to_vec(),
        ..planned
    }
}

fn held(container: &str, range: &Range) -> Before {
    Before::Runs(Job::Add(ask(container, vec![Want::lowest(range)])))
}

fn dead(container: &str, range: &Range) -> [Before; 2] {
    [held(container, range), Before::Dies(attachment(container))]
}

fn world(
    name: &'static str,
    faults: u32,
    before: impl IntoIterator<Item = Before>,
    jobs: Vec<Planned>,
) -> SmallWorld {
    SmallWorld {
        name,
        faults,
        before: before.into_iter().collect(),
        jobs,
    }
}

/// The worlds that are explored completely.
#[allow(clippy::too_many_lines, reason = "a table")]
pub fn small_worlds() -> Vec<SmallWorld> {
    let (one, two, edge, behind) = (one(), two(), edge(), behind());
    let far = range("fd00::/64", "fd00::1", "fd00::2");
    let dual = |container: &str| {
        plan(Job::Add(ask(
            container,
            vec![Want::lowest(&two), Want::lowest(&far)],
        )))
    };
    let exact = |container: &str| {
        let address = "10.0.0.255".parse::<IpAddr>().expect("an address").into();
        let want = Want::exactly(&two, address).expect("anybody may have it");
        plan(Job::Add(ask(container, vec![want])))
    };
    vec![
        world("two adds", 2, [], vec![add("a", &two), add("b", &two)]),
        world("an add twice", 2, [], vec![add("a", &two), add("a", &two)]),
        world(
            "an add, and again",
            2,
            [],
            vec![add("a", &two), after(&[0], add("a", &two))],
        ),
        world(
            "an add, its del, and another add",
            1,
            [],
            vec![add("a", &one), after(&[0], del("a")), add("b", &one)],
        ),
        world("add and del of one", 2, [], vec![add("a", &two), del("a")]),
        world(
            "del and another add",
            2,
            [held("a", &one)],
            vec![del("a"), add("b", &one)],
        ),
        world(
            "a del, and an add of the same",
            2,
            [held("a", &two)],
            vec![del("a"), after(&[0], add("a", &two))],
        ),
        world(
            "a full range",
            1,
            [held("a", &one)],
            vec![add("b", &one), add("c", &one)],
        ),
        world(
            "a claim without labels",
            1,
            [held("a", &one), Before::Unlabelled(attachment("a"))],
            vec![add("b", &one), add("a", &one)],
        ),
        world("a dead bit", 2, dead("a", &one), vec![add("b", &one)]),
        world(
            "a dead bit for two",
            1,
            dead("a", &one),
            vec![add("b", &one), add("c", &one)],
        ),
        world(
            "at the edge of a block",
            1,
            [],
            vec![add("a", &edge), add("b", &edge)],
        ),
        world(
            "the edge, and one that leaves",
            1,
            [held("a", &edge)],
            vec![del("a"), add("b", &edge), add("c", &edge)],
        ),
        world(
            "ranges that overlap",
            1,
            [],
            vec![add("a", &edge), add("b", &behind)],
        ),
        world(
            "a full edge",
            1,
            [held("a", &edge), held("b", &edge)],
            vec![del("a"), add("c", &edge)],
        ),
        world(
            "a full edge that turns",
            0,
            [held("a", &edge), held("b", &edge)],
            vec![
                del("a"),
                add("c", &edge),
                after(&[0], add("d", &edge)),
                after(&[2], del("b")),
            ],
        ),
        world(
            "twice at an edge",
            1,
            [held("b", &edge)],
            vec![add("a", &edge), add("a", &edge), del("b")],
        ),
        world(
            "add, del and add of one",
            1,
            [],
            vec![add("a", &two), del("a"), after(&[1], add("a", &two))],
        ),
        world("two families", 1, [], vec![dual("a"), dual("b")]),
        world(
            "an address by name",
            1,
            [],
            vec![exact("a"), add("b", &two), exact("c")],
        ),
        world(
            "an old container",
            1,
            [Before::Runs(Job::Add(of_pod(
                "old",
                vec![Want::lowest(&two)],
            )))],
            vec![
                plan(Job::Add(of_pod("new", vec![Want::lowest(&two)]))),
                del("old"),
                add("b", &two),
            ],
        ),
        world(
            "an old container that is added again",
            1,
            [Before::Runs(Job::Add(of_pod(
                "old",
                vec![Want::lowest(&two)],
            )))],
            vec![
                plan(Job::Add(of_pod("new", vec![Want::lowest(&two)]))),
                plan(Job::Add(of_pod("old", vec![Want::lowest(&two)]))),
            ],
        ),
        world(
            "a durable add, its del, and the next pod",
            1,
            [],
            vec![
                plan(Job::Add(web("a", "1", &two))),
                after(&[0], leave("a")),
                plan(Job::Add(web("b", "2", &two))),
            ],
        ),
        world(
            "a durable add, its del at once, and another add",
            1,
            [],
            vec![
                plan(Job::Add(web("a", "1", &one))),
                leave("a"),
                add("c", &one),
            ],
        ),
        world(
            "the end of a durable owner",
            1,
            [Before::Runs(Job::Add(web("a", "1", &one)))],
            vec![leave("a"), end("a"), plan(Job::Add(web("b", "2", &one)))],
        ),
        world(
            "an old container of a durable pod",
            1,
            [Before::Runs(Job::Add(web("old", "1", &two)))],
            vec![
                plan(Job::Add(web("new", "1", &two))),
                leave("old"),
                add("c", &two),
            ],
        ),
        world(
            "a network that becomes sticky",
            1,
            [Before::Runs(Job::Add(Ask {
                owner: Owner {
                    is_durable: false,
                    ..web("old", "1", &two).owner
                },
                ..web("old", "1", &two)
            }))],
            vec![
                plan(Job::Add(web("new", "1", &two))),
                leave("old"),
                add("c", &two),
            ],
        ),
        world(
            "three adds",
            1,
            [],
            vec![add("a", &two), add("b", &two), add("c", &two)],
        ),
        world(
            "three adds at the edge",
            0,
            [],
            vec![add("a", &edge), add("b", &edge), add("c", &edge)],
        ),
    ]
}
