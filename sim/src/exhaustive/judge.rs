//! The rules for every moment, and for every end.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_audit::invariants::audit;
use whereabouts_core::claim::Attachment;
use whereabouts_core::identity::Identity;
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::memory::State;
use whereabouts_store::{Entry, Outcome as Committed, Revision, Txn, Write, record};

use super::automaton::{Automata, End, Stand, Verb};
use super::choice::ProcessId;
use super::linearizable::{Call, Holdings, Operation, Outcome, linearize};
use super::moment::Moment;
use super::setting::Setting;
use super::tape::{Answer, Request};
use crate::setup::pods;
use crate::vocabulary::Step;

/// Steps within which everything ends.
const STEPS: u64 = 1_000;

/// The store is in order, and the end is not too far.
pub(super) fn moment(moment: &Moment, setting: &Setting) -> Result<(), String> {
    if moment.steps > STEPS {
        return Err(format!("no end after {STEPS} steps"));
    }
    own_cluster(moment, setting)?;
    let findings = audit(&setting.keys, moment.state.entries()).findings;
    findings
        .first()
        .map_or(Ok(()), |finding| Err(finding.to_string()))
}

/// The store holds no claim of a cluster that it is not of.
fn own_cluster(moment: &Moment, setting: &Setting) -> Result<(), String> {
    let cluster = cluster(&moment.state, &setting.keys);
    let held = holdings(&moment.state, &setting.keys);
    let adds = setting.verbs.iter().zip(&setting.identities);
    let mut strange = adds.filter(|(verb, identity)| {
        matches!(verb, Verb::Add(_))
            && held.contains_key(verb.attachment())
            && **identity != cluster
    });
    strange.next().map_or(Ok(()), |(verb, identity)| {
        let attachment = verb.attachment();
        Err(format!(
            "{attachment} of {identity:?} holds addresses in the store of {cluster:?}"
        ))
    })
}

/// Whose the store is.
fn cluster(state: &State, keys: &Keys) -> Option<Identity> {
    let is_it = |entry: &&Entry| keys.decode(&entry.key) == Ok(Key::Cluster);
    let entry = state.entries().find(is_it)?;
    Some(record::decode_cluster(&entry.value).expect("it was written by us"))
}

/// All that was done, before everything is deleted: it could have happened one at a time.
pub(super) fn history(
    moment: &Moment,
    setting: &Setting,
    automata: &Automata,
) -> Result<(), String> {
    let main = setting.processes[..setting.processes.len() - 1].concat();
    let operations: Vec<Operation> = main
        .into_iter()
        .filter_map(|index| {
            let (start, _) = moment.operations[index].begun?;
            let (end, place) = moment.operations[index].over?;
            let outcome = match place.map(|place| automata.stand(place)) {
                Some(Stand::Ended(end)) => outcome(end)?,
                Some(Stand::Asks { .. } | Stand::Pauses) | None => Outcome::Unknown,
            };
            Some(Operation {
                call: call(&setting.verbs[index]),
                outcome,
                start,
                end: place.map(|_| end),
            })
        })
        .collect();
    let last = holdings(&moment.state, &setting.keys);
    match linearize(&setting.held, &operations, Some(&last)) {
        Some(_) => Ok(()),
        None => {
            Err("no order of the operations explains their results and what is held".to_owned())
        }
    }
}

