//! Taking a ticket that nobody is to serve out of its queue.

use super::machine::Machine;
use super::transactions;
use crate::operation::drive;
use crate::session::Session;
use whereabouts_clock::Clock;
use whereabouts_core::allocator::Stored;
use whereabouts_core::failure::Failure;
use whereabouts_store::keys::Seat;
use whereabouts_store::record::Ticket;
use whereabouts_store::snapshot::{Query, TicketEntry};
use whereabouts_store::{Purpose, Store};

/// Deletes the ticket at `seat`, if there is one and it is `unwanted`. Its owner learns that from its watch; it may
/// be dead, so a lock that is offered to it is handed over in its stead.
pub(crate) async fn take_out<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    seat: &Seat,
    unwanted: impl Fn(&Stored<TicketEntry>) -> bool,
) -> Result<(), Failure> {
    let queries = [Query::Seat(seat.clone())];
    let mut snapshot = session.snapshot(&queries).await?;
    let mut owner = None;
    loop {
        let seated = snapshot.seat(seat).expect("the seat was read");
        let Some(ticket) = seated.filter(|ticket| unwanted(ticket)) else {
            break;
        };
        if let Ok(Ticket::Asks { sender, demand, .. }) = &ticket.value.ticket {
            owner = Some((*sender, demand.clone()));
        }
        let mut draft = session.draft();
        transactions::remove(&mut draft, (seat, ticket.modified));
        draft.is_for(Purpose::Withdraw).read_anyway(queries.clone());
        // Sent again, it finds its own deletion.
        snapshot = session.settle(&draft).await?;
    }
    let Some((sender, demand)) = owner else {
        return Ok(());
    };
    let mut machine = Machine::new(&demand, sender, session.surroundings());
    let step = machine.hand_over_for(seat.queue.clone());
    drive(session, machine, step).await.map(drop)
}
