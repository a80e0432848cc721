//! Tables of looks, and what they prove.

use std::collections::BTreeMap;
use std::time::Duration;

use whereabouts_core::address::Name;
use whereabouts_core::claim::Attachment;

use crate::{
    Answer, Evidence, Judge, JudgedClaim, Judgement, Look, NodeState, PodName, Rules, Standing,
    Stay,
};

const UID: &str = "0f5d7e7c-3c5b-4f3e-9a53-2f1b6a1e8d10";
const OTHER_UID: &str = "0f5d7e7c-3c5b-4f3e-9a53-2f1b6a1e8d11";
const GRACE: Duration = Duration::from_secs(60);

fn rules() -> Rules {
    Rules {
        grace: GRACE,
        run: GRACE,
        force: false,
    }
}

fn pod() -> PodName {
    PodName {
        namespace: "default".to_owned(),
        name: "web-0".to_owned(),
    }
}

fn claim(container: &str) -> JudgedClaim {
    let name = |text: &str| Name::new(text).expect("a name");
    JudgedClaim {
        attachment: Attachment {
            network: name("net"),
            container: name(container),
            interface: "net1".to_owned(),
        },
        revision: 5,
        pod: Some(pod()),
        pod_uid: Some(UID.to_owned()),
        node: Some("node-a".to_owned()),
    }
}

fn ready(renewed: u32, transition: &str) -> NodeState {
    NodeState::Ready {
        renewed: renewed.to_string(),
        transition: transition.to_owned(),
    }
}

fn error() -> String {
    "no answer".to_owned()
}

/// One round at a second, with one node and one pod.
fn round(
    judge: &mut Judge,
    at: u64,
    claim: &JudgedClaim,
    node: NodeState,
    answer: Answer,
) -> Vec<Standing> {
    let begun = Duration::from_secs(at);
    let round = judge.begin([claim.clone()], |_| false);
    let nodes = BTreeMap::from([("node-a".to_owned(), node)]);
    let asked = round.pods(&nodes).len();
    let pods = if asked == 0 {
        BTreeMap::new()
    } else {
        BTreeMap::from([(pod(), answer)])
    };
    let look = Look {
        begun,
        ended: begun,
        nodes,
        pods,
    };
    standings(judge.decide(round, &look))
}

fn standings(judgements: Vec<Judgement>) -> Vec<Standing> {
    judgements.into_iter().map(|one| one.standing).collect()
}

/// What the last of some rounds tells: each is a second, the node and the pod.
fn told(rounds: Vec<OneRound>) -> Standing {
    let mut judge = Judge::new(rules());
    let mut last = Vec::new();
    for (at, node, pod) in rounds {
        last = round(&mut judge, at, &claim("c"), node, pod);
    }
    last.remove(0)
}

fn waiting(second: u64) -> Standing {
    Standing::Waiting(Duration::from_secs(second))
}

/// One round: its second, the node and the pod.
type OneRound = (u64, NodeState, Answer);

/// Checks what each series of rounds tells.
fn expect(cases: Vec<(Vec<OneRound>, Standing)>) {
    for (rounds, expected) in cases {
        assert_eq!(told(rounds.clone()), expected, "{rounds:?}");
    }
}

