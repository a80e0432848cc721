//! DEL: everything an attachment holds, and its place in a queue.

use tracing::info;

use crate::allocator::{Demand, Verdict};
use crate::claim::{Attachment, QueueId};
use crate::clock::Clock;
use crate::error::Error;
use crate::limits;
use crate::operation;
use crate::queue::take_out;
use crate::session::{Failure, Session};
use crate::snapshot::{Query, Snapshot};
use crate::store::Store;
use crate::store::keys::{QueuedVerb, TicketId};

/// Releases what the attachment holds, and takes what waits for it out of `queues`. Of the unknown,
/// nothing is written. An attachment that holds nothing stands for one whose interface is not known,
/// if that is all that its container holds in this network.
pub async fn del<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    attachment: &Attachment,
    queues: &[QueueId],
) -> Result<(), Error> {
    let ticket = |verb| {
        let id = |queue: &QueueId| TicketId {
            queue: queue.clone(),
            attachment: attachment.clone(),
            verb,
        };
        queues.iter().map(id).collect::<Vec<TicketId>>()
    };
    let (adds, dels) = (ticket(QueuedVerb::Add), ticket(QueuedVerb::Del));
    let nameless = attachment.without_interface();
    let mut queries = vec![
        Query::Claim(attachment.clone()),
        Query::Claim(nameless.clone()),
    ];
    queries.extend(adds.iter().chain(&dels).cloned().map(Query::Ticket));
    let mut snapshot = session.snapshot(&queries).await?;
    for _ in 0..limits::DEL_ROUNDS {
        let waiting = those_in(&snapshot, &adds);
        if !waiting.is_empty() {
            // Served first, perhaps: look again.
            cancel(session, &waiting).await?;
            snapshot = session.snapshot(&queries).await?;
            continue;
        }
        // Of a DEL that was killed, or of one that finds the claim gone.
        let needless = those_in(&snapshot, &dels);
        let claim_of = |attachment| snapshot.claim(attachment).expect("the claim was read");
        let (whose, claim) = match (claim_of(attachment), claim_of(&nameless)) {
            (Some(claim), _) => (attachment, claim),
            (None, Some(claim)) if is_all_of_container(session, &nameless).await? => {
                (&nameless, claim)
            }
            (None, Some(_) | None) => {
                cancel(session, &needless).await?;
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
                cancel(session, &needless).await?;
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

fn those_in(snapshot: &Snapshot, ids: &[TicketId]) -> Vec<TicketId> {
    let is_there = |id: &&TicketId| snapshot.ticket(id).expect("the ticket was read").is_some();
    ids.iter().filter(is_there).cloned().collect()
}

/// Takes these tickets out of their queues, if they are still there.
async fn cancel<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    tickets: &[TicketId],
) -> Result<(), Failure> {
    for id in tickets {
        take_out(session, id, |_| true).await?;
    }
    Ok(())
}
