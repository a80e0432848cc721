//! The objects of the datastore `kubernetes` as entries of a store: a view, which only reads.
//!
//! The tool's readers know the keys and values of docs/STORE.md alone. A view has them for the claims and blocks of one
//! revision. A write goes through the registry of the datastore, never through a transaction.

mod entries;
mod stated;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;
use whereabouts_apiserver::{Access, Client, Objects, Server};
use whereabouts_clock::Chance;
use whereabouts_core::address::BlockKey;
use whereabouts_core::allocator::Stored;
use whereabouts_core::claim::{Ask, Attachment, Claim};
use whereabouts_core::failure::{ApiServerFailure, Corrupt, Failure};
use whereabouts_core::registry::{Released, Taken};
use whereabouts_etcd::{Change, SystemClock};
use whereabouts_kubernetes::{GivenBack, Inventory, KubernetesRegistry, Lost, Rebound};
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::{
    At, CommitError, Entry, Lease, LeaseId, Outcome, Read, Revision, Store, Txn, Unavailable, View,
    record, well_formed,
};

pub(crate) use self::entries::Entries;
pub(crate) use self::stated::StatedNetworks;
use super::datastore::AnyWatch;
use crate::output::Progress;

/// Below what the keys of a view are. Nobody stores them.
pub(crate) const PREFIX: &str = "/whereabouts/v1/";

/// In the place of the id of an etcd cluster: the API server is the cluster's own.
const CLUSTER: u64 = 1;

/// How long the pages of one view may take together. 50,000 claims take seconds.
const LISTING: Duration = Duration::from_mins(5);

/// The claims and blocks of one API server.
pub(crate) struct ObjectStore {
    objects: Objects,
    server: Box<Server>,
    chance: Chance,
    keys: Keys,
    /// The number of holders, and the view that they share.
    holders: Cell<usize>,
    held: RefCell<Option<Rc<ObjectView>>>,
}

/// The registry of one operation.
pub(crate) type ObjectRegistry<'s> = KubernetesRegistry<'s, Objects, SystemClock>;

/// Claims and blocks at one revision, also as entries.
pub(crate) struct ObjectView {
    /// Claims, blocks and findings.
    pub(crate) inventory: Inventory,
    entries: Entries,
}

/// All reads are of one moment, for as long as this lives.
#[must_use]
pub(crate) struct HeldView<'s>(&'s ObjectStore);

impl Drop for HeldView<'_> {
    fn drop(&mut self) {
        let holders = &self.0.holders;
        holders.set(holders.get() - 1);
        if holders.get() == 0 {
            self.0.held.take();
        }
    }
}

impl ObjectStore {
    /// The objects that `access` reaches. It connects at the first read.
    pub(crate) fn new(access: &Access, chance: &Chance) -> Result<Self, String> {
        let client = Client::new(access).map_err(|error| error.to_string())?;
        Ok(Self {
            objects: Objects::of(client),
            server: Box::new(access.server.clone()),
            chance: Chance::new(chance.bits()),
            keys: Keys::new(PREFIX),
            holders: Cell::new(0),
            held: RefCell::new(None),
        })
    }

    /// The server of the objects.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The registry of an operation that may take so long.
    pub(crate) fn registry(&self, deadline: Duration) -> ObjectRegistry<'_> {
        KubernetesRegistry::new(&self.objects, &SystemClock, &self.chance, deadline)
    }

    /// Clears the dead bits of `blocks`.
    pub(crate) async fn sweep(&self, blocks: &BTreeSet<BlockKey>) -> Result<(), Failure> {
        self.registry(LISTING).sweep(blocks).await
    }

    /// Gives the bits of `blocks` to claims that were created anew.
    pub(crate) async fn rebind(&self, blocks: &BTreeSet<BlockKey>) -> Result<Rebound, Failure> {
        self.registry(LISTING).rebind(blocks).await
    }

    /// Releases a claim that waits for an address, and holds what `stored` does.
    pub(crate) async fn release_waiting(
        &self,
        attachment: &Attachment,
        stored: &Stored<Claim>,
    ) -> Result<Released, Failure> {
        let registry = self.registry(LISTING);
        registry.release_waiting(attachment, stored).await
    }

    /// Takes what a durable request states, and lets it rest.
    pub(crate) async fn keep(&self, ask: &Ask) -> Result<Taken, Failure> {
        self.registry(LISTING).keep(ask).await
    }

    /// Gives a lost address back to its claim.
    pub(crate) async fn give_back(&self, lost: &Lost) -> Result<GivenBack, Failure> {
        self.registry(LISTING).give_back(lost).await
    }

    /// The ranges that the cluster's networks state.
    pub(crate) async fn networks(&self) -> Result<StatedNetworks, Failure> {
        let listed = timeout(LISTING, StatedNetworks::of(&self.objects, &self.keys)).await;
        let late = |_| ApiServerFailure::Unavailable(format!("no list of networks in {LISTING:?}"));
        Ok(listed.map_err(late)??)
    }

    /// Holds the view that is read next.
    pub(crate) fn hold(&self) -> HeldView<'_> {
        self.holders.set(self.holders.get() + 1);
        HeldView(self)
    }

    /// The held view, or the present one.
    pub(crate) async fn view(&self) -> Result<Rc<ObjectView>, Failure> {
        if let Some(held) = &*self.held.borrow() {
            return Ok(held.clone());
        }
        let mut progress = Progress::new("objects read");
        let registry = self.registry(LISTING);
        let inventory = registry.inventory(|count| progress.add(count)).await?;
        let view = Rc::new(ObjectView::of(&self.keys, inventory));
        if self.holders.get() > 0 {
            self.held.replace(Some(view.clone()));
        }
        Ok(view)
    }
}

