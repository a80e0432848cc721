//! A transaction in the making: conditions, writes and reads by meaning instead of by bytes.

mod plan;

use crate::keys::{Key, Keys};
use crate::record;
use crate::snapshot::Query;
use crate::{Compare, LeaseId, Purpose, Revision, Txn, Write};
use whereabouts_core::claim::{Attachment, Claim, Home, RangeId};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::identity::Identity;

/// A transaction in the making.
#[derive(Clone, Debug)]
pub struct TxnBuilder<'k> {
    keys: &'k Keys,
    identity: Option<&'k Identity>,
    txn: Txn,
    then: Vec<Query>,
    otherwise: Vec<Query>,
}

impl<'k> TxnBuilder<'k> {
    /// A transaction of the cluster `identity` that does nothing yet.
    pub fn new(keys: &'k Keys, identity: Option<&'k Identity>) -> Self {
        Self {
            keys,
            identity,
            txn: Txn::default(),
            then: Vec::new(),
            otherwise: Vec::new(),
        }
    }

    /// The purpose of the transaction.
    pub fn purpose(&self) -> Purpose {
        self.txn.purpose
    }

    /// The transaction is for `purpose`.
    pub fn is_for(&mut self, purpose: Purpose) -> &mut Self {
        self.txn.purpose = purpose;
        self
    }

    /// If `key` does not exist.
    pub fn absent(&mut self, key: &Key) -> &mut Self {
        self.compare(Compare::Absent(self.keys.encode(key)))
    }

    /// If `key` has not been written, touched or deleted since `revision`.
    pub fn modified(&mut self, key: &Key, revision: Revision) -> &mut Self {
        self.compare(Compare::Modified(self.keys.encode(key), revision))
    }

    /// If `key` is as it was read: last written at this revision, or absent.
    pub fn as_read(&mut self, key: &Key, modified: Option<Revision>) -> &mut Self {
        match modified {
            Some(revision) => self.modified(key, revision),
            None => self.absent(key),
        }
    }

    /// If the store is this cluster's; or no cluster's, where its identity is not known.
    pub fn in_own_cluster(&mut self) -> &mut Self {
        let key = self.keys.encode(&Key::Cluster);
        self.compare(match self.identity {
            Some(identity) => Compare::Value(key, record::encode_cluster(identity)),
            None => Compare::Absent(key),
        })
    }

    /// If nothing is claimed or kept, and nobody waits for a claim.
    pub fn unclaimed(&mut self) -> &mut Self {
        let keys = self.keys;
        for (from, until) in [keys.claims(None), keys.owners(None), keys.queues()] {
            self.compare(Compare::NoneIn(from, until));
        }
        self
    }

    /// If `compare`.
    pub fn compare(&mut self, compare: Compare) -> &mut Self {
        self.txn.compares.push(compare);
        self
    }

    /// Sets the value of `key`, without a lease.
    pub fn put(&mut self, key: &Key, value: Vec<u8>) -> &mut Self {
        self.put_leased(key, value, 0)
    }

    /// Sets the value of `key`, bound to `lease`.
    pub fn put_leased(&mut self, key: &Key, value: Vec<u8>, lease: LeaseId) -> &mut Self {
        self.write(Write::Put {
            key: self.keys.encode(key),
            value,
            lease,
        })
    }

    /// Writes `key` as it is, so that its revision changes.
    pub fn touch(&mut self, key: &Key) -> &mut Self {
        self.write(Write::Touch(self.keys.encode(key)))
    }

    /// Deletes `key`.
    pub fn delete(&mut self, key: &Key) -> &mut Self {
        self.write(Write::Delete(self.keys.encode(key)))
    }

    /// Sets the claim of `attachment`, its entry by its node, and its durable owner.
    pub fn put_claim(&mut self, attachment: &Attachment, claim: &Claim) -> &mut Self {
        if let Some(home) = claim.owner.home() {
            let key = Key::OnNode(home, attachment.clone());
            self.put(&key, record::encode_on_node());
        }
        if let Some(owner) = DurableOwner::of(attachment, &claim.owner) {
            let state = OwnerState::Attached(attachment.container.clone());
            self.put(&Key::Owner(owner), record::encode_owner(&state));
        }
        let key = Key::Claim(attachment.clone());
        self.put(&key, record::encode_claim(claim))
    }

    /// Deletes the claim of `attachment`, whose home is `home`, and its entry by its node. Its durable owner, if it has
    /// one, is another write's.
    pub fn delete_claim(&mut self, attachment: &Attachment, home: Option<&Home>) -> &mut Self {
        if let Some(home) = home {
            self.delete(&Key::OnNode(home.clone(), attachment.clone()));
        }
        self.delete(&Key::Claim(attachment.clone()))
    }

    /// Sets the claim of `attachment` to `renewed`, and its entry by its node, in place of those of `old`.
    pub fn renew_claim(
        &mut self,
        attachment: &Attachment,
        old: &Claim,
        renewed: &Claim,
    ) -> &mut Self {
        let (left, entered) = (old.owner.home(), renewed.owner.home());
        if let Some(home) = left.filter(|home| entered.as_ref() != Some(home)) {
            self.delete(&Key::OnNode(home, attachment.clone()));
        }
        self.put_claim(attachment, renewed)
    }

    /// Puts `key` if neither it nor `unless` exists.
    pub fn ensure(&mut self, key: &Key, unless: &Key, value: Vec<u8>) -> &mut Self {
        let (key, unless) = (self.keys.encode(key), vec![self.keys.encode(unless)]);
        self.write(Write::Ensure { key, unless, value })
    }

    /// If a condition does not hold: puts the first of `keys`, if there is none of them.
    pub fn put_otherwise<'q>(
        &mut self,
        keys: impl IntoIterator<Item = &'q Key>,
        value: Vec<u8>,
    ) -> &mut Self {
        let mut keys = keys.into_iter().map(|key| self.keys.encode(key));
        let key = keys.next().expect("there is one");
        let unless = keys.collect();
        self.txn.instead.push(Write::Ensure { key, unless, value });
        self
    }

    /// Deletes the lock of `queue`, if no ticket was written there after `revision`.
    pub fn delete_lock_if_last(&mut self, queue: &RangeId, revision: Revision) -> &mut Self {
        let key = self.keys.encode(&Key::Lock(queue.clone()));
        let (from, until) = self.keys.tickets(queue);
        self.write(Write::DeleteUnlessNewer {
            key,
            from,
            until,
            revision,
        })
    }

    /// Writes `write`.
    pub fn write(&mut self, write: Write) -> &mut Self {
        self.txn.writes.push(write);
        self
    }

    /// Reads these after the writes, and the same if a condition does not hold.
    pub fn read_anyway(&mut self, queries: impl IntoIterator<Item = Query>) -> &mut Self {
        let queries: Vec<Query> = queries.into_iter().collect();
        self.read_otherwise(queries.clone());
        self.then.extend(queries);
        self
    }

    /// Reads these instead of writing, if a condition does not hold.
    pub fn read_otherwise(&mut self, queries: impl IntoIterator<Item = Query>) -> &mut Self {
        self.otherwise.extend(queries);
        self
    }

    /// The transaction, with the questions its two ends answer.
    pub fn finish(mut self) -> (Txn, Vec<Query>, Vec<Query>) {
        let reads = |queries: &[Query]| queries.iter().map(|query| query.read(self.keys)).collect();
        self.txn.then = reads(&self.then);
        self.txn.otherwise = reads(&self.otherwise);
        (self.txn, self.then, self.otherwise)
    }
}
