//! All that is stored, page by page at one revision, however much it is.

use crate::keys::Keys;
use crate::{At, Entry, Order, Read, Revision, Store, Unavailable};
use whereabouts_core::limits;

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
    let mut pages = Pages::new(keys.everything(), At::Now);
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(page) = pages.next(store).await? {
        entries.extend(page);
    }
    let revision = pages.revision();
    Ok(Listing { revision, entries })
}

/// A range of keys, of which one page is in memory at a time. All pages are of one revision.
#[derive(Clone, Debug)]
pub struct Pages {
    from: Vec<u8>,
    until: Vec<u8>,
    at: At,
    /// Entries of the next page at most: fewer, once a page was too large for one answer.
    limit: u32,
    ended: bool,
}

impl Pages {
    /// The keys from the first (included) until the second (excluded): at the revision `at`, or
    /// at that of the first page.
    pub fn new((from, until): (Vec<u8>, Vec<u8>), at: At) -> Self {
        Self {
            from,
            until,
            at,
            limit: limits::ENTRIES_PER_PAGE,
            ended: false,
        }
    }

    /// The next page, in key order; `None` after the last. After an error it can be asked again.
    pub async fn next<S: Store>(&mut self, store: &S) -> Result<Option<Vec<Entry>>, Unavailable> {
        if self.ended {
            return Ok(None);
        }
        let view = loop {
            let read = Read::Range {
                from: self.from.clone(),
                until: self.until.clone(),
                order: Order::Key,
                limit: self.limit,
            };
            match store.read(&[read], self.at).await {
                Err(Unavailable::TooLarge) if self.limit > 1 => self.limit /= 2,
                read => break read?,
            }
        };
        self.at = match self.at {
            At::Revision(revision) => At::Revision(revision),
            At::Now | At::Whenever => At::Revision(view.revision),
        };
        let page: Vec<Entry> = view.answers.into_iter().flatten().collect();
        match page.last() {
            Some(last) if page.len() >= self.limit as usize => {
                self.from.clone_from(&last.key);
                self.from.push(0);
            }
            Some(_) | None => self.ended = true,
        }
        Ok((!page.is_empty()).then_some(page))
    }

    /// The revision of all pages, once the first was read.
    pub fn revision(&self) -> Revision {
        match self.at {
            At::Revision(revision) => revision,
            At::Now | At::Whenever => panic!("no page was read"),
        }
    }
}
