//! Promise 4, lowest first. There is an instant between an ADD's start and its end at which its address was the
//! lowest free one of its range. For a range said to be full, there is an instant at which it was full.
//! The judge looks for the instant among the revisions before the commit. One commit serves its demands in order: the
//! holder's own demand, then those of the deleted tickets, oldest first. The exhaustive mode checks small histories
//! completely, by another method.

use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Ask, Attachment, Choice, Claim};
use whereabouts_store::Revision;
use whereabouts_store::keys::QueuedVerb;

use super::asks::Asks;
use super::change::Change;
use super::ledger::Ledger;
use super::seen::Seen;
use super::since::Since;
use crate::vocabulary::Verb;

/// A demand that a commit served.
enum Served<'c> {
    /// For one of these requests.
    Given(Vec<&'c Ask>, &'c Claim),
    Taken(&'c Claim),
}

pub(super) fn check(
    ledger: &Ledger,
    asks: &Asks,
    change: &Change,
    by: Option<&Seen>,
) -> Result<(), String> {
    // An address that moves is not given anew.
    if change.given.is_empty() || change.moves() {
        return Ok(());
    }
    let own = own_demand(ledger, change, by);
    let mut orders = vec![in_order(asks, change, own)];
    // A ticket of another process may bring the holder's attachment its addresses.
    if own.is_some_and(|own| tickets(change).any(|ticket| ticket == own)) {
        orders.push(in_order(asks, change, None));
    }
    let since = |(attachment, claim): &(Attachment, Claim)| {
        let met = asks.met_by(attachment, claim).into_iter();
        met.map(|(_, at)| *at).min()
    };
    let first = change
        .given
        .iter()
        .filter_map(since)
        .max()
        .unwrap_or(change.revision);
    let last = change.revision - 1;
    if (first.min(last)..=last).rev().any(|revision| {
        let is_lowest = |served: &Vec<Served<'_>>| all_lowest(ledger, served, revision);
        orders.iter().any(is_lowest)
    }) {
        return Ok(());
    }
    let given: Vec<String> = change
        .given
        .iter()
        .map(|(attachment, claim)| format!("{attachment}: {claim}"))
        .collect();
    Err(format!(
        "these addresses were the lowest free ones at no revision from {first} to {last}: {}",
        given.join("; ")
    ))
}

/// Whose turn it is, and what for.
type Turn<'c> = (&'c Attachment, QueuedVerb);

/// The maker's own demand in a change. If the sender was killed before its commit came, this is the demand of the
/// process that has the lock. Without such a process, it is the demand whose addresses serve no ticket.
fn own_demand<'c>(
    ledger: &'c Ledger,
    change: &'c Change,
    by: Option<&'c Seen>,
) -> Option<Turn<'c>> {
    let holder = change.left.first().and_then(|ticket| {
        let lock = ledger.lock_before(&ticket.id.queue, change)?;
        Some((&lock.holder.attachment, lock.holder.verb))
    });
    let own = by.and_then(|seen| {
        let verb = match seen.verb {
            Verb::Add => QueuedVerb::Add,
            Verb::Del | Verb::Check | Verb::Gc | Verb::Status | Verb::End => QueuedVerb::Del,
        };
        let attachment = seen.attachment.as_ref()?;
        let taken = |of: &Attachment| {
            let mut taken = change.taken.iter().map(|(attachment, _)| attachment);
            taken.find(|taken| verb == QueuedVerb::Del && *taken == of)
        };
        // A DEL may take the claim of its container whose interface is not known. If both claims go, another process has sent
        // one of the DELs, and the lock tells for which one its holder waited.
        let is_holders = holder == Some((attachment, verb)) && taken(attachment).is_some();
        let nameless = taken(&attachment.without_interface()).filter(|_| !is_holders);
        Some((nameless.unwrap_or(attachment), verb))
    });
    let unqueued = |(attachment, _): &&(Attachment, Claim)| {
        let mut left = change.left.iter();
        !left.any(|ticket| ticket.id.attachment == *attachment)
    };
    let orphaned = change.given.iter().find(unqueued);
    own.or(holder)
        .or(orphaned.map(|(attachment, _)| (attachment, QueuedVerb::Add)))
}

