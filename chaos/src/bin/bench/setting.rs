//! The setting of every scenario.

use std::path::PathBuf;

use tokio::runtime::Runtime;
use whereabouts_chaos::cluster::Storage;

use crate::client::text;

/// The setting of every scenario.
pub(crate) struct Setting {
    pub(crate) members: usize,
    pub(crate) storage: Storage,
    pub(crate) seed: u64,
    pub(crate) plugin: PathBuf,
}

/// A runtime like the plugin's.
pub(crate) fn runtime() -> Result<Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(text)
}