#[test]
fn what_a_series_of_looks_proves() {
    use NodeState::{Missing, NotReady, OutOfService};
    let gone = Standing::Releasable(Evidence::NodeGone);
    let tainted = Standing::Releasable(Evidence::NodeOutOfService);
    let none: Answer = Ok(None);
    let cases = vec![
        // The Node object.
        (vec![(0, Missing, none.clone())], waiting(60)),
        (
            vec![(0, Missing, none.clone()), (59, Missing, none.clone())],
            waiting(60),
        ),
        (
            vec![(0, Missing, none.clone()), (60, Missing, none.clone())],
            gone.clone(),
        ),
        (
            vec![
                (0, Missing, Ok(Some(OTHER_UID.to_owned()))),
                (60, Missing, Ok(Some(OTHER_UID.to_owned()))),
            ],
            gone.clone(),
        ),
        // A registration in between, seen or as a Node that is not ready, voids the evidence.
        (
            vec![
                (0, Missing, none.clone()),
                (50, ready(1, "a"), none.clone()),
                (60, Missing, none.clone()),
            ],
            waiting(120),
        ),
        (
            vec![
                (0, Missing, none.clone()),
                (50, NotReady, none.clone()),
                (60, Missing, none.clone()),
            ],
            waiting(120),
        ),
        // A Node that is missed for the first time is not dead at once, however long the pod has been absent.
        (
            vec![
                (0, ready(1, "a"), none.clone()),
                (90, Missing, none.clone()),
            ],
            waiting(150),
        ),
        // The taint.
        (vec![(0, OutOfService, none.clone())], waiting(60)),
        (
            vec![
                (0, OutOfService, none.clone()),
                (60, OutOfService, Ok(Some(OTHER_UID.to_owned()))),
            ],
            tainted.clone(),
        ),
        (
            vec![
                (0, ready(1, "a"), none.clone()),
                (60, OutOfService, none.clone()),
            ],
            tainted,
        ),
        // A node that is cut off.
        (
            vec![(0, NotReady, none.clone()), (900, NotReady, none.clone())],
            Standing::InUse(Stay::NodeNotReady),
        ),
    ];
    expect(cases);
}

#[test]
fn a_pod_that_is_there_and_each_error_void_the_evidence() {
    use NodeState::Missing;
    let unknown = Standing::InUse(Stay::Unknown(error()));
    let none: Answer = Ok(None);
    let cases = vec![
        // The pod.
        (
            vec![
                (0, Missing, none.clone()),
                (60, Missing, Ok(Some(UID.to_owned()))),
            ],
            Standing::InUse(Stay::PodPresent),
        ),
        (
            vec![
                (0, Missing, none.clone()),
                (30, Missing, Ok(Some(UID.to_owned()))),
                (60, Missing, none.clone()),
            ],
            waiting(120),
        ),
        // Errors.
        (
            vec![(0, Missing, none.clone()), (60, Missing, Err(error()))],
            unknown.clone(),
        ),
        (
            vec![
                (0, Missing, none.clone()),
                (30, Missing, Err(error())),
                (60, Missing, none.clone()),
            ],
            waiting(120),
        ),
        (
            vec![
                (0, Missing, none.clone()),
                (60, NodeState::Unknown(error()), none.clone()),
            ],
            unknown,
        ),
        (
            vec![
                (0, Missing, none.clone()),
                (30, NodeState::Unknown(error()), none.clone()),
                (60, Missing, none),
            ],
            waiting(120),
        ),
    ];
    expect(cases);
}

#[test]
fn a_ready_node_must_be_heard_of_long_after_the_pod_was_seen_absent() {
    let none: Answer = Ok(None);
    let look = |at, renewed, transition| (at, ready(renewed, transition), none.clone());
    let released = Standing::Releasable(Evidence::PodGoneNodeReady);
    let cases = vec![
        (vec![look(0, 1, "a")], waiting(120)),
        (vec![look(0, 1, "a"), look(60, 2, "a")], waiting(120)),
        // The Lease was renewed after the look at 0, which may have been long ago.
        (vec![look(0, 1, "a"), look(120, 2, "a")], waiting(131)),
        (
            vec![look(0, 1, "a"), look(120, 2, "a"), look(131, 2, "a")],
            waiting(142),
        ),
        (
            vec![look(0, 1, "a"), look(120, 2, "a"), look(131, 3, "a")],
            released.clone(),
        ),
        // The clock of the node does not matter.
        (
            vec![look(0, 9, "a"), look(120, 8, "a"), look(131, 7, "a")],
            released.clone(),
        ),
        // The node was not Ready for some time, unnoticed but for the transition.
        (
            vec![look(0, 1, "a"), look(120, 2, "b"), look(131, 3, "b")],
            waiting(240),
        ),
        (
            vec![
                look(0, 1, "a"),
                look(120, 2, "b"),
                look(240, 3, "b"),
                look(251, 4, "b"),
            ],
            released,
        ),
    ];
    expect(cases);
}

