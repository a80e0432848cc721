//! CHECK: verifies that the result and the record agree with each other.

use ipnet::IpNet;

use super::Error;
use super::request::{CheckRequest, Expectation};
use crate::registry::Registry;

/// Checks three conditions: the claim exists, `prevResult` has its addresses and the static ones,
/// and each claimed address is marked as taken. Further addresses in `prevResult` belong to other
/// plugins.
pub async fn check<R: Registry>(registry: &R, request: &CheckRequest) -> Result<(), Error> {
    let attachment = &request.attachment;
    let inspected = registry.inspect(attachment).await?;
    let (held, unmarked) = match (inspected, request.claim) {
        (Some(inspected), _) => (inspected.claim.held, inspected.unmarked),
        (None, Expectation::NotNeeded) => (Vec::new(), None),
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
    match unmarked {
        None => Ok(()),
        Some(address) => Err(Error::NotMarked {
            attachment: attachment.clone(),
            address,
        }),
    }
}
