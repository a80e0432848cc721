//! CHECK: what the attachment holds is in its result, and in the store.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::request::{CheckRequest, Expectation};
use crate::commands::Error;
use crate::session::Session;
use whereabouts_clock::Clock;
use whereabouts_core::allocator::BlockState;
use whereabouts_store::Store;
use whereabouts_store::snapshot::Query;

/// Checks that the claim is there, that `prevResult` has all of its addresses and the static ones,
/// and that each claimed address is marked as taken. Further addresses in `prevResult` are those of
/// other plugins.
pub async fn check<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    request: &CheckRequest,
) -> Result<(), Error> {
    let attachment = &request.attachment;
    let mut snapshot = session
        .snapshot(&[Query::Claim(attachment.clone())])
        .await?;
    let claim = snapshot.claim(attachment).expect("the claim was read");
    let held = match (claim, request.claim) {
        (Some(claim), _) => claim.value.held.clone(),
        (None, Expectation::NotNeeded) => Vec::new(),
        (None, Expectation::Needed) => {
            let attachment = attachment.clone();
            return Err(Error::NoClaim { attachment });
        }
    };
    let previous = |address: &IpNet| request.previous.contains(address);
    if let Some(missing) = request.statics.iter().find(|address| !previous(address)) {
        return Err(Error::StaticNotInPrevious(*missing));
    }
    if let Some(missing) = held
        .iter()
        .find(|held| !previous(&held.interface_address()))
    {
        let address = missing.address;
        return Err(Error::NotInPrevious {
            attachment: attachment.clone(),
            address,
        });
    }
    let blocks: BTreeSet<Query> = held
        .iter()
        .flat_map(|held| Query::block(&held.slot()))
        .collect();
    let blocks: Vec<Query> = blocks.into_iter().collect();
    session.extend(&mut snapshot, &blocks).await?;
    for held in &held {
        let bitmap = match snapshot.block(&held.slot()).expect("the block was read") {
            BlockState::Absent => None,
            BlockState::Open(bitmap, _) | BlockState::Full(bitmap, _) => Some(bitmap),
        };
        if !bitmap.is_some_and(|bitmap| bitmap.is_set(held.address.bit())) {
            let (attachment, address) = (attachment.clone(), held.address);
            return Err(Error::NotMarked {
                attachment,
                address,
            });
        }
    }
    Ok(())
}
