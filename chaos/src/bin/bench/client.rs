//! The clients under load, each with a connection of its own.

use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use whereabouts_clock::Chance;
use whereabouts_core::limits;
use whereabouts_core::verbs;
use whereabouts_core::verbs::Error;
use whereabouts_etcd::Access;
use whereabouts_etcd::EtcdStore;
use whereabouts_etcd::SystemClock;
use whereabouts_protocol::session::Session;
use whereabouts_store as store;
use whereabouts_store::keys::Keys;

use crate::workload::Workload;

/// One client under load.
#[allow(async_fn_in_trait, reason = "all clients are on one thread")]
pub(crate) trait Client: 'static {
    /// Connects, so that this is not measured.
    async fn connect(&self) -> Result<(), String>;

    /// Carries out one operation, for the pod of this number.
    async fn allocate(&self, number: u64) -> Result<(), String>;
}

/// A connection and a range: what a client of the production code's kind stands on.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) workload: Rc<Workload>,
    pub(crate) store: EtcdStore,
    pub(crate) keys: Keys,
    pub(crate) chance: Chance,
}

impl Connection {
    /// The connection of a client, whose chance is made from `seed`.
    pub(crate) fn new(access: &Access, workload: &Rc<Workload>, seed: u64) -> Self {
        let chance = Chance::new(seed);
        Self {
            workload: Rc::clone(workload),
            store: EtcdStore::new(access, &chance),
            keys: Keys::new(&access.prefix),
            chance,
        }
    }

    /// An operation's access to the store.
    pub(crate) fn session(&self, deadline: Duration) -> Session<'_, EtcdStore, SystemClock> {
        let Self {
            store,
            keys,
            chance,
            ..
        } = self;
        Session::new(store, &SystemClock, chance, keys, deadline)
    }

    /// Reads something small.
    pub(crate) async fn touch(&self) -> Result<(), String> {
        let reads = [store::Read::Key(b"/".to_vec())];
        let read = store::Store::read(&self.store, &reads, store::At::Now).await;
        read.map(drop).map_err(text)
    }
}

/// The production code, as the plugin calls it, in a client that stays connected.
#[derive(Debug)]
pub(crate) struct Whereabouts(pub(crate) Connection);

impl Whereabouts {
    /// ADD of the pod of this number, with its error as it is.
    pub(crate) async fn try_add(&self, number: u64) -> Result<IpNet, Error> {
        let session = self
            .0
            .session(Duration::from_millis(limits::ADD_DEADLINE_MS));
        let held = verbs::add(&session, &self.0.workload.ask(number)).await?;
        Ok(held[0].interface_address())
    }

    /// ADD of the pod of this number.
    pub(crate) async fn add(&self, number: u64) -> Result<IpNet, String> {
        self.try_add(number)
            .await
            .map_err(|error| error.to_string())
    }

    /// DEL of the pod of this number.
    pub(crate) async fn del(&self, number: u64) -> Result<(), String> {
        let session = self
            .0
            .session(Duration::from_millis(limits::DEL_DEADLINE_MS));
        let attachment = self.0.workload.ask(number).attachment;
        let deleted = verbs::del(&session, &attachment, &[self.0.workload.queue()]).await;
        deleted.map_err(|error| error.to_string())
    }
}

impl Client for Whereabouts {
    async fn connect(&self) -> Result<(), String> {
        self.0.touch().await
    }

    async fn allocate(&self, number: u64) -> Result<(), String> {
        self.add(number).await.map(drop)
    }
}

/// An error as text.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes it so")]
pub(crate) fn text(error: impl ToString) -> String {
    error.to_string()
}
