//! Whose the store is: noted once, by the first who has an identity, and looked at by all.

use tracing::info;

use crate::session::{Commit, Session};
use whereabouts_clock::Clock;
use whereabouts_core::failure::Failure;
use whereabouts_store::keys::Key;
use whereabouts_store::record;
use whereabouts_store::snapshot::Query;
use whereabouts_store::{Purpose, Store};

/// Notes that the store is this cluster's, unless it is another's. One that has claims or tickets and no identity may
/// be that of a cluster which does not know its identity: it stays as it is, for a person to say. A ticket counts because
/// whoever has the lock serves it, and compares only the own identity.
pub async fn found<S: Store, C: Clock>(session: &Session<'_, S, C>) -> Result<(), Failure> {
    let Some(identity) = session.identity() else {
        return Ok(());
    };
    let mut pauses = session.pauses();
    loop {
        let mut draft = session.draft();
        draft
            .is_for(Purpose::Note)
            .absent(&Key::Cluster)
            .unclaimed()
            .put(&Key::Cluster, record::encode_cluster(identity));
        draft.read_otherwise([Query::Cluster]);
        match session.commit(draft).await? {
            Commit::Done(_) => {
                info!(%identity, "the store is this cluster's from now on");
                return Ok(());
            }
            // The session has compared what was read.
            Commit::Conflict(_) => return Ok(()),
            Commit::DoneUnread(corrupt) => unreachable!("nothing was read after: {corrupt}"),
            Commit::Unknown(reason) => session.pause(&mut pauses, &reason).await?,
        }
    }
}

/// Sees that the store is this cluster's, for one that concludes from names of nodes that something in it can go:
/// they say nothing of the nodes of another cluster.
pub async fn confirm<S: Store, C: Clock>(session: &Session<'_, S, C>) -> Result<(), Failure> {
    match session.snapshot(&[Query::Cluster]).await {
        Err(Failure::NobodysStore { .. }) => found(session).await,
        other => other.map(drop),
    }
}

/// The same for a person who has looked at something and chosen it: only the store of a cluster that is known to
/// be another is none to change.
pub async fn confirm_choice<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
) -> Result<(), Failure> {
    if session.identity().is_none() {
        return Ok(());
    }
    match session.snapshot(&[Query::Cluster]).await {
        Err(Failure::NobodysStore { .. }) => Ok(()),
        other => other.map(drop),
    }
}
