//! A server of TLS that follows a script, byte by byte.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;
use whereabouts_core::secret::Secret;

use crate::access::{Access, Files, Server};
use crate::request::{Request, Resource};

/// The token of all tests. No error may have it.
pub(super) const TOKEN: &str = "a-token-that-nobody-may-see";

/// The patience of all tests. Only a server that hangs uses it up.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A step of the server on one connection. After the last one, it closes the connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Reads a whole request, and sends these bytes.
    Answer(&'static str),
    /// Reads a whole request.
    Read,
    /// Waits until the client is gone.
    Hang,
}

/// A running server.
pub(super) struct Fake {
    pub(super) access: Access,
    /// How many connections have come.
    pub(super) connections: Rc<Cell<usize>>,
    /// The requests, each with head and body.
    pub(super) requests: Rc<RefCell<Vec<String>>>,
    /// How many connections the server has finished.
    pub(super) finished: Rc<Cell<usize>>,
}

/// Runs `test` with a server that follows one script for each connection.
pub(super) async fn with<F: Future<Output = ()>>(
    scripts: &[&'static [Step]],
    test: impl FnOnce(Fake) -> F,
) {
    let local = LocalSet::new();
    let scripts = scripts.iter().copied().collect();
    local
        .run_until(async move { test(start(scripts).await).await })
        .await;
}

/// An authority, and the configuration of a server that it certifies for 127.0.0.1.
pub(super) fn certified() -> (Vec<u8>, ServerConfig) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("an authority");
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a configuration");
    (authority.pem().into_bytes(), config)
}

async fn start(mut scripts: VecDeque<&'static [Step]>) -> Fake {
    let (ca, config) = certified();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let fake = Fake {
        access: Access {
            server: Server::at(&format!("https://{address}")).expect("a URL"),
            ca: Some(ca),
            token: Some(Secret::new(TOKEN.to_owned())),
            identity: None,
            files: Files::default(),
        },
        connections: Rc::default(),
        requests: Rc::default(),
        finished: Rc::default(),
    };
    let (connections, requests, finished) = (
        fake.connections.clone(),
        fake.requests.clone(),
        fake.finished.clone(),
    );
    spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            connections.set(connections.get() + 1);
            let script = scripts.pop_front().unwrap_or(&[]);
            let (acceptor, requests, finished) =
                (acceptor.clone(), requests.clone(), finished.clone());
            spawn_local(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    follow(script, stream, &requests).await;
                }
                finished.set(finished.get() + 1);
            });
        }
    });
    fake
}

async fn follow(
    script: &[Step],
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    requests: &RefCell<Vec<String>>,
) {
    for step in script {
        match step {
            Step::Answer(bytes) => {
                let Some(request) = request(&mut stream).await else {
                    return;
                };
                requests.borrow_mut().push(request);
                // The client may be gone.
                let _ = stream.write_all(bytes.as_bytes()).await;
                let _ = stream.flush().await;
            }
            Step::Read => {
                let Some(request) = request(&mut stream).await else {
                    return;
                };
                requests.borrow_mut().push(request);
            }
            Step::Hang => {
                let mut rest = [0; 64];
                while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
            }
        }
    }
    let _ = stream.shutdown().await;
}

/// One request, by its `Content-Length`.
async fn request(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                let is_length = key.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse().expect("a length"))
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let mut more = [0; 1024];
        match stream.read(&mut more).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&more[..count]),
            _ => return None,
        }
    }
}

/// A resource of a test.
pub(super) fn things() -> Resource {
    Resource {
        group: "example.org",
        version: "v1",
        plural: "things",
        namespace: Some("here".to_owned()),
    }
}

/// A write, whose outcome matters.
pub(super) fn put() -> Request {
    Request::replace(&things(), "a", br#"{"spec":1}"#.to_vec())
}
