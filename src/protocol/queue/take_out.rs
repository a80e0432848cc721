//! Taking a ticket that nobody is to serve out of its queue.

use super::machine::Machine;
use super::transactions;
use crate::operation::drive;
use crate::session::{Commit, Session};
use whereabouts_clock::Clock;
use whereabouts_core::allocator::{Demand, Stored};
use whereabouts_core::claim::Attachment;
use whereabouts_core::failure::Failure;
use whereabouts_store::Store;
use whereabouts_store::keys::Seat;
use whereabouts_store::record::Sender;
use whereabouts_store::snapshot::{Query, TicketEntry};

/// Deletes the ticket at `seat`, if there is one and it is `unwanted`. Its owner learns that from its watch; it may
/// be dead, so a lock that is offered to it is handed over in its stead.
pub(crate) async fn take_out<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    seat: &Seat,
    unwanted: impl Fn(&Stored<TicketEntry>) -> bool,
) -> Result<(), Failure> {
    let queries = [Query::Seat(seat.clone())];
    let mut pauses = session.pauses();
    let mut snapshot = session.snapshot(&queries).await?;
    let mut owner = None;
    loop {
        let seated = snapshot.seat(seat).expect("the seat was read");
        let Some(ticket) = seated.filter(|ticket| unwanted(ticket)) else {
            break;
        };
        if let (Some(whose), Ok(ticket)) = (&ticket.value.whose, &ticket.value.ticket) {
            owner = Some((whose.clone(), ticket.sender()));
        }
        let mut draft = session.draft();
        transactions::withdraw(&mut draft, seat, ticket.modified);
        draft.read_anyway(queries.iter().cloned());
        snapshot = match session.commit(draft).await? {
            Commit::Done(snapshot) | Commit::Conflict(snapshot) => snapshot,
            Commit::DoneUnread(corrupt) => return Err(corrupt.into()),
            Commit::Unknown(reason) => {
                session.pause(&mut pauses, &reason).await?;
                session.snapshot(&queries).await?
            }
        };
    }
    match owner {
        Some((attachment, sender)) => hand_over_for(session, seat, attachment, sender).await,
        None => Ok(()),
    }
}

/// Hands the lock over, if it is offered to `sender`, whose ticket was at `seat`.
async fn hand_over_for<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    seat: &Seat,
    attachment: Attachment,
    sender: Sender,
) -> Result<(), Failure> {
    let demand = Demand::Release {
        attachment,
        held: Vec::new(),
        home: None,
        modified: 0,
    };
    let mut machine = Machine::new(&demand, sender, session.surroundings());
    let step = machine.hand_over_for(seat.queue.clone());
    drive(session, machine, step).await.map(drop)
}
