//! DEL: everything an attachment holds, and its place in a queue.

use tracing::info;

use crate::commands::Error;
use crate::operation;
use crate::queue::take_out;
use crate::session::{Failure, Session};
use whereabouts_clock::Clock;
use whereabouts_core::allocator::Stored;
use whereabouts_core::allocator::{Demand, Verdict};
use whereabouts_core::claim::{Attachment, QueueId};
use whereabouts_core::limits;
use whereabouts_store::Store;
use whereabouts_store::keys::{QueuedVerb, Seat, TicketId};
use whereabouts_store::snapshot::{Query, Seated, Snapshot};

/// Releases what the attachment holds, and takes what waits for it out of `queues`. Of the unknown,
/// nothing is written. An attachment that holds nothing stands for one whose interface is not known,
/// if that is all that its container holds in this network.
pub async fn del<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    attachment: &Attachment,
    queues: &[QueueId],
) -> Result<(), Error> {
    let seats = |verb| {
        let of = |queue: &QueueId| {
            let id = TicketId {
                queue: queue.clone(),
                attachment: attachment.clone(),
                verb,
            };
            id.seats()
        };
        queues.iter().flat_map(of).collect::<Vec<Seat>>()
    };
    let (adds, dels) = (seats(QueuedVerb::Add), seats(QueuedVerb::Del));
    let nameless = attachment.without_interface();
    let mut queries = vec![
        Query::Claim(attachment.clone()),
        Query::Claim(nameless.clone()),
    ];
    queries.extend(adds.iter().chain(&dels).cloned().map(Query::Seat));
    let mut snapshot = session.snapshot(&queries).await?;
    for _ in 0..limits::DEL_ROUNDS {
        let waiting = those_of(attachment, &snapshot, &adds);
        if !waiting.is_empty() {
            // Served first, perhaps: look again.
            cancel(session, attachment, &waiting).await?;
            snapshot = session.snapshot(&queries).await?;
            continue;
        }
        // Of a DEL that was killed, or of one that finds the claim gone.
        let needless = those_of(attachment, &snapshot, &dels);
        let claim_of = |attachment| snapshot.claim(attachment).expect("the claim was read");
        let (whose, claim) = match (claim_of(attachment), claim_of(&nameless)) {
            (Some(claim), _) => (attachment, claim),
            (None, Some(claim)) if is_all_of_container(session, &nameless).await? => {
                (&nameless, claim)
            }
            (None, Some(_) | None) => {
                cancel(session, attachment, &needless).await?;
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
                cancel(session, attachment, &needless).await?;
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

/// At which of the seats there are tickets of `attachment`.
fn those_of(attachment: &Attachment, snapshot: &Snapshot, seats: &[Seat]) -> Vec<Seat> {
    let has_one = |seat: &&Seat| {
        let seated = snapshot.seat(seat).expect("the seat was read");
        seated.is_some_and(|seated| is_of(attachment, seated))
    };
    seats.iter().filter(has_one).cloned().collect()
}

fn is_of(attachment: &Attachment, seated: &Stored<Seated>) -> bool {
    seated.value.whose.as_ref() == Some(attachment)
}

/// Takes the tickets of `attachment` at these seats out of their queues, if they are still there.
async fn cancel<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    attachment: &Attachment,
    seats: &[Seat],
) -> Result<(), Failure> {
    for seat in seats {
        take_out(session, seat, |seated| is_of(attachment, seated)).await?;
    }
    Ok(())
}
