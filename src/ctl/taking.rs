//! Addresses that another allocator has given, claimed as by an ADD, and the outcome of each.

use whereabouts_core::allocator::Shortage;
use whereabouts_core::allocator::{Budget, Demand, Reach, Verdict, decide};
use whereabouts_core::claim::{Ask, Choice, UNKNOWN_INTERFACE};
use whereabouts_core::limits;
use whereabouts_protocol::commands;
use whereabouts_store::snapshot::Query;

use crate::connection::Connection;
use crate::output::Decision;

/// The outcome of one request.
pub(crate) struct Outcome {
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

    fn of(verdict: &Verdict, decision: Decision) -> Self {
        let said = |what, why: String| Self { what, why };
        match verdict {
            Verdict::Granted(_) if decision == Decision::DryRun => {
                said("would be claimed", String::new())
            }
            Verdict::Granted(_) => said("claimed", String::new()),
            Verdict::Held(_) => said("held already", String::new()),
            Verdict::HoldsOther(claim) => said(REFUSED, format!("it holds {claim}")),
            Verdict::Short(Shortage::Taken(held)) => said(
                REFUSED,
                format!("{} is held by another attachment", held.address),
            ),
            verdict @ (Verdict::Short(Shortage::Exhausted(_))
            | Verdict::Released
            | Verdict::NothingHeld
            | Verdict::ClaimChanged(_)) => {
                unreachable!("a request for stated addresses ended with {verdict:?}")
            }
        }
    }
}

/// Claims what `ask` states, or tells what would become of it.
pub(crate) fn take(
    connection: &Connection,
    ask: &Ask,
    decision: Decision,
) -> Result<Outcome, String> {
    let verdict = match decision {
        Decision::Refused | Decision::DryRun => foresee(connection, ask)?,
        Decision::Go => {
            let taken = connection.wait(commands::take(&connection.session(), ask));
            taken.map_err(|error| format!("{}: {error}", ask.attachment))?
        }
    };
    Ok(Outcome::of(&verdict, decision))
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
pub(crate) fn addresses(ask: &Ask) -> Vec<String> {
    let stated = ask.wants.iter().filter_map(|want| match want.choice {
        Choice::Exactly(address) => Some(address.to_string()),
        Choice::Lowest(_) => None,
    });
    stated.collect()
}

/// The interface that `ask` names, if it names one.
pub(crate) fn interface(ask: &Ask) -> Option<&str> {
    let interface = ask.attachment.interface.as_str();
    (interface != UNKNOWN_INTERFACE).then_some(interface)
}
