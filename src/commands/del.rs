//! DEL: everything an attachment holds, and its place in a queue.

use tracing::{debug, info};

use crate::allocator::{Demand, Verdict};
use crate::claim::{Attachment, QueueId};
use crate::clock::Clock;
use crate::error::Error;
use crate::limits;
use crate::operation;
use crate::queue::write_removal;
use crate::session::{Commit, Failure, Session};
use crate::snapshot::{Query, Snapshot};
use crate::store::Store;
use crate::store::keys::{Key, QueuedVerb, TicketId};

/// Releases what the attachment holds, and takes an ADD of it out of `queues`. Of the unknown,
/// nothing is written. An attachment that holds nothing stands for one whose interface is not known,
/// if that is all that its container holds in this network.
pub async fn del<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    attachment: &Attachment,
    queues: &[QueueId],
) -> Result<(), Error> {
    let tickets: Vec<TicketId> = queues
        .iter()
        .map(|queue| TicketId {
            queue: queue.clone(),
            attachment: attachment.clone(),
            verb: QueuedVerb::Add,
        })
        .collect();
    let nameless = attachment.without_interface();
    let mut queries = vec![
        Query::Claim(attachment.clone()),
        Query::Claim(nameless.clone()),
    ];
    for ticket in &tickets {
        queries.push(Query::Ticket(ticket.clone()));
        queries.push(Query::Tickets {
            queue: ticket.queue.clone(),
            limit: 2,
        });
    }
    let mut snapshot = session.snapshot(&queries).await?;
    for _ in 0..limits::DEL_ROUNDS {
        if let Some(waiting) = tickets.iter().find(|id| is_there(&snapshot, id)) {
            snapshot = cancel(session, &snapshot, waiting, &queries).await?;
            continue;
        }
        let claim_of = |attachment| snapshot.claim(attachment).expect("the claim was read");
        let (whose, claim) = match (claim_of(attachment), claim_of(&nameless)) {
            (Some(claim), _) => (attachment, claim),
            (None, Some(claim)) if is_all_of_container(session, &nameless).await? => {
                (&nameless, claim)
            }
            (None, Some(_) | None) => {
                info!("nothing to delete");
                return Ok(());
            }
        };
        let (held, modified) = (claim.value.held.clone(), claim.modified);
        let release = Demand::Release {
            attachment: whose.clone(),
            held,
            modified,
        };
        match operation::perform(session, &release).await? {
            Verdict::Released | Verdict::NothingHeld => {
                info!(claim = %claim.value, "deleted");
                return Ok(());
            }
            // A fence, or another ADD: look again.
            Verdict::ClaimChanged(_) => snapshot = session.snapshot(&queries).await?,
            verdict @ (Verdict::Granted(_)
            | Verdict::Held(_)
            | Verdict::HoldsOther(_)
            | Verdict::Short(_)) => unreachable!("a DEL ended with {verdict:?}"),
        }
    }
    Err(Error::AddedAgain {
        attachment: attachment.clone(),
    })
}

/// Whether the claim of `nameless` is the only one of its container in its network. Claims of other
/// containers may be on the page that is read, and do not matter.
async fn is_all_of_container<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    nameless: &Attachment,
) -> Result<bool, Failure> {
    let (first, until) = session
        .keys()
        .claims_of(&nameless.network, &nameless.container);
    let page = session
        .snapshot(&[Query::Claims {
            network: Some(nameless.network.clone()),
            after: Some(first),
        }])
        .await?;
    let of_container = page.listed().iter().filter(|listed| listed.key < until);
    Ok(of_container.count() <= 1)
}

fn is_there(snapshot: &Snapshot, id: &TicketId) -> bool {
    snapshot.ticket(id).expect("the ticket was read").is_some()
}

/// Takes a waiting ADD out of its queue, unless it was served first.
async fn cancel<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    snapshot: &Snapshot,
    id: &TicketId,
    queries: &[Query],
) -> Result<Snapshot, Error> {
    let ticket = snapshot
        .ticket(id)
        .expect("the ticket was read")
        .expect("the ticket is there");
    let queue = snapshot.queue(&id.queue).expect("the queue was read");
    let key = session.keys().encode(&Key::Ticket(id.clone()));
    let mut draft = session.draft();
    write_removal(&mut draft, queue, &id.queue, &key, ticket.modified);
    draft.read_anyway(queries.iter().cloned());
    match session.commit(draft).await? {
        Commit::Done(snapshot) | Commit::Conflict(snapshot) => Ok(snapshot),
        Commit::DoneUnread(corrupt) => Err(Failure::from(corrupt).into()),
        Commit::Unknown(reason) => {
            debug!(reason, "cancelling again");
            Ok(session.snapshot(queries).await?)
        }
    }
}
