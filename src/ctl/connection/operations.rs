//! Operations on the record of claims, each by the registry of the datastore. An operation has a registry of its own.

use std::time::{Duration, Instant};

use whereabouts_clock::Clock;
use whereabouts_core::address::Name;
use whereabouts_core::allocator::{Shortage, Stored};
use whereabouts_core::claim::{Ask, Attachment, Claim, Want};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::failure::{Corrupt, Failure};
use whereabouts_core::registry::{Ended, Registry, Released, Scope, Taken};
use whereabouts_etcd::SystemClock;
use whereabouts_local::{LocalRegistry, LocalStore};
use whereabouts_protocol::cluster;
use whereabouts_protocol::session::Session;

use super::datastore::AnyStore;
use super::{Connection, DEADLINE};

impl Connection {
    /// Claims what `ask` states.
    pub(crate) fn take(&self, ask: &Ask) -> Result<Taken, Failure> {
        match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => self.wait(self.session().take(ask)),
            AnyStore::Local(store) => self.wait(self.local(store).take(ask)),
            AnyStore::Kubernetes(store) => self.wait(store.registry(DEADLINE).take(ask)),
        }
    }

    /// Releases `claim` of `attachment`, as a DEL does.
    pub(crate) fn release(
        &self,
        attachment: &Attachment,
        claim: &Stored<Claim>,
    ) -> Result<Released, Failure> {
        match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => {
                self.wait(self.session().release(attachment, claim))
            }
            AnyStore::Local(store) => self.wait(self.local(store).release(attachment, claim)),
            AnyStore::Kubernetes(store) => {
                self.wait(store.registry(DEADLINE).release(attachment, claim))
            }
        }
    }

    /// Ends a durable owner that rests, if it is still in this state.
    pub(crate) fn end(
        &self,
        owner: &DurableOwner,
        state: &Stored<OwnerState>,
    ) -> Result<Ended, Failure> {
        match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => self.wait(self.session().end(owner, state)),
            AnyStore::Local(store) => self.wait(self.local(store).end(owner, state)),
            AnyStore::Kubernetes(store) => self.wait(store.registry(DEADLINE).end(owner, state)),
        }
    }

    /// Shows `take` the durable owners, page by page. An owner that cannot be read is the reason.
    pub(crate) fn each_owner(
        &self,
        mut take: impl FnMut(Result<(DurableOwner, Stored<OwnerState>), Corrupt>),
    ) -> Result<(), String> {
        if let Some(view) = self.objects()? {
            let keepers = view.inventory.keepers().cloned();
            keepers.for_each(|owner| take(Ok(owner)));
            return Ok(());
        }
        self.each_owner_within(|| Ok(DEADLINE), None, take)
    }

    /// The same of one network, until `end`.
    pub(crate) fn each_owner_until(
        &self,
        end: Instant,
        network: &Name,
        take: impl FnMut(Result<(DurableOwner, Stored<OwnerState>), Corrupt>),
    ) -> Result<(), String> {
        self.each_owner_within(|| left_until(end), Some(network), take)
    }

    /// The same; `left` is how long the next page may take.
    fn each_owner_within(
        &self,
        left: impl Fn() -> Result<Duration, String>,
        network: Option<&Name>,
        mut take: impl FnMut(Result<(DurableOwner, Stored<OwnerState>), Corrupt>),
    ) -> Result<(), String> {
        match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => self.wait(each_owner(
                |left| self.session_of(left),
                left,
                network,
                &mut take,
            )),
            AnyStore::Local(store) => {
                self.wait(each_owner(|_| self.local(store), left, network, &mut take))
            }
            AnyStore::Kubernetes(store) => self.wait(each_owner(
                |left| store.registry(left),
                left,
                network,
                &mut take,
            )),
        }
    }

    /// Shows `take` the claims of `scope`, page by page. A claim that cannot be read is the reason.
    pub(crate) fn each_claim(
        &self,
        scope: Scope<'_>,
        take: impl FnMut(Result<(Attachment, Stored<Claim>), Corrupt>),
    ) -> Result<(), String> {
        self.each_claim_within(|| Ok(DEADLINE), scope, take)
    }

    /// The same, until `end`.
    pub(crate) fn each_claim_until(
        &self,
        end: Instant,
        scope: Scope<'_>,
        take: impl FnMut(Result<(Attachment, Stored<Claim>), Corrupt>),
    ) -> Result<(), String> {
        self.each_claim_within(|| left_until(end), scope, take)
    }

    /// The same; `left` is how long the next page may take.
    fn each_claim_within(
        &self,
        left: impl Fn() -> Result<Duration, String>,
        scope: Scope<'_>,
        mut take: impl FnMut(Result<(Attachment, Stored<Claim>), Corrupt>),
    ) -> Result<(), String> {
        match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => self.wait(each_claim(
                |left| self.session_of(left),
                left,
                scope,
                &mut take,
            )),
            AnyStore::Local(store) => {
                self.wait(each_claim(|_| self.local(store), left, scope, &mut take))
            }
            AnyStore::Kubernetes(store) => self.wait(each_claim(
                |left| store.registry(left),
                left,
                scope,
                &mut take,
            )),
        }
    }

    /// Why `wants` cannot be served now, by one cheap question until `end`.
    pub(crate) fn shortage_until(
        &self,
        end: Instant,
        wants: &[Want],
    ) -> Result<Option<Shortage>, String> {
        let left = left_until(end)?;
        let shortage = match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => {
                self.wait(self.session_of(left).shortage(wants))
            }
            AnyStore::Local(store) => self.wait(self.local(store).shortage(wants)),
            AnyStore::Kubernetes(store) => self.wait(store.registry(left).shortage(wants)),
        };
        shortage.map_err(|error| error.to_string())
    }

    /// A session for one operation, which may take as long as a DEL.
    pub(crate) fn session(&self) -> Session<'_, AnyStore, SystemClock> {
        self.session_of(DEADLINE)
    }

    fn session_of(&self, deadline: Duration) -> Session<'_, AnyStore, SystemClock> {
        let (keys, chance) = (&self.keys, &self.chance);
        Session::new(&self.store, &SystemClock, chance, keys, deadline).of(self.cluster.as_ref())
    }

    fn local<'c>(&'c self, store: &'c LocalStore) -> LocalRegistry<'c> {
        let now = SystemClock.since_epoch();
        LocalRegistry::new(store, &self.keys, self.cluster.as_ref(), now)
    }

    /// Sees that the store is this cluster's, before something in it goes for what nodes are called.
    pub(crate) fn confirm(&self) -> Result<(), String> {
        let confirmed = match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => self.wait(cluster::confirm(&self.session())),
            AnyStore::Local(store) => self.wait(self.local(store).confirm()),
            AnyStore::Kubernetes(store) => self.wait(store.registry(DEADLINE).confirm()),
        };
        confirmed.map_err(|error| error.to_string())
    }

    /// Sees that the store is not known to be another cluster's, before what a person has chosen is changed.
    pub(crate) fn confirm_choice(&self) -> Result<(), String> {
        if let AnyStore::Kubernetes(_) = &self.store {
            return Ok(());
        }
        self.wait(cluster::confirm_choice(&self.session()))
            .map_err(|error| error.to_string())
    }
}

