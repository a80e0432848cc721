//! Tables of looks, and what they prove of durable owners.

use std::collections::BTreeMap;
use std::time::Duration;

use whereabouts_core::address::Name;
use whereabouts_core::durable::DurableOwner;

use crate::{
    Answer, JudgedOwner, Ordinals, OwnerEvidence, OwnerJudge, OwnerLook, PodName, Rules, SetAnswer,
    SetName, Standing, Stay,
};

const GRACE: Duration = Duration::from_secs(60);

fn rules() -> Rules {
    Rules {
        grace: GRACE,
        run: GRACE,
        force: false,
    }
}

fn owner(pod: &str) -> JudgedOwner {
    JudgedOwner {
        owner: DurableOwner {
            network: Name::new("net").expect("a name"),
            namespace: "default".to_owned(),
            pod: pod.to_owned(),
            interface: "net1".to_owned(),
        },
        revision: 5,
        is_at_rest: true,
    }
}

fn set() -> SetName {
    SetName {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
    }
}

fn pod(owner: &JudgedOwner) -> PodName {
    PodName {
        namespace: "default".to_owned(),
        name: owner.owner.pod.clone(),
    }
}

fn error<T>() -> Result<T, String> {
    Err("no answer".to_owned())
}

#[allow(clippy::unnecessary_wraps, reason = "it is an answer")]
fn wants(start: u32, replicas: u32) -> SetAnswer {
    Ok(Some(Ordinals { start, replicas }))
}

/// A round of one owner, which begins and ends at a second. The answer about its pod is given only if it is asked for.
fn round(
    judge: &mut OwnerJudge,
    at: u64,
    owner: &JudgedOwner,
    (set_answer, pod_answer): (SetAnswer, Answer),
) -> Option<Standing<OwnerEvidence>> {
    let round = judge.begin([owner.clone()]);
    let sets: BTreeMap<SetName, SetAnswer> = round
        .sets()
        .into_iter()
        .map(|set| (set.clone(), set_answer.clone()))
        .collect();
    let pods = round.pods(&sets).into_iter();
    let pods = pods.map(|pod| (pod.clone(), pod_answer.clone())).collect();
    let begun = Duration::from_secs(at);
    let look = OwnerLook {
        begun,
        ended: begun,
        sets,
        pods,
    };
    let mut judgements = judge.decide(round, &look);
    judgements.pop().map(|judgement| judgement.standing)
}

fn waiting(second: u64) -> Standing<OwnerEvidence> {
    Standing::Waiting(Duration::from_secs(second))
}

/// One round of `web-2`: its second, and the answers.
type OneRound = (u64, (SetAnswer, Answer));

fn expect(cases: Vec<(Vec<OneRound>, Standing<OwnerEvidence>)>) {
    for (rounds, expected) in cases {
        let mut judge = OwnerJudge::new(rules());
        let mut last = None;
        for (at, answers) in rounds.clone() {
            last = round(&mut judge, at, &owner("web-2"), answers);
        }
        assert_eq!(last, Some(expected), "{rounds:?}");
    }
}

#[test]
fn an_owner_ends_when_for_a_grace_nothing_has_wanted_its_pod() {
    let gone = || (Ok(None), Ok(None));
    let small = || (wants(0, 2), Ok(None));
    let ended = |evidence| Standing::Releasable(evidence);
    expect(vec![
        (vec![(0, gone())], waiting(60)),
        (vec![(0, gone()), (59, gone())], waiting(60)),
        (
            vec![(0, gone()), (60, gone())],
            ended(OwnerEvidence::SetGone),
        ),
        (
            vec![(0, small()), (60, small())],
            ended(OwnerEvidence::OrdinalUnwanted),
        ),
        // Scaled down first, deleted afterwards: the last look names the evidence.
        (
            vec![(0, small()), (60, gone())],
            ended(OwnerEvidence::SetGone),
        ),
    ]);
}

