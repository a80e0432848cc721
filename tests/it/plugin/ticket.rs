//! A ticket put by hand: somebody who stands in a queue and never serves it.

use whereabouts::address::{Name, Pool};
use whereabouts::claim::{Attachment, Owner, QueueId, Want};
use whereabouts::store::keys::{Key, QueuedVerb, TicketId};
use whereabouts::store::record::{self, Ticket};
use whereabouts::store::{Entry, LeaseId, Outcome, Store, Txn, Write};

use super::{Site, range};
use crate::support::run;

/// More than any test takes, in seconds.
const TTL_S: i64 = 300;

/// A place in the queue of a range, for as long as its lease lives.
pub(crate) struct Foreigner {
    /// Its key.
    pub(crate) key: Vec<u8>,
    lease: LeaseId,
}

impl Foreigner {
    /// Lines up in the queue of the range with this CIDR, with a request like everybody's.
    pub(crate) fn line_up(site: &Site, cidr: &str) -> Self {
        let ticket = Ticket::Take {
            wants: vec![Want::lowest(&range(cidr))],
            owner: Owner::default(),
            trace: None,
        };
        Self::line_up_as("foreigner", site, cidr, record::encode_ticket(&ticket))
    }

    /// Lines up as this container, with this as its ticket.
    pub(crate) fn line_up_as(container: &str, site: &Site, cidr: &str, value: Vec<u8>) -> Self {
        let lease = run(site.store().grant(TTL_S)).expect("it grants").id;
        let write = Self::ticket(container, site, cidr, value, lease);
        let Write::Put { key, .. } = write.clone() else {
            unreachable!("a ticket is put")
        };
        put(site, write);
        Self { key, lease }
    }

    /// What a ticket is put with.
    pub(crate) fn ticket(
        container: &str,
        site: &Site,
        cidr: &str,
        value: Vec<u8>,
        lease: LeaseId,
    ) -> Write {
        let id = TicketId {
            queue: QueueId {
                pool: Pool::default(),
                cidr: cidr.parse().expect("a CIDR"),
            },
            attachment: Attachment {
                network: Name::new("abroad").expect("a name"),
                container: Name::new(container).expect("a name"),
                interface: "eth0".to_owned(),
            },
            verb: QueuedVerb::Add,
        };
        Write::Put {
            key: site.keys().encode(&Key::Ticket(id)),
            value,
            lease,
        }
    }

    /// The ticket, if it is there.
    pub(crate) fn entry(&self, site: &Site) -> Option<Entry> {
        let mut entries = site.entries().into_iter();
        entries.find(|entry| entry.key == self.key)
    }

    /// Ends its lease, and its ticket with it.
    pub(crate) fn leave(self, site: &Site) {
        run(site.store().revoke(self.lease)).expect("it revokes");
    }
}

/// Writes one key by hand.
pub(crate) fn put(site: &Site, write: Write) {
    let txn = Txn {
        writes: vec![write],
        ..Txn::default()
    };
    let outcome = run(site.store().commit(&txn)).expect("it commits");
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
}
