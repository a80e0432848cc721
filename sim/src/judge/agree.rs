//! Promise 2, agree: the bits of the blocks are exactly the addresses of the claims, and blocks
//! stand where they belong.

use super::change::Change;
use super::ledger::Ledger;

pub(super) fn check(ledger: &Ledger, change: &Change) -> Result<(), String> {
    for attachment in &change.placed {
        let claim = ledger.claims.get(attachment);
        let home = claim.and_then(|claim| claim.owner.home());
        let homes = ledger.homes.get(attachment).cloned().unwrap_or_default();
        if homes != home.iter().cloned().collect() {
            return Err(format!(
                "the claim of {attachment} has home {home:?}, and is found by {homes:?}"
            ));
        }
    }
    for slot in &change.slots {
        let family = slot.block.family();
        let bitmap = match ledger.block(slot) {
            (Some(_), Some(_)) => return Err(format!("block {slot} is both open and full")),
            (Some(open), None) if open.is_full(family) => {
                return Err(format!("block {slot} is open and has no free bit"));
            }
            (None, Some(full)) if !full.is_full(family) => {
                return Err(format!("block {slot} is full and has a free bit"));
            }
            (None, Some(full)) => *full,
            (Some(open), None) => *open,
            (None, None) => whereabouts_core::address::Bitmap::EMPTY,
        };
        let successor = slot.successor().map(|next| (ledger.block(&next), next));
        if let Some(((None, None), next)) = successor
            && bitmap.reaches_the_end()
        {
            return Err(format!(
                "the last bit of block {slot} is taken and block {next} does not exist"
            ));
        }
        let held = ledger.held(slot);
        if bitmap != held {
            let wrong = (0..=u8::MAX).find(|bit| bitmap.is_set(*bit) != held.is_set(*bit));
            let address = slot.block.address(wrong.expect("they differ"));
            let marked = ledger.block(slot);
            return Err(format!(
                "{address}: marked and held differ in block {slot}: {marked:?}"
            ));
        }
    }
    Ok(())
}