#[test]
fn a_set_that_wants_the_ordinal_keeps_its_owner() {
    for (start, replicas, is_wanted) in [
        (0, 3, true),
        (0, 2, false),
        (0, 0, false),
        (2, 1, true),
        (1, 2, true),
        (1, 1, false),
        (3, 5, false),
        (2, 0, false),
        (2, u32::MAX, true),
        (0, u32::MAX, true),
        (u32::MAX, u32::MAX, false),
    ] {
        let answers = || (wants(start, replicas), Ok(None));
        let expected = if is_wanted {
            Standing::InUse(Stay::OrdinalWanted)
        } else {
            Standing::Releasable(OwnerEvidence::OrdinalUnwanted)
        };
        expect(vec![(vec![(0, answers()), (60, answers())], expected)]);
    }
}

#[test]
fn a_pod_of_the_name_a_set_that_is_made_again_and_each_error_void_the_evidence() {
    let gone = || (Ok(None), Ok(None));
    let orphan = || (Ok(None), Ok(Some("any UID".to_owned())));
    let left = || (wants(0, 2), Ok(Some("any UID".to_owned())));
    let unknown = Standing::InUse(Stay::Unknown("no answer".to_owned()));
    let present = Standing::InUse(Stay::PodPresent);
    expect(vec![
        // A pod of the name, orphaned or not ended yet.
        (vec![(0, orphan()), (900, orphan())], present.clone()),
        (vec![(0, left()), (900, left())], present.clone()),
        (vec![(0, gone()), (60, orphan())], present),
        (
            vec![(0, gone()), (30, orphan()), (60, gone())],
            waiting(120),
        ),
        // A StatefulSet that is made again.
        (
            vec![(0, gone()), (60, (wants(0, 3), Ok(None)))],
            Standing::InUse(Stay::OrdinalWanted),
        ),
        (
            vec![(0, gone()), (30, (wants(0, 3), Ok(None))), (60, gone())],
            waiting(120),
        ),
        // Errors.
        (
            vec![(0, gone()), (60, (error(), Ok(None)))],
            unknown.clone(),
        ),
        (
            vec![(0, gone()), (60, (Ok(None), error()))],
            unknown.clone(),
        ),
        (vec![(0, gone()), (60, (wants(0, 2), error()))], unknown),
        (
            vec![(0, gone()), (30, (error(), Ok(None))), (60, gone())],
            waiting(120),
        ),
        (
            vec![(0, gone()), (30, (Ok(None), error())), (60, gone())],
            waiting(120),
        ),
    ]);
}

#[test]
fn an_owner_that_changes_between_two_looks_starts_again() {
    let mut judge = OwnerJudge::new(rules());
    let mut changed = owner("web-2");
    let mut look = |at, owner: &JudgedOwner| round(&mut judge, at, owner, (Ok(None), Ok(None)));
    assert_eq!(look(0, &changed), Some(waiting(60)));
    // A pod had the addresses, and rests again.
    changed.revision = 6;
    assert_eq!(look(60, &changed), Some(waiting(120)));
    // A pod has them.
    let attached = JudgedOwner {
        is_at_rest: false,
        ..changed.clone()
    };
    assert_eq!(look(120, &attached), None);
    assert_eq!(look(121, &changed), Some(waiting(181)));
    let ended = Standing::Releasable(OwnerEvidence::SetGone);
    assert_eq!(look(181, &changed), Some(ended));
}

#[test]
fn an_owner_with_an_attachment_and_one_that_the_api_server_cannot_tell_of_stay() {
    let attached = JudgedOwner {
        is_at_rest: false,
        ..owner("web-2")
    };
    let mut strange = owner("web-2");
    strange.owner.namespace = "../x".to_owned();
    let mut no_namespace = owner("web-2");
    no_namespace.owner.namespace = String::new();
    for owner in [
        attached,
        owner("web"),
        owner("web-01"),
        owner("web-7d4b9c-24567"),
        owner("a/b-2"),
        owner("web?x=-2"),
        owner("-2"),
        strange,
        no_namespace,
    ] {
        let mut judge = OwnerJudge::new(rules());
        assert!(judge.begin([owner.clone()]).sets().is_empty(), "{owner:?}");
        for at in [0, 60, 120] {
            let told = round(&mut judge, at, &owner, (Ok(None), Ok(None)));
            assert_eq!(told, None, "{owner:?}");
        }
    }
}

