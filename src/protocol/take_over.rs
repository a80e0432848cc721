//! Take-over: the new container of a pod is given the claim of the old one.
//!
//! A pod whose sandbox is made anew has the same UID and another container. The claim of the old container stays until
//! its DEL, which may be late or lost. Where nothing else is to be had, one transaction deletes that claim and writes
//! the same addresses into a claim of the new container. It writes no block, as the addresses stay taken: so it takes
//! nothing from those who wait for a free address, and needs no lock.
//!
//! An ADD of the old container may still be under way. It must not take the claim of the new container, which is in
//! use. So an ADD takes over only a claim that is older than its own first read.

use tracing::{info, instrument};

use crate::queue::transactions;
use crate::session::{Commit, Session};
use whereabouts_clock::Clock;
use whereabouts_core::allocator::Stored;
use whereabouts_core::claim::{Ask, Attachment, Claim};
use whereabouts_core::failure::Failure;
use whereabouts_core::registry::{Candidate, Registry, Scope, TakenOver};
use whereabouts_store::Store;
use whereabouts_store::snapshot::Query;

/// Takes over what an old container of the same pod holds, if that is all of what `ask` wants.
#[instrument(name = "take over", level = "debug", skip_all)]
pub(super) async fn take_over<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    ask: &Ask,
) -> Result<TakenOver, Failure> {
    if ask.owner.pod_uid.is_none() {
        return Ok(TakenOver::Nothing);
    }
    let Some((holder, claim, candidate)) = held_before(session, ask).await? else {
        // Another process of this attachment may just have taken it over.
        let own = [Query::Claim(ask.attachment.clone())];
        let snapshot = session.snapshot(&own).await?;
        let claim = snapshot.claim(&ask.attachment).expect("it was read");
        return Ok(match claim {
            Some(_) => TakenOver::Changed,
            None => TakenOver::Nothing,
        });
    };
    match candidate {
        Candidate::Here => commit(session, ask, &holder, claim).await,
        Candidate::Elsewhere => Ok(TakenOver::Elsewhere(Box::new((holder, claim.value)))),
    }
}

/// The claim of an old container: one of this node, if there is one, which costs two reads. Else all claims of the
/// network are looked through. Claims that cannot be read are passed over.
async fn held_before<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    ask: &Ask,
) -> Result<Option<(Attachment, Stored<Claim>, Candidate)>, Failure> {
    let begun = session.begun().expect("the ADD has been decided on a read");
    let network = &ask.attachment.network;
    let of_node = ask.owner.node.as_deref().map(|node| Scope::Node {
        node,
        network: Some(network),
        pod_uid: ask.owner.pod_uid.as_deref(),
    });
    let mut best = None;
    for scope in of_node.into_iter().chain([Scope::Network(network)]) {
        let mut after = None;
        loop {
            let page = session.page(scope, after.as_ref()).await?;
            let claims = page.claims.into_iter().flatten();
            if Candidate::choose(&mut best, ask, claims, begun) {
                return Ok(best);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    Ok(best)
}

async fn commit<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    ask: &Ask,
    holder: &Attachment,
    claim: Stored<Claim>,
) -> Result<TakenOver, Failure> {
    let taken = Claim {
        held: claim.value.held.clone(),
        owner: ask.owner.clone(),
        created: session.clock().since_epoch(),
    };
    let mut draft = session.draft();
    transactions::take_over(&mut draft, holder, &claim, &ask.attachment, &taken);
    draft.read_otherwise([Query::Cluster]);
    match session.commit(draft).await? {
        Commit::Done(_) => {
            info!(from = %holder, claim = %taken, "taken over");
            Ok(TakenOver::Done(taken.held))
        }
        Commit::DoneUnread(corrupt) => unreachable!("nothing was read after: {corrupt}"),
        Commit::Conflict(_) => Ok(TakenOver::Changed),
        Commit::Unknown(_) => {
            let mut fence = session.draft();
            transactions::fence_claim_of(&mut fence, holder, claim.modified);
            session.settle(&fence).await?;
            Ok(TakenOver::Changed)
        }
    }
}
