//! The connection: TCP to the first of the server's addresses that accepts it, TLS, HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use whereabouts_core::limits::STAGGER_MS;

use crate::access::{Access, Server};

/// Longest time for a connection, in milliseconds.
const CONNECT_MS: u64 = 2_000;

/// Addresses of one name that are tried.
const ADDRESSES: usize = 16;

/// A connection that takes requests.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    pub(crate) address: SocketAddr,
}

/// The trust and the identity for all connections of a client.
pub(crate) fn tls(access: &Access) -> Result<(TlsConnector, ServerName<'static>), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(access.ca.as_deref())?);
    let config = match &access.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate, "the certificate of the client")?;
            let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
                .map_err(|_| "the key of the client is no private key in PEM")?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("certificate and key of the client: {error}"))?
        }
    };
    let name = access.server.certificate_name.as_ref();
    let name = name.unwrap_or(&access.server.host).clone();
    let name = ServerName::try_from(name.clone())
        .map_err(|_| format!("{name} can be no name of a certificate"))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(ca) = ca else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        return Ok(roots);
    };
    for certificate in certificates(ca, "the CA of the server")? {
        roots
            .add(certificate)
            .map_err(|error| format!("the CA of the server: {error}"))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{what} is no certificate in PEM")),
    }
}

/// Connects to `server`. The address in `avoided` is tried last.
pub(crate) async fn connect(
    server: &Server,
    tls: &(TlsConnector, ServerName<'static>),
    avoided: Option<SocketAddr>,
) -> Result<Connection, (Option<SocketAddr>, String)> {
    let bound = Duration::from_millis(CONNECT_MS);
    let late = || (None, format!("no connection within {CONNECT_MS} ms"));
    let (stream, address) = timeout(bound, first(server, avoided))
        .await
        .map_err(|_| late())?
        .map_err(|reason| (None, reason))?;
    let at = |reason: String| (Some(address), format!("{address}: {reason}"));
    let greeting = timeout(bound, greet(stream, tls)).await;
    let sender = greeting
        .map_err(|_| at(format!("no TLS connection within {CONNECT_MS} ms")))?
        .map_err(at)?;
    Ok(Connection { sender, address })
}

async fn greet(
    stream: TcpStream,
    (connector, name): &(TlsConnector, ServerName<'static>),
) -> Result<SendRequest<Full<Bytes>>, String> {
    // Without it, a small request waits for the acknowledgement of the one before. An old kernel may refuse; it is only slower.
    let _ = stream.set_nodelay(true);
    let stream = connector.connect(name.clone(), stream).await;
    let stream = stream.map_err(|error| format!("TLS: {error}"))?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // The sender tells its failures.
    tokio::spawn(async { drop(connection.await) });
    Ok(sender)
}

/// The first connection by TCP. A further address is tried when the previous one has failed or is late.
async fn first(
    server: &Server,
    avoided: Option<SocketAddr>,
) -> Result<(TcpStream, SocketAddr), String> {
    let found = lookup_host((server.host.as_str(), server.port)).await;
    let found = found.map_err(|error| format!("{}: {error}", server.host))?;
    let mut addresses: Vec<_> = found.take(ADDRESSES).collect();
    addresses.sort_by_key(|address| Some(*address) == avoided);
    let mut waiting = addresses.into_iter();
    let mut connecting = FuturesUnordered::new();
    let mut reasons = Vec::new();
    loop {
        connecting.extend(waiting.next().map(|address| async move {
            let stream = TcpStream::connect(address).await;
            stream
                .map(|stream| (stream, address))
                .map_err(|error| format!("{address}: {error}"))
        }));
        let next = if waiting.len() == 0 {
            connecting.next().await
        } else {
            let pause = Duration::from_millis(STAGGER_MS);
            match timeout(pause, connecting.next()).await {
                Ok(next) => next,
                Err(_) => continue,
            }
        };
        match next {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(reason)) => reasons.push(reason),
            None if reasons.is_empty() => {
                return Err(format!("{}: the name has no address", server.host));
            }
            None => return Err(reasons.join("; ")),
        }
    }
}