impl ObjectView {
    fn of(keys: &Keys, inventory: Inventory) -> Self {
        Self {
            entries: entries(keys, &inventory).collect(),
            inventory,
        }
    }

    /// Objects that cannot be used, in words. The view has no entry for them.
    pub(crate) fn unusable(&self) -> Vec<String> {
        self.inventory.unusable().map(Corrupt::to_string).collect()
    }

    /// Shows `take` all entries, in the order of keys.
    pub(crate) fn each(&self, take: impl FnMut(Entry)) {
        self.entries.each(take);
    }

    /// The difference to an earlier view.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<Change> {
        let now = self.inventory.revision;
        self.entries.changes_since(&before.entries, now)
    }

    /// The answers to `reads`, in order.
    fn answer(&self, reads: &[Read]) -> View {
        View {
            revision: self.inventory.revision,
            cluster: CLUSTER,
            answers: reads.iter().map(|read| self.entries.answer(read)).collect(),
        }
    }
}

/// The keys and values of an inventory. A claim without an address has none: a stored claim holds something.
fn entries(
    keys: &Keys,
    inventory: &Inventory,
) -> impl Iterator<Item = (Vec<u8>, (Vec<u8>, Revision))> {
    let blocks = inventory.blocks.iter().map(|(slot, stored)| {
        let slot = slot.clone();
        let (key, value) = if stored.value.is_full(slot.block.family()) {
            (Key::Full(slot), record::encode_full())
        } else {
            (Key::Open(slot), record::encode_block(&stored.value))
        };
        (keys.encode(&key), (value, stored.modified))
    });
    let holding = |(_, stored): &&(Attachment, Stored<Claim>)| !stored.value.held.is_empty();
    let claims = inventory.claims.iter().filter(holding);
    let claims = claims.flat_map(|(attachment, stored)| {
        let on_node = stored.value.owner.home().map(|home| {
            let key = Key::OnNode(home, attachment.clone());
            (key, record::encode_on_node())
        });
        let claim = Key::Claim(attachment.clone());
        let entries = [(claim, record::encode_claim(&stored.value))];
        let entries = entries.into_iter().chain(on_node);
        entries.map(|(key, value)| (keys.encode(&key), (value, stored.modified)))
    });
    let owners = inventory.keepers().map(|(owner, state)| {
        let key = keys.encode(&Key::Owner(owner.clone()));
        (key, (record::encode_owner(&state.value), state.modified))
    });
    blocks.chain(claims).chain(owners)
}

/// A failure of the registry, in the terms of a store.
fn unavailable(failure: Failure) -> Unavailable {
    match failure {
        Failure::Unavailable(unavailable) => unavailable,
        Failure::ApiServer(failure) => Unavailable::ApiServer(failure),
        other => Unavailable::ApiServer(ApiServerFailure::Refused(other.to_string())),
    }
}

impl Store for ObjectStore {
    type Watch = AnyWatch;

    /// A revision that is not held is gone.
    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        well_formed::assert_read(reads, at);
        let view = self.view().await.map_err(unavailable)?;
        match at {
            At::Revision(revision) if revision != view.inventory.revision => {
                Err(Unavailable::Compacted)
            }
            At::Now | At::Revision(_) | At::Whenever => Ok(view.answer(reads)),
        }
    }

    async fn commit(&self, _: &Txn) -> Result<Outcome, CommitError> {
        Err(Unavailable::NotInObjects("transactions").into())
    }

    async fn grant(&self, _: i64) -> Result<Lease, Unavailable> {
        Err(no_leases())
    }

    async fn keep_alive(&self, _: LeaseId) -> Result<(), Unavailable> {
        Err(no_leases())
    }

    async fn revoke(&self, _: LeaseId) -> Result<(), Unavailable> {
        Err(no_leases())
    }

    async fn watch(&self, _: &[Vec<u8>]) -> Result<AnyWatch, Unavailable> {
        Err(Unavailable::NotInObjects("watches of keys"))
    }
}

fn no_leases() -> Unavailable {
    Unavailable::NotInObjects("leases of keys")
}

