//! The page's store: it only reads.

use serde::de::DeserializeOwned;
use whereabouts_etcd::LeaseLife;
use whereabouts_store::{
    At, CommitError, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View,
};

use super::super::datastore::AnyWatch;
use super::kubectl::Kubectl;
use crate::store_api::{self, About, Life};

/// What only a datastore that is reached directly does.
const READS: &str = "the page only reads";

/// The store behind a page.
pub(crate) struct PageStore {
    kubectl: Kubectl,
    prefix: String,
}

impl PageStore {
    /// The store behind the page that `kubectl` reaches. The first answer tells whether it can be reached.
    pub(in crate::connection) fn open(kubectl: Kubectl) -> Result<Self, String> {
        let about = kubectl.get(store_api::ABOUT)?;
        let About { prefix } =
            store_api::read_answer(&about)?.map_err(|error| error.to_string())?;
        // Keys are made of it.
        if !prefix.ends_with('/') {
            return Err(format!(
                "the page's prefix {prefix:?} does not end in a slash"
            ));
        }
        Ok(Self { kubectl, prefix })
    }

    /// Below what its keys are.
    pub(in crate::connection) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The page, to a person.
    pub(in crate::connection) fn place(&self) -> &str {
        self.kubectl.place()
    }

    /// The rest of a lease's life, if it lives.
    pub(crate) fn life_of(&self, lease: LeaseId) -> Result<Option<LeaseLife>, Unavailable> {
        let life: Option<Life> = self.ask(&store_api::path_of_lease(lease))?;
        Ok(life.map(LeaseLife::from))
    }

    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, Unavailable> {
        let answer = self.kubectl.get(path).map_err(Unavailable::Later)?;
        store_api::read_answer(&answer).map_err(Unavailable::Refused)?
    }
}

impl Store for PageStore {
    type Watch = AnyWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        let view: store_api::View = self.ask(&store_api::path_of_read(reads, at))?;
        let view = View::from(view);
        if view.answers.len() != reads.len() {
            return Err(Unavailable::Refused(format!(
                "the page gives {} answers to {} questions",
                view.answers.len(),
                reads.len()
            )));
        }
        Ok(view)
    }

    async fn commit(&self, _: &Txn) -> Result<Outcome, CommitError> {
        Err(only_reads().into())
    }

    async fn grant(&self, _: i64) -> Result<Lease, Unavailable> {
        Err(only_reads())
    }

    async fn keep_alive(&self, _: LeaseId) -> Result<(), Unavailable> {
        Err(only_reads())
    }

    async fn revoke(&self, _: LeaseId) -> Result<(), Unavailable> {
        Err(only_reads())
    }

    async fn watch(&self, _: &[Vec<u8>]) -> Result<AnyWatch, Unavailable> {
        Err(only_reads())
    }
}

fn only_reads() -> Unavailable {
    Unavailable::Refused(READS.to_owned())
}
