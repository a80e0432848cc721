//! All that is stored, page by page at one revision, however much it is.

use crate::limits;
use crate::store::keys::Keys;
use crate::store::{At, Entry, Order, Read, Revision, Store, Unavailable};

/// Everything below the prefix, at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The revision.
    pub revision: Revision,
    /// The entries, in key order.
    pub entries: Vec<Entry>,
}

/// Reads everything below the prefix of `keys`.
pub async fn list<S: Store>(store: &S, keys: &Keys) -> Result<Listing, Unavailable> {
    let (mut from, until) = keys.everything();
    let mut at = At::Now;
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let page = Read::Range {
            from: from.clone(),
            until: until.clone(),
            order: Order::Key,
            limit: limits::ENTRIES_PER_PAGE,
        };
        let view = store.read(&[page], at).await?;
        let revision = match at {
            At::Revision(revision) => revision,
            At::Now | At::Whenever => view.revision,
        };
        at = At::Revision(revision);
        let page = view.answers.into_iter().flatten();
        let before = entries.len();
        entries.extend(page);
        match entries[before..].last() {
            None => return Ok(Listing { revision, entries }),
            Some(last) => {
                from.clone_from(&last.key);
                from.push(0);
            }
        }
    }
}
