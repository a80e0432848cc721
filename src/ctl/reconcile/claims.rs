//! All claims, as rounds judge them. They are read again only if the datastore has changed.
//!
//! Claims that were read earlier are as good as new ones: evidence has to be younger than the read, and a release checks
//! the revision that was judged.

use whereabouts_store::Revision;

use crate::connection::Connection;
use crate::selection::{Selection, choose, warn_of};

/// The claims of the last listing, and the moment of the datastore just before it: its cluster and revision.
#[derive(Default)]
pub(super) struct Claims(Option<((u64, Revision), Selection)>);

impl Claims {
    /// All claims as they are now. The question whether anything has changed is one request.
    pub(super) fn read(&mut self, connection: &Connection) -> Result<&Selection, String> {
        let present = connection.present()?;
        let kept = self.0.take().filter(|(moment, _)| *moment == present);
        let kept = match kept {
            Some(kept) => kept,
            None => (present, choose(connection, |_| true)?),
        };
        let (_, selection) = self.0.insert(kept);
        warn_of(&selection.unreadable);
        Ok(selection)
    }
}
