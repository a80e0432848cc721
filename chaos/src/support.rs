//! How etcd is started: the very files with which the integration tests do it.

#[path = "../../tests/it/support/certificates.rs"]
pub(crate) mod certificates;
#[path = "../../tests/it/support/etcd.rs"]
#[allow(dead_code, reason = "the integration tests use all of it")]
pub(crate) mod etcd;
#[path = "../../tests/it/support/local.rs"]
#[allow(dead_code, reason = "the integration tests use all of it")]
mod local;

pub(crate) use local::{free_port, poll};