#[cfg(test)]
mod tests {
    use whereabouts_core::address::{Address, Bitmap, Family, Name, Pool};
    use whereabouts_core::claim::{Held, Owner, RangeId};
    use whereabouts_store::Order;

    use super::*;

    fn stored<T>(value: T, revision: Revision) -> Stored<T> {
        Stored {
            value,
            created: revision,
            modified: revision,
        }
    }

    fn address(last: u128) -> Address {
        Address::new(Family::V4, (10 << 24) + last).expect("an address")
    }

    fn claim(container: &str, held: &[u128], node: Option<&str>) -> (Attachment, Stored<Claim>) {
        let attachment = Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: "eth0".to_owned(),
        };
        let range = RangeId {
            pool: Pool::default(),
            cidr: "10.0.0.0/16".parse().expect("a CIDR"),
        };
        let held = held.iter().map(|last| Held {
            range: range.clone(),
            address: address(*last),
        });
        let claim = Claim {
            held: held.collect(),
            usable: Vec::new(),
            owner: Owner {
                node: node.map(str::to_owned),
                ..Owner::default()
            },
            created: Duration::from_secs(7),
        };
        (attachment, stored(claim, 5))
    }

    fn view() -> ObjectView {
        let block = |last| BlockKey::of(&Pool::default(), address(last));
        let mut open = Bitmap::EMPTY;
        open.set(1);
        let blocks = [
            (block(0), stored(Bitmap::full(Family::V4), 3)),
            (block(256), stored(open, 4)),
        ];
        let claims = [
            claim("one", &[257], Some("a")),
            claim("two", &[2], None),
            claim("waits", &[], Some("a")),
        ];
        let inventory = Inventory {
            revision: 9,
            claims: claims.into(),
            blocks: blocks.into(),
            ..Inventory::default()
        };
        ObjectView::of(&Keys::new(PREFIX), inventory)
    }

    fn everything(order: Order, limit: u32) -> Vec<Entry> {
        let (from, until) = Keys::new(PREFIX).everything();
        let read = Read::Range {
            from,
            until,
            order,
            limit,
        };
        let view = view().answer(&[read]);
        assert_eq!(view.revision, 9);
        view.answers.into_iter().flatten().collect()
    }

    #[test]
    fn a_view_has_the_keys_and_values_of_etcd() {
        let keys = Keys::new(PREFIX);
        let found: Vec<Key> = everything(Order::Key, 99)
            .iter()
            .map(|entry| keys.decode(&entry.key).expect("a key"))
            .collect();
        let (one, _) = claim("one", &[], None);
        let (two, _) = claim("two", &[], None);
        let block = |last| BlockKey::of(&Pool::default(), address(last));
        let home = Owner {
            node: Some("a".to_owned()),
            ..Owner::default()
        };
        let home = home.home().expect("it has a node");
        let expected = [
            Key::Claim(one.clone()),
            Key::Claim(two),
            Key::Full(block(0)),
            Key::OnNode(home, one.clone()),
            Key::Open(block(256)),
        ];
        assert_eq!(found, expected, "a claim without an address has no key");
        let key = Read::Key(keys.encode(&Key::Claim(one)));
        let entry = view().answer(&[key]).answers.remove(0).remove(0);
        assert_eq!(entry.modified, 5);
        let (_, expected) = claim("one", &[257], Some("a"));
        let decoded = record::decode_claim(&entry.value).expect("a claim");
        assert_eq!(decoded, expected.value);
    }

    #[test]
    fn a_change_is_an_entry_that_is_new_other_or_gone() {
        let before = view();
        let mut inventory = before.inventory.clone();
        assert_eq!(
            ObjectView::of(&Keys::new(PREFIX), inventory.clone()).changes_since(&before),
            []
        );
        inventory.revision = 12;
        inventory.claims.remove(1);
        inventory.claims[0].1.modified = 11;
        let after = ObjectView::of(&Keys::new(PREFIX), inventory);
        let changes = after.changes_since(&before);
        let told: Vec<_> = changes
            .iter()
            .map(|change| (change.revision, change.now.is_some()))
            .collect();
        // The claim and its key by node, and the claim that is gone.
        assert_eq!(told, [(11, true), (11, true), (12, false)]);
    }

    #[test]
    fn a_range_of_a_view_has_an_order_and_a_limit() {
        let revisions = |order, limit| -> Vec<Revision> {
            let entries = everything(order, limit);
            entries.iter().map(|entry| entry.created).collect()
        };
        assert_eq!(revisions(Order::Key, 3), [5, 5, 3]);
        assert_eq!(revisions(Order::Created, 3), [3, 4, 5]);
        let empty = Read::Range {
            from: vec![9],
            until: vec![1],
            order: Order::Key,
            limit: 1,
        };
        assert_eq!(view().answer(&[empty]).answers, [vec![]]);
    }
}