#[test]
fn a_claim_that_changes_between_two_looks_starts_again() {
    let mut judge = Judge::new(rules());
    let mut changed = claim("c");
    let mut missing =
        |at, claim: &JudgedClaim| round(&mut judge, at, claim, NodeState::Missing, Ok(None));
    assert_eq!(missing(0, &changed), [waiting(60)]);
    changed.revision = 6;
    assert_eq!(missing(60, &changed), [waiting(120)]);
    assert_eq!(
        missing(120, &changed),
        [Standing::Releasable(Evidence::NodeGone)]
    );
}

#[test]
fn a_claim_of_which_the_api_server_cannot_tell_is_no_candidate() {
    let without = |change: fn(&mut JudgedClaim)| {
        let mut claim = claim("c");
        change(&mut claim);
        claim
    };
    for claim in [
        without(|claim| claim.pod_uid = None),
        without(|claim| claim.pod_uid = Some("b6a1d6e0f1c14ac5a1b2c3d4e5f60718".to_owned())),
        without(|claim| claim.pod = None),
        without(|claim| claim.node = None),
        without(|claim| claim.node = Some(String::new())),
    ] {
        let mut judge = Judge::new(rules());
        let round = judge.begin([claim.clone()], |_| false);
        assert!(round.nodes().is_empty(), "{claim:?}");
        let look = Look {
            begun: Duration::ZERO,
            ended: Duration::ZERO,
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
        };
        assert_eq!(judge.decide(round, &look), [], "{claim:?}");
    }
}

#[test]
fn a_pod_that_a_cache_shows_is_not_asked_for_and_its_evidence_is_void() {
    let mut judge = Judge::new(rules());
    let claim = claim("c");
    round(&mut judge, 0, &claim, NodeState::Missing, Ok(None));
    let cached = judge.begin([claim.clone()], |uid| uid == UID);
    assert!(cached.nodes().is_empty());
    let begun = Duration::from_secs(30);
    let look = Look {
        begun,
        ended: begun,
        nodes: BTreeMap::new(),
        pods: BTreeMap::new(),
    };
    assert_eq!(judge.decide(cached, &look), []);
    assert_eq!(
        round(&mut judge, 60, &claim, NodeState::Missing, Ok(None)),
        [waiting(120)]
    );
}

#[test]
fn an_answer_that_took_long_does_not_shorten_the_grace() {
    let mut judge = Judge::new(rules());
    let mut slow = |begun, ended| {
        let round = judge.begin([claim("c")], |_| false);
        let look = Look {
            begun: Duration::from_secs(begun),
            ended: Duration::from_secs(ended),
            nodes: BTreeMap::from([("node-a".to_owned(), NodeState::Missing)]),
            pods: BTreeMap::from([(pod(), Ok(None))]),
        };
        standings(judge.decide(round, &look)).remove(0)
    };
    assert_eq!(slow(0, 50), waiting(110));
    assert_eq!(slow(100, 130), waiting(110));
    assert_eq!(slow(110, 115), Standing::Releasable(Evidence::NodeGone));
}

/// How many of `count` leaked claims each of some rounds releases, and when the next round is due.
fn released(rules: Rules, count: usize, seconds: &[u64]) -> Vec<(usize, Option<Duration>)> {
    let mut judge = Judge::new(rules);
    let mut left: Vec<JudgedClaim> = (0..count).map(|n| claim(&format!("c{n}"))).collect();
    let mut counts = Vec::new();
    for second in seconds {
        let begun = Duration::from_secs(*second);
        let round = judge.begin(left.clone(), |_| false);
        let look = Look {
            begun,
            ended: begun,
            nodes: BTreeMap::from([("node-a".to_owned(), NodeState::Missing)]),
            pods: BTreeMap::from([(pod(), Ok(None))]),
        };
        let judgements = judge.decide(round, &look);
        let is_released = |one: &&Judgement| matches!(one.standing, Standing::Releasable(_));
        let gone = judgements.iter().filter(is_released);
        let gone: Vec<JudgedClaim> = gone.map(|one| one.claim.clone()).collect();
        left.retain(|claim| !gone.contains(claim));
        for claim in &gone {
            judge.released(claim);
        }
        counts.push((gone.len(), judge.due(&judgements)));
    }
    counts
}

