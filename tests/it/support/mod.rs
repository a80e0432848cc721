//! The base of the tests: real etcd clusters, and a runtime with a bound on everything.

pub(crate) mod collector;
#[cfg(feature = "jaeger")]
pub(crate) mod jaeger;

use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

pub(crate) use whereabouts_fixtures::{BOUND, certificates, etcd, free_port, poll};

/// A runtime like the plugin's.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// The result of `future`, which must come within a bounded time.
pub(crate) async fn bounded<T>(future: impl Future<Output = T>) -> T {
    timeout(BOUND, future)
        .await
        .expect("it ends within its bound")
}

/// Runs a test's future on a runtime of its own, for a bounded time.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(bounded(future))
}

/// An endpoint that accepts connections and never answers, while this is kept.
pub(crate) struct HangingEndpoint(TcpListener);

impl HangingEndpoint {
    /// Listens; the kernel accepts.
    pub(crate) fn start() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"))
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        let address = self.0.local_addr().expect("it is bound");
        format!("http://{address}")
    }
}

/// The URL of an endpoint that refuses connections.
pub(crate) fn dead_endpoint() -> String {
    format!("http://127.0.0.1:{}", free_port())
}
