//! All claims and durable owners, as rounds judge them. They are read again only if the datastore has changed.
//!
//! Records that were read earlier are as good as new ones: evidence has to be younger than the read, and a release checks
//! the revision that was judged.

use whereabouts_store::Revision;

use crate::connection::Connection;
use crate::output::shown::Shown;
use crate::output::shown_owner::ShownOwner;
use crate::selection::{choose, choose_owners, warn_of};

/// The last listing, and the moment of the datastore just before it: its cluster and revision.
#[derive(Default)]
pub(super) struct Records(Option<((u64, Revision), Listing)>);

/// All claims and durable owners.
pub(super) struct Listing {
    pub(super) claims: Vec<Shown>,
    pub(super) owners: Vec<ShownOwner>,
    /// Why each other record cannot be read.
    pub(super) unreadable: Vec<String>,
}

impl Records {
    /// All records as they are now. The question whether anything has changed is one request.
    pub(super) fn read(&mut self, connection: &Connection) -> Result<&Listing, String> {
        let present = connection.present()?;
        let kept = self.0.take().filter(|(moment, _)| *moment == present);
        let kept = match kept {
            Some(kept) => kept,
            None => (present, list(connection)?),
        };
        let (_, listing) = self.0.insert(kept);
        warn_of(&listing.unreadable);
        Ok(listing)
    }
}

fn list(connection: &Connection) -> Result<Listing, String> {
    let claims = choose(connection, |_| true)?;
    let owners = choose_owners(connection, |_| true)?;
    let mut unreadable = claims.unreadable;
    unreadable.extend(owners.unreadable);
    Ok(Listing {
        claims: claims.claims,
        owners: owners.owners,
        unreadable,
    })
}