#[test]
fn one_run_releases_fifty_claims_or_a_tenth() {
    let due = |second| Some(Duration::from_secs(second));
    let seconds = [0, 60, 61, 120, 180];
    let few = released(rules(), 120, &seconds);
    assert_eq!(
        few,
        [
            (0, due(60)),
            (50, due(120)),
            (0, due(120)),
            (50, due(180)),
            (20, None)
        ]
    );
    let many = released(rules(), 2000, &seconds[..2]);
    assert_eq!(many[1].0, 200);
    let once = Rules {
        run: Duration::MAX,
        ..rules()
    };
    assert_eq!(released(once, 120, &seconds)[4], (0, Some(Duration::MAX)));
    let rules = Rules {
        force: true,
        ..rules()
    };
    assert_eq!(released(rules, 2000, &seconds[..2])[1], (2000, None));
}

/// Rounds on leaked claims, of which the first `failing` have been leaked for longest and can never be released. Returns the tries and
/// the releases of each round.
fn tried_and_released(failing: usize, count: usize, seconds: &[u64]) -> Vec<(usize, usize)> {
    let mut judge = Judge::new(rules());
    let mut left: Vec<JudgedClaim> = (0..count).map(|n| claim(&format!("c{n:04}"))).collect();
    let stuck: Vec<JudgedClaim> = left[..failing].to_vec();
    let mut counts = Vec::new();
    for second in seconds {
        let begun = Duration::from_secs(*second);
        let shown = if *second == 0 { &stuck } else { &left };
        let round = judge.begin(shown.clone(), |_| false);
        let look = Look {
            begun,
            ended: begun,
            nodes: BTreeMap::from([("node-a".to_owned(), NodeState::Missing)]),
            pods: BTreeMap::from([(pod(), Ok(None))]),
        };
        let judgements = judge.decide(round, &look);
        let is_tried = |one: &&Judgement| matches!(one.standing, Standing::Releasable(_));
        let tried: Vec<_> = judgements.iter().filter(is_tried).collect();
        let mut released = 0;
        for one in &tried {
            if stuck.contains(&one.claim) {
                judge.failed(&one.claim, begun);
            } else {
                judge.released(&one.claim);
                left.retain(|claim| *claim != one.claim);
                released += 1;
            }
        }
        counts.push((tried.len(), released));
    }
    counts
}

#[test]
fn releases_that_always_fail_hold_up_no_other_one() {
    let counts = tried_and_released(60, 100, &[0, 1, 60, 61, 62, 125, 130]);
    // The stuck claims come first, as they were leaked first. The next round of the same run tries the others.
    assert_eq!(counts[..4], [(0, 0), (0, 0), (50, 0), (50, 40)]);
    // All that is left fails, and is put off: each claim for longer.
    assert_eq!(counts[4..], [(0, 0), (50, 0), (10, 0)]);
}

#[test]
fn a_release_that_fails_is_put_off_for_longer_each_time_and_no_longer_after_a_change() {
    let mut judge = Judge::new(rules());
    let mut shown = claim("c");
    let put_off = |until| Standing::PutOff(Evidence::NodeGone, Duration::from_secs(until));
    let releasable = Standing::Releasable(Evidence::NodeGone);
    for (at, expected) in [
        (0, waiting(60)),
        (60, releasable.clone()),
        (61, put_off(120)),
        (120, releasable.clone()),
        (121, put_off(240)),
        (240, releasable.clone()),
        (241, put_off(480)),
    ] {
        let found = round(&mut judge, at, &shown, NodeState::Missing, Ok(None));
        assert_eq!(found, [expected], "{at}");
        if found == [releasable.clone()] {
            judge.failed(&shown, Duration::from_secs(at));
        }
    }
    shown.revision += 1;
    let found = round(&mut judge, 300, &shown, NodeState::Missing, Ok(None));
    assert_eq!(found, [waiting(360)]);
    let found = round(&mut judge, 360, &shown, NodeState::Missing, Ok(None));
    assert_eq!(found, [releasable]);
}

#[test]
fn a_run_bounds_its_tries() {
    // 250 stuck claims: the run tries 50 of them at a time, and 200 in all.
    let seconds = [0, 60, 61, 62, 63, 64, 119, 120];
    let tries: Vec<usize> = tried_and_released(250, 250, &seconds)
        .into_iter()
        .map(|(tried, _)| tried)
        .collect();
    assert_eq!(tries, [0, 50, 50, 50, 50, 0, 0, 50]);
}
