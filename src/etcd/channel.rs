//! The connection to one endpoint.
//!
//! A channel of `etcd_client` balances over several endpoints, each with a task of its own. Here each endpoint is alone, so
//! its channel has one connection and no balancer. The connection sends small writes together ([`Corked`]).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use etcd_client::{Certificate, Error, Identity, TlsOptions};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower_service::Service;

use super::corked::Corked;
use crate::access::Tls;

/// Longest time for a connection, in milliseconds.
const CONNECT_MS: u64 = 2_000;

/// Silence after which a connection in use sends an HTTP/2 ping, in milliseconds. etcd closes a
/// connection that pings more often than every 5 s (`--grpc-keepalive-min-time`).
const PING_AFTER_MS: u64 = 6_000;

/// Longest wait for the answer to a ping, in milliseconds. Then the connection and its watches end.
const PING_TIMEOUT_MS: u64 = 3_000;

/// A channel to `url`, which connects at its first use.
pub(super) fn open(url: &str, tls: Option<&Tls>) -> Result<Channel, Error> {
    let uri: Uri = url.parse()?;
    let mut endpoint = Endpoint::from(uri)
        .http2_keep_alive_interval(Duration::from_millis(PING_AFTER_MS))
        .keep_alive_timeout(Duration::from_millis(PING_TIMEOUT_MS))
        .keep_alive_while_idle(false);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(trust(tls))?;
    }
    Ok(endpoint.connect_with_connector_lazy(Dialer::new()))
}

fn trust(tls: &Tls) -> TlsOptions {
    let trust = match &tls.ca {
        Some(ca) => TlsOptions::new().ca_certificate(Certificate::from_pem(ca)),
        None => TlsOptions::new().with_native_roots(),
    };
    match &tls.identity {
        Some((certificate, key)) => trust.identity(Identity::from_pem(certificate, key.reveal())),
        None => trust,
    }
}

/// Makes TCP connections that send small writes together.
struct Dialer(HttpConnector);

impl Dialer {
    fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_millis(CONNECT_MS)));
        Self(connector)
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Corked<TcpStream>>;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connect = self.0.call(uri);
        Box::pin(async { Ok(TokioIo::new(Corked::new(connect.await?.into_inner()))) })
    }
}
