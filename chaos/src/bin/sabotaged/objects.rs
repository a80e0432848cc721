//! The API server with a bug on the way to it. The simulator plants its bugs in the steps of the machines. Here each bug is one
//! of requests and answers, so that the driver of the plugin stays as it is shipped.

use std::cell::RefCell;
use std::collections::BTreeMap;

use whereabouts_apiserver::Objects;
use whereabouts_kubernetes::api::{
    ApiServer, ListQuery, Page, ReadError, Requirement, Write, WriteError,
};
use whereabouts_kubernetes::names;
use whereabouts_kubernetes::object::{Block, Kind, Metadata, Object};
pub(crate) use whereabouts_sim::kubernetes::Bug;
use whereabouts_sim::kubernetes::REAL_BUGS;

/// The bugs that this program can plant.
pub(crate) const BUGS: &[Bug] = REAL_BUGS;

/// How often a write without a condition is tried: the server itself knows no such write.
const TRIES: usize = 20;

/// The API server, with a bug on the way to it.
pub(crate) struct SabotagedObjects {
    objects: Objects,
    bug: Option<Bug>,
    /// The name of the own claim.
    own: Option<String>,
    /// The blocks as they were read last.
    blocks: RefCell<BTreeMap<String, Block>>,
}

impl SabotagedObjects {
    pub(crate) fn new(objects: Objects, bug: Option<Bug>, own: Option<String>) -> Self {
        Self {
            objects,
            bug,
            own,
            blocks: RefCell::default(),
        }
    }

    fn note(&self, object: &Object) {
        if let Object::Block(block) = object {
            let mut blocks = self.blocks.borrow_mut();
            blocks.insert(block.metadata.name.clone(), block.clone());
        }
    }

    /// Metadata of a claim for each bit that this process has read.
    fn all_living(&self) -> Vec<Metadata> {
        let blocks = self.blocks.borrow();
        let bits = blocks.values().flat_map(|block| &block.spec.taken);
        let living = bits.map(|taken| Metadata {
            name: taken.claim.clone(),
            uid: taken.uid.clone(),
            ..Metadata::default()
        });
        living.collect()
    }

    /// Writes a block over whatever is stored.
    async fn overwrite(&self, mut block: Block) -> Result<Option<Object>, WriteError> {
        let name = block.metadata.name.clone();
        for _ in 0..TRIES {
            if let Ok(Some(stored)) = self.objects.get(Kind::Block, &name).await {
                block.metadata = stored.metadata().clone();
            }
            let write = Write::Replace(Object::Block(block.clone()));
            match self.objects.write(&write).await {
                Err(WriteError::Changed) => {}
                written => return written,
            }
        }
        Err(WriteError::Changed)
    }
}

impl ApiServer for SabotagedObjects {
    async fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>, ReadError> {
        let is_others = kind == Kind::Claim && self.own.as_deref() != Some(name);
        if self.bug == Some(Bug::ErrorIsAbsence) && is_others {
            return Ok(None);
        }
        let got = self.objects.get(kind, name).await?;
        if let Some(object) = &got {
            self.note(object);
        }
        Ok(got)
    }

    async fn list(&self, query: &ListQuery) -> Result<Page<Object>, ReadError> {
        let page = self.objects.list(query).await?;
        for object in &page.items {
            self.note(object);
        }
        Ok(page)
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Page<Metadata>, ReadError> {
        let items = match self.bug {
            Some(Bug::ErrorIsAbsence) if is_of_sweep(query) => Vec::new(),
            Some(Bug::NoSweep) if is_of_sweep(query) => self.all_living(),
            _ => return self.objects.list_metadata(query).await,
        };
        Ok(Page {
            items,
            resource_version: String::new(),
            continued: None,
        })
    }

    async fn write(&self, write: &Write) -> Result<Option<Object>, WriteError> {
        match (self.bug, write) {
            (Some(Bug::BlockWithoutVersion), Write::Replace(Object::Block(block))) => {
                self.overwrite(block.clone()).await
            }
            _ => self.objects.write(write).await,
        }
    }
}

/// Whether a sweep asks for the claims of a block.
fn is_of_sweep(query: &ListQuery) -> bool {
    let label = names::current("");
    let is_current = |one: &Requirement| match one {
        Requirement::Exists(key) | Requirement::In(key, _) => key.starts_with(&label),
    };
    query.kind == Kind::Claim && query.selector.iter().any(is_current)
}
