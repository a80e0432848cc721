//! Addresses that another allocator has given, claimed as by an ADD, and the outcome of each.

use whereabouts_core::allocator::{Budget, Demand, Kept, Reach, Shortage, Verdict, decide};
use whereabouts_core::claim::{Ask, Choice, UNKNOWN_INTERFACE};
use whereabouts_core::limits;
use whereabouts_core::registry::Taken;
use whereabouts_store::snapshot::Query;

use crate::connection::Connection;
use crate::output::Decision;

/// The outcome of one request.
pub(super) struct Outcome {
    /// In a word.
    pub(crate) what: &'static str,
    /// Why it is refused.
    pub(crate) why: String,
}

/// How a refused request is told.
const REFUSED: &str = "refused";

impl Outcome {
    /// Whether its addresses are held, or would be.
    pub(crate) fn is_taken(&self) -> bool {
        self.what != REFUSED
    }

    pub(super) fn of(taken: &Taken, decision: Decision) -> Self {
        let said = |what, why: String| Self { what, why };
        match taken {
            Taken::Granted(_) if decision == Decision::DryRun => {
                said("would be claimed", String::new())
            }
            Taken::Granted(_) => said("claimed", String::new()),
            Taken::Revived(_) => said("kept already", String::new()),
            Taken::Kept(owner, kept) => said(REFUSED, format!("{owner} keeps {}", of_kept(kept))),
            Taken::Held(_) => said("held already", String::new()),
            Taken::HoldsOther(claim) => said(REFUSED, format!("it holds {claim}")),
            Taken::Short(Shortage::Taken(held)) => said(
                REFUSED,
                format!("{} is held by another attachment", held.address),
            ),
            Taken::TakenOver(old, _) => unreachable!("a stated claim was taken from {old}"),
            Taken::Short(Shortage::Exhausted(range)) => {
                unreachable!("a request for stated addresses found {range} full")
            }
        }
    }
}

fn of_kept(kept: &Kept) -> String {
    match kept {
        Kept::InUse(attachment, _) => format!("an address that {attachment} has"),
        Kept::Unwanted(held) => {
            let addresses: Vec<String> = held.iter().map(|one| one.address.to_string()).collect();
            addresses.join(", ")
        }
        Kept::Changed => "what another process has just written".to_owned(),
    }
}

/// Claims what `ask` states, or tells what would become of it.
pub(super) fn take(
    connection: &Connection,
    ask: &Ask,
    decision: Decision,
) -> Result<Outcome, String> {
    let taken = match decision {
        Decision::Refused | Decision::DryRun => Taken::of(foresee(connection, ask)?),
        Decision::Go => {
            let taken = connection.take(ask);
            taken.map_err(|error| format!("{}: {error}", ask.attachment))?
        }
    };
    Ok(Outcome::of(&taken, decision))
}

/// The decision as it would be now.
fn foresee(connection: &Connection, ask: &Ask) -> Result<Verdict, String> {
    let demand = Demand::Take(ask.clone());
    let mut queries = vec![Query::Claim(ask.attachment.clone())];
    let blocks = demand.block_questions(Reach::OneDemand);
    queries.extend(blocks.into_iter().map(Query::Blocks));
    let snapshot = connection.ask(connection.session().snapshot(&queries))?;
    let budget = Budget {
        compares: limits::TRANSACTION_OPERATIONS,
        operations: limits::TRANSACTION_OPERATIONS,
    };
    let plan = decide(snapshot.facts(), &[demand], budget);
    let verdict = plan.verdicts.into_iter().next();
    Ok(verdict.expect("a request for stated addresses needs no further read"))
}

/// The addresses that `ask` states.
pub(super) fn addresses(ask: &Ask) -> Vec<String> {
    let stated = ask.wants.iter().filter_map(|want| match want.choice {
        Choice::Exactly(address) => Some(address.to_string()),
        Choice::Lowest => None,
    });
    stated.collect()
}

/// The interface that `ask` names, if it names one.
pub(super) fn interface(ask: &Ask) -> Option<&str> {
    let interface = ask.attachment.interface.as_str();
    (interface != UNKNOWN_INTERFACE).then_some(interface)
}