/// The tickets that a change has deleted, oldest first.
fn tickets(change: &Change) -> impl Iterator<Item = Turn<'_>> {
    let left = change.left.iter();
    left.map(|ticket| (&ticket.id.attachment, ticket.id.verb))
}

fn in_order<'c>(asks: &'c Asks, change: &'c Change, own: Option<Turn<'c>>) -> Vec<Served<'c>> {
    // GC takes claims of other attachments. It has no attachment of its own.
    let collected = change.taken.iter().filter(|_| own.is_none());
    let collected = collected.map(|(attachment, _)| (attachment, QueuedVerb::Del));
    let collected = collected.filter(|turn| !tickets(change).any(|ticket| ticket == *turn));
    let order: Vec<Turn<'_>> = own
        .into_iter()
        .chain(collected)
        .chain(tickets(change))
        .collect();
    let mut served = Vec::new();
    for (index, place) in order.iter().enumerate() {
        if order[..index].contains(place) {
            continue;
        }
        let (attachment, verb) = place;
        let of = |(other, _): &&(Attachment, Claim)| other == *attachment;
        match verb {
            QueuedVerb::Add => {
                let given = change.given.iter().find(of);
                served.extend(given.map(|(attachment, claim)| {
                    let met = asks.met_by(attachment, claim).into_iter();
                    Served::Given(met.map(|(ask, _)| ask).collect(), claim)
                }));
            }
            QueuedVerb::Del => {
                let taken = change.taken.iter().find(of);
                served.extend(taken.map(|(_, claim)| Served::Taken(claim)));
            }
        }
    }
    served
}

fn all_lowest(ledger: &Ledger, served: &[Served<'_>], revision: Revision) -> bool {
    let mut since = Since::default();
    served.iter().all(|demand| match demand {
        Served::Taken(claim) => {
            claim.held.iter().for_each(|held| since.free(held));
            true
        }
        Served::Given(asks, claim) => {
            let before = since.clone();
            claim.held.iter().for_each(|held| since.take(held));
            // A claim that answers no request is the matter of promise 3.
            asks.is_empty()
                || asks
                    .iter()
                    .any(|ask| is_lowest(ledger, ask, claim, revision, before.clone()))
        }
    })
}

/// Whether the addresses of `claim` were the lowest that `ask` could be given at `revision`, after `since`.
fn is_lowest(
    ledger: &Ledger,
    ask: &Ask,
    claim: &Claim,
    revision: Revision,
    mut since: Since,
) -> bool {
    ask.wants.iter().zip(&claim.held).all(|(want, held)| {
        let lowest = match want.choice {
            Choice::Exactly(address) => Some(address),
            Choice::Lowest => {
                ledger.lowest_free_at(&want.range.pool, &want.usable, revision, &since)
            }
        };
        since.take(held);
        lowest == Some(held.address)
    })
}

pub(super) fn check_shortage(
    ledger: &Ledger,
    seen: &Seen,
    shortage: &Shortage,
) -> Result<(), String> {
    let ask = seen.ask.as_ref().expect("an ADD asks");
    let nothing = Since::default();
    let was_short = |revision: Revision| match shortage {
        Shortage::Taken(held) => ledger
            .bitmap_at(&held.slot(), revision)
            .is_set(held.address.bit()),
        Shortage::Exhausted(range) => ask.wants.iter().any(|want| match want.choice {
            Choice::Lowest => {
                want.range == *range
                    && ledger
                        .lowest_free_at(&range.pool, &want.usable, revision, &nothing)
                        .is_none()
            }
            Choice::Exactly(_) => false,
        }),
    };
    let (first, last) = (seen.started, ledger.revision());
    if (first..=last).rev().any(was_short) {
        return Ok(());
    }
    let attachment = &ask.attachment;
    Err(format!(
        "{attachment} was told {shortage:?}, which was true at no revision from {first} to {last}"
    ))
}