/// After everything was deleted: nothing is left but what was not to be deleted, and what a killed
/// ADD sent and arrived after its DEL.
pub(super) fn leftovers(moment: &Moment, setting: &Setting) -> Result<(), String> {
    let swept = &setting.processes[setting.processes.len() - 1];
    let mut may_be = setting.held.clone();
    for verb in swept {
        may_be.remove(setting.verbs[*verb].attachment());
    }
    let mut left = holdings(&moment.state, &setting.keys);
    // A claim that was there at first may have gone to a new container of its pod.
    may_be.retain(|held, _| {
        let mut swept = swept.iter().map(|verb| setting.verbs[*verb].attachment());
        left.contains_key(held) || !swept.any(|swept| pods::are_of_one(held, swept))
    });
    // A DEL of its container may have taken what has no interface, or left it beside other claims.
    may_be.retain(|held, _| {
        let mut swept = swept.iter().map(|verb| setting.verbs[*verb].attachment());
        left.contains_key(held) || !swept.any(|swept| swept.without_interface() == *held)
    });
    for excused in &moment.excused {
        left.remove(setting.verbs[*excused].attachment());
    }
    if left != may_be {
        let who: Vec<String> = left.keys().map(Attachment::to_string).collect();
        return Err(format!(
            "after all DELs there are claims of: {}",
            who.join("; ")
        ));
    }
    let excused = moment.excused.iter();
    let excused = excused.map(|operation| setting.verbs[*operation].attachment());
    let excused: BTreeSet<&Attachment> = excused.collect();
    for entry in moment.state.entries() {
        let may_be = match setting.keys.decode(&entry.key) {
            Ok(Key::Ticket(_)) => record::decode_whose_ticket(&entry.value)
                .is_ok_and(|whose| excused.contains(&whose)),
            // It is offered to who put such a ticket, or to who was struck when it was refused.
            Ok(Key::Lock(_)) => entry.lease == 0 && !moment.struck.is_empty(),
            Ok(
                Key::Open(_)
                | Key::Full(_)
                | Key::Claim(_)
                | Key::OnNode(..)
                | Key::Owner(_)
                | Key::Cluster
                | Key::Network(_),
            ) => true,
            Err(error) => return Err(error.to_string()),
        };
        if !may_be {
            let key = String::from_utf8_lossy(&entry.key);
            return Err(format!("after all DELs and leases there is {key}"));
        }
    }
    Ok(())
}

/// An operation has ended as it may.
pub(super) fn ended(
    moment: &Moment,
    operation: usize,
    end: &End,
    setting: &Setting,
) -> Result<(), String> {
    let verb = &setting.verbs[operation];
    let has_rival = setting.has_rival(operation);
    match end {
        End::Failed(reason) => {
            let excuse = moment.struck.contains(&operation) || has_rival || setting.is_impatient;
            if operation >= setting.sweep_from() || !excuse {
                return Err(format!(
                    "operation {operation} failed without a reason: {reason}"
                ));
            }
        }
        End::Added(held) => {
            let claims = holdings(&moment.state, &setting.keys);
            let claim = claims.get(verb.attachment());
            if !has_rival && claim != Some(held) {
                return Err(format!(
                    "operation {operation} ended with {end}, which it does not hold"
                ));
            }
        }
        End::Strange => {
            let cluster = cluster(&moment.state, &setting.keys);
            if cluster == setting.identities[operation] {
                return Err(format!(
                    "operation {operation} was refused in the store of {cluster:?}, its own"
                ));
            }
        }
        End::Deleted | End::Exhausted | End::HoldsOther => {}
    }
    Ok(())
}

/// Nobody is left to the slow timer unless somebody died.
pub(super) fn slow_timer(
    moment: &Moment,
    process: ProcessId,
    setting: &Setting,
) -> Result<(), String> {
    let operation = moment.operation(process, setting);
    // Whose ticket its own DEL has taken waits for a claim for the grace of an event.
    let sweeping = operation >= setting.sweep_from();
    if setting.is_impatient || !sweeping && setting.has_rival(operation) {
        return Ok(());
    }
    Err(format!("operation {operation} is left to its slow timer"))
}

