//! All claims and durable owners, as rounds judge them. They are read again only if the datastore has changed.
//!
//! Records that were read earlier are as good as new ones: evidence has to be younger than the read, and a release checks
//! the revision that was judged.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use whereabouts_core::claim::Attachment;
use whereabouts_kubernetes::Lost;
use whereabouts_store::Revision;

use super::dead_bits::DeadBits;
use crate::connection::{Connection, ObjectView};
use crate::output::shown::Shown;
use crate::output::shown_owner::ShownOwner;
use crate::selection::{choose, choose_owners, warn_of};

/// The last listing, and its moment.
pub(super) struct Records {
    last: Option<(Moment, Listing)>,
    /// How long records of an API server serve. Each write in the cluster changes its revision, so nothing cheap tells whether
    /// claims have changed.
    objects_serve: Duration,
    /// The reasons of the last listing that were told.
    told: Vec<String>,
}

/// The moment of a listing.
enum Moment {
    /// The cluster and the revision of the datastore just before it.
    Of(u64, Revision),
    /// The time of a listing of objects.
    At(Instant),
}

/// All claims and durable owners.
pub(super) struct Listing {
    pub(super) claims: Vec<Shown>,
    pub(super) owners: Vec<ShownOwner>,
    /// Why each other record cannot be read.
    pub(super) unreadable: Vec<String>,
    /// Of an API server: the dead bits.
    pub(super) dead_bits: DeadBits,
    /// Of an API server: addresses that claims have lost since the first listing, and that nobody has dealt with.
    pub(super) lost: Vec<Lost>,
    /// Of an API server: the attachments whose claims are being deleted, and cannot be released.
    pub(super) ending: BTreeSet<Attachment>,
    /// Of an API server: all objects.
    view: Option<Rc<ObjectView>>,
}

impl Listing {
    /// Whether a release can end a claim. Nobody ends one that is being deleted: it is one of the unreadable records, which are told.
    pub(super) fn can_end(&self, shown: &Shown) -> bool {
        !self.ending.contains(&shown.attachment)
    }
}

impl Moment {
    fn of(connection: &Connection) -> Result<Self, String> {
        if connection.object_store().is_some() {
            return Ok(Self::At(Instant::now()));
        }
        let (cluster, revision) = connection.present()?;
        Ok(Self::Of(cluster, revision))
    }

    /// Whether a listing of this moment serves at another one; one of objects does for so long.
    fn serves_at(&self, now: &Self, objects_serve: Duration) -> bool {
        match (self, now) {
            (Self::Of(cluster, revision), Self::Of(present, now)) => {
                (cluster, revision) == (present, now)
            }
            (Self::At(then), Self::At(now)) => now.duration_since(*then) < objects_serve,
            _ => false,
        }
    }
}

impl Records {
    /// Nothing was read yet.
    pub(super) fn new(objects_serve: Duration) -> Self {
        Self {
            last: None,
            objects_serve,
            told: Vec::new(),
        }
    }

    /// All records as they are now. The question whether anything has changed is one request, and none to an API server.
    pub(super) fn read(&mut self, connection: &Connection) -> Result<&Listing, String> {
        let present = Moment::of(connection)?;
        let serves = |(then, _): &(Moment, Listing)| then.serves_at(&present, self.objects_serve);
        if !self.last.as_ref().is_some_and(serves) {
            // An error leaves the last listing: the next one is compared with it.
            let before = self.last.as_ref().map(|(_, listing)| listing);
            let listing = list(connection, before)?;
            self.last = Some((present, listing));
        }
        let (_, listing) = self.last.as_ref().expect("it has been listed");
        warn_of(&news(&mut self.told, &listing.unreadable));
        Ok(listing)
    }

    /// The last listing.
    #[cfg(test)]
    pub(super) fn last(&self) -> Option<&Listing> {
        self.last.as_ref().map(|(_, listing)| listing)
    }

    /// Since when the datastore may have changed, if it is one that has revisions: the cluster and the revision just before
    /// the last read.
    pub(super) fn since(&self) -> Option<(u64, Revision)> {
        match self.last {
            Some((Moment::Of(cluster, revision), _)) => Some((cluster, revision)),
            Some((Moment::At(_), _)) | None => None,
        }
    }

    /// Forgets that a claim has lost an address: it was dealt with.
    pub(super) fn settle(&mut self, lost: &Lost) {
        if let Some((_, listing)) = &mut self.last {
            listing.lost.retain(|one| one != lost);
        }
    }

    /// Lets the next read be a new one: a release has changed the records.
    pub(super) fn age(&mut self) {
        if let Some((moment, _)) = &mut self.last {
            *moment = Moment::Of(0, 0);
        }
    }
}

/// The reasons that were not told yet. Each is told once for as long as it lasts.
fn news(told: &mut Vec<String>, reasons: &[String]) -> Vec<String> {
    let before: BTreeSet<String> = std::mem::replace(told, reasons.to_vec())
        .into_iter()
        .collect();
    let new = reasons.iter().filter(|reason| !before.contains(*reason));
    new.cloned().collect()
}

fn list(connection: &Connection, before: Option<&Listing>) -> Result<Listing, String> {
    let _held = connection.hold()?;
    let claims = choose(connection, |_| true)?;
    let owners = choose_owners(connection, |_| true)?;
    let mut unreadable = claims.unreadable;
    unreadable.extend(owners.unreadable);
    let view = connection.objects()?;
    let dead_bits = view.as_ref().map(|view| {
        let before = before.map(|listing| &listing.dead_bits);
        DeadBits::of(&view.inventory, before)
    });
    let compare = |before: &Listing| {
        let (now, then) = (&view.as_ref()?.inventory, &before.view.as_ref()?.inventory);
        Some(now.lost_since(then, &before.lost))
    };
    let lost = before.and_then(compare);
    Ok(Listing {
        claims: claims.claims,
        owners: owners.owners,
        unreadable,
        dead_bits: dead_bits.unwrap_or_default(),
        lost: lost.unwrap_or_default(),
        ending: view
            .as_ref()
            .map(|view| view.inventory.ending.clone())
            .unwrap_or_default(),
        view,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_for_as_long_as_it_lasts() {
        let mut told = Vec::new();
        let mut news = |names: &[&str]| {
            let all: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            news(&mut told, &all)
        };
        assert_eq!(news(&["a", "b"]), ["a", "b"]);
        assert!(news(&["b", "a"]).is_empty());
        assert_eq!(news(&["b", "c"]), ["c"]);
        assert_eq!(news(&["a"]), ["a"], "it was away for a while");
    }
}