/// Shows `take` the pages of claims, each from a registry that has so much time as `left` tells.
async fn each_claim<R: Registry>(
    registry: impl Fn(Duration) -> R,
    left: impl Fn() -> Result<Duration, String>,
    scope: Scope<'_>,
    take: &mut impl FnMut(Result<(Attachment, Stored<Claim>), Corrupt>),
) -> Result<(), String> {
    let mut after = None;
    loop {
        let page = registry(left()?).page(scope, after.as_ref()).await;
        let page = page.map_err(|error| error.to_string())?;
        page.claims.into_iter().for_each(&mut *take);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// The same of durable owners.
async fn each_owner<R: Registry>(
    registry: impl Fn(Duration) -> R,
    left: impl Fn() -> Result<Duration, String>,
    network: Option<&Name>,
    take: &mut impl FnMut(Result<(DurableOwner, Stored<OwnerState>), Corrupt>),
) -> Result<(), String> {
    let mut after = None;
    loop {
        let page = registry(left()?).owners(network, after.as_ref()).await;
        let page = page.map_err(|error| error.to_string())?;
        page.owners.into_iter().for_each(&mut *take);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

fn left_until(end: Instant) -> Result<Duration, String> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err("the datastore has not answered in time".to_owned());
    }
    Ok(left)
}
