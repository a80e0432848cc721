//! A bug that shows in a refusal: what an ADD was short of, and what it marks all the same.

use whereabouts_core::address::{Bitmap, BlockKey};
use whereabouts_core::claim::{Ask, Choice, RangeId};
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::{At, Compare, Read, Store, Txn, Write, record};

use super::Bug;

/// The write after an ADD was refused because `full` is: the bits of the range before it stay set.
pub(crate) async fn after_refusal<S: Store>(
    bug: Option<Bug>,
    store: &S,
    keys: &Keys,
    ask: &Ask,
    full: &RangeId,
) {
    let is_first = ask.wants[0].range == *full;
    if bug == Some(Bug::RefusedBitsStay) && !is_first {
        mark_lowest(store, keys, ask).await;
    }
}

/// Marks the lowest free address of the first block of what `ask` wants first, if that block is open. Nobody hears
/// whether it was done.
async fn mark_lowest<S: Store>(store: &S, keys: &Keys, ask: &Ask) -> Option<()> {
    let want = &ask.wants[0];
    if want.choice != Choice::Lowest {
        return None;
    }
    let first = want.usable[0];
    let block = first.blocks().0;
    let slot = BlockKey {
        pool: want.range.pool.clone(),
        block,
    };
    let open = keys.encode(&Key::Open(slot));
    let view = store.read(&[Read::Key(open.clone())], At::Now).await.ok()?;
    let entry = view.answers.into_iter().flatten().next()?;
    let mut bitmap: Bitmap = record::decode_block(&entry.value).ok()?;
    bitmap.set(bitmap.lowest_free(block.window(first)?)?);
    let txn = Txn {
        compares: vec![Compare::Modified(open.clone(), entry.modified)],
        writes: vec![Write::Put {
            key: open,
            value: record::encode_block(&bitmap),
            lease: 0,
        }],
        ..Txn::default()
    };
    store.commit(&txn).await.ok()?;
    Some(())
}