/// A claim that has come into being since revision `before` is of an ADD that has not ended, or
/// was killed and not deleted since.
pub(super) fn appeared(moment: &Moment, before: Revision, setting: &Setting) -> Result<(), String> {
    for entry in moment
        .state
        .entries()
        .filter(|entry| entry.created > before)
    {
        let Ok(Key::Claim(attachment)) = setting.keys.decode(&entry.key) else {
            continue;
        };
        let claim = record::decode_claim(&entry.value).map_err(|error| error.to_string())?;
        let of_attachment = |number: &usize| *setting.verbs[*number].attachment() == attachment;
        let numbers = (0..setting.verbs.len()).filter(of_attachment);
        let may_be = numbers.clone().any(|number| {
            let add = &moment.operations[number];
            let is_deleted = |over: u64| {
                numbers.clone().any(|other| {
                    let del = &moment.operations[other];
                    matches!(setting.verbs[other], Verb::Del(..))
                        && del.begun.is_some_and(|(begun, _)| begun > over)
                        && matches!(del.over, Some((_, Some(_))))
                })
            };
            matches!(&setting.verbs[number], Verb::Add(ask) if ask.is_met_by(&claim))
                && match add.over {
                    None => add.begun.is_some(),
                    Some((over, Some(_))) => over == moment.steps,
                    Some((over, None)) => moment.late_ones.contains(&number) || !is_deleted(over),
                }
        });
        if !may_be {
            return Err(format!(
                "a claim of {attachment} appears after its ADD, or its DEL, ended"
            ));
        }
    }
    Ok(())
}

/// A request arrived and was applied after its sender had ended: it may change no claim.
pub(super) fn late_request(txn: &Txn, operation: usize, setting: &Setting) -> Result<(), String> {
    if changes_claim(txn, setting) {
        return Err(format!(
            "a request of operation {operation} changed a claim after its end"
        ));
    }
    Ok(())
}

/// A process that has lost the lease of its lock changes no claim any more.
pub(super) fn fenced(
    moment: &Moment,
    process: ProcessId,
    request: &Request,
    answer: &Answer,
    setting: &Setting,
) -> Result<(), String> {
    let operation = moment.operation(process, setting);
    let lease = moment.last_lease(process, setting);
    match (request, answer) {
        (Request::Commit(txn), Answer::Outcome(Ok(Committed::Done(_))))
            if moment.unleased.contains(&operation)
                && lease.is_some_and(|lease| !moment.is_alive(lease))
                && changes_claim(txn, setting)
                // A take-over needs no lock, and an ADD that is decided anew after one checks that the lock is free.
                && Step::of_commit(txn) == Step::Batch =>
        {
            Err(format!(
                "operation {operation} changed a claim after its lease had ended"
            ))
        }
        _ => Ok(()),
    }
}

fn changes_claim(txn: &Txn, setting: &Setting) -> bool {
    let of_claim = |write: &Write| match write {
        Write::Put { key, .. } | Write::Delete(key) => {
            matches!(setting.keys.decode(key), Ok(Key::Claim(_)))
        }
        Write::Rewrite { .. }
        | Write::Touch(_)
        | Write::Ensure { .. }
        | Write::DeleteUnlessNewer { .. } => false,
    };
    txn.writes.iter().any(of_claim)
}

fn holdings(state: &State, keys: &Keys) -> Holdings {
    let mut held = BTreeMap::new();
    for entry in state.entries() {
        if let Ok(Key::Claim(attachment)) = keys.decode(&entry.key) {
            let claim = record::decode_claim(&entry.value).expect("the audit was clean");
            held.insert(attachment, claim.held);
        }
    }
    held
}

fn call(verb: &Verb) -> Call {
    match verb {
        Verb::Add(ask) => Call::Add(ask.attachment.clone(), ask.wants.clone()),
        Verb::Del(attachment, _) => Call::Del(attachment.clone()),
    }
}

/// `None`: it has done nothing.
fn outcome(end: &End) -> Option<Outcome> {
    Some(match end {
        End::Added(held) => Outcome::Added(held.clone()),
        End::Deleted => Outcome::Deleted,
        End::Exhausted => Outcome::Short,
        End::HoldsOther => Outcome::HoldsOther,
        End::Strange => return None,
        End::Failed(_) => Outcome::Unknown,
    })
}