#[test]
fn an_answer_that_is_missing_proves_nothing_and_a_wanted_pod_is_not_asked_for() {
    let web = owner("web-2");
    let mut judge = OwnerJudge::new(rules());
    let none = OwnerLook {
        begun: GRACE * 9,
        ended: GRACE * 9,
        sets: BTreeMap::new(),
        pods: BTreeMap::new(),
    };
    let only_set = OwnerLook {
        sets: BTreeMap::from([(set(), Ok(None))]),
        ..none.clone()
    };
    let only_pod = OwnerLook {
        pods: BTreeMap::from([(pod(&web), Ok(None))]),
        ..none.clone()
    };
    for look in [&none, &only_set, &only_pod] {
        let round = judge.begin([web.clone()]);
        let standing = judge.decide(round, look).remove(0).standing;
        assert!(
            matches!(standing, Standing::InUse(Stay::Unknown(_))),
            "{look:?}: {standing:?}"
        );
    }
    let round = judge.begin([owner("web-0"), web.clone()]);
    let sets = BTreeMap::from([(set(), wants(0, 1))]);
    assert_eq!(round.sets().len(), 1, "one question for both");
    let asked: Vec<&PodName> = round.pods(&sets).into_iter().collect();
    assert_eq!(asked, [&pod(&web)]);
    let failed = BTreeMap::from([(set(), error())]);
    assert!(round.pods(&failed).is_empty());
}

#[test]
fn an_answer_that_took_long_does_not_shorten_the_grace() {
    let web = owner("web-2");
    let mut judge = OwnerJudge::new(rules());
    let mut slow = |begun, ended| {
        let look = OwnerLook {
            begun: Duration::from_secs(begun),
            ended: Duration::from_secs(ended),
            sets: BTreeMap::from([(set(), Ok(None))]),
            pods: BTreeMap::from([(pod(&web), Ok(None))]),
        };
        let round = judge.begin([web.clone()]);
        judge.decide(round, &look).remove(0).standing
    };
    assert_eq!(slow(0, 50), waiting(110));
    assert_eq!(slow(100, 130), waiting(110));
    let ended = Standing::Releasable(OwnerEvidence::SetGone);
    assert_eq!(slow(110, 115), ended);
}

#[test]
fn one_run_ends_fifty_owners_or_a_tenth() {
    let ended = |count: u32, force| {
        let mut judge = OwnerJudge::new(Rules { force, ..rules() });
        let owners: Vec<JudgedOwner> = (0..count).map(|n| owner(&format!("web-{n}"))).collect();
        let pods = owners.iter().map(|owner| (pod(owner), Ok(None)));
        let pods: BTreeMap<PodName, Answer> = pods.collect();
        let mut look = |second| {
            let begun = Duration::from_secs(second);
            let look = OwnerLook {
                begun,
                ended: begun,
                sets: BTreeMap::from([(set(), Ok(None))]),
                pods: pods.clone(),
            };
            let round = judge.begin(owners.clone());
            let judgements = judge.decide(round, &look);
            let is_ended = |one: &&_| matches!(one, &&Standing::Releasable(_));
            let standings = judgements.iter().map(|one| &one.standing);
            let ended = standings.filter(is_ended).count();
            (ended, judge.due(&judgements).map(|due| due.as_secs()))
        };
        look(0);
        look(60)
    };
    assert_eq!(ended(40, false), (40, None));
    assert_eq!(ended(120, false), (50, Some(120)));
    assert_eq!(ended(2000, false), (200, Some(120)));
    assert_eq!(ended(2000, true), (2000, None));
}
