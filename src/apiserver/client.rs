//! The client: one connection, one request at a time.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Response, Uri};
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::instrument;

use crate::access::{Access, Server};
use crate::answer::{self, Answer};
use crate::connect::{self, Connection};
use crate::request::Request;

/// Largest answer, in bytes. A page of objects is smaller.
const ANSWER_BYTES: usize = 64 << 20;

/// The name by which the API server's audit log and its flow control know this client.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("whereabouts/", env!("CARGO_PKG_VERSION")));

/// The reason why no client can be made of an [`Access`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// A client of one API server.
pub struct Client {
    server: Server,
    tls: (TlsConnector, ServerName<'static>),
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    /// The connection, while no request is under way. A dropped call takes its connection along.
    idle: RefCell<Option<Connection>>,
    /// The address that has not answered its last request.
    avoided: Cell<Option<SocketAddr>>,
}

impl Client {
    /// A client that connects at its first request.
    pub fn new(access: &Access) -> Result<Self, Unusable> {
        let authorization = access.token.as_ref().map(|token| {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()));
            let mut value =
                value.map_err(|_| Unusable("the token has characters of no token".to_owned()))?;
            value.set_sensitive(true);
            Ok(value)
        });
        let host = HeaderValue::from_str(&access.server.authority());
        Ok(Self {
            server: access.server.clone(),
            tls: connect::tls(access).map_err(Unusable)?,
            host: host.map_err(|_| Unusable("the host has wrong characters".to_owned()))?,
            authorization: authorization.transpose()?,
            idle: RefCell::new(None),
            avoided: Cell::new(None),
        })
    }

    /// Sends `request` once, and waits for its answer for so long.
    #[instrument(name = "api server", level = "debug", skip_all, fields(
        otel.kind = "client", http.request.method = %request.method, url.path = request.path(),
        server.address = self.server.host, server.port = self.server.port
    ))]
    pub async fn send(&self, request: &Request, patience: Duration) -> Answer {
        let connection = match self.idle().await {
            Some(idle) => Ok(idle),
            None => self.connect().await,
        };
        match connection {
            Ok(connection) => self.send_on(connection, request, patience).await,
            Err(reason) => Answer::Unsent(format!("{}: {reason}", self.server.authority())),
        }
    }

    /// The idle connection, if it seems to stand.
    async fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.take()?;
        idle.sender.ready().await.is_ok().then_some(idle)
    }

    async fn connect(&self) -> Result<Connection, String> {
        let connected = connect::connect(&self.server, &self.tls, self.avoided.get()).await;
        connected.map_err(|(address, reason)| {
            if address.is_some() {
                self.avoided.set(address);
            }
            reason
        })
    }

    async fn send_on(
        &self,
        mut connection: Connection,
        request: &Request,
        patience: Duration,
    ) -> Answer {
        let address = connection.address;
        // The caller may drop the call.
        self.avoided.set(Some(address));
        let exchange = timeout(patience, self.exchange(&mut connection, request)).await;
        match exchange {
            Ok(Ok(answer)) => {
                self.avoided.set(None);
                self.idle.replace(Some(connection));
                answer
            }
            Ok(Err(failed)) => failed.at(address),
            Err(_) => Answer::Lost(format!(
                "{address}: no answer within {} ms",
                patience.as_millis()
            )),
        }
    }

    /// Sends `request` and reads the whole answer. An error is an answer that says that there was none.
    async fn exchange(
        &self,
        connection: &mut Connection,
        request: &Request,
    ) -> Result<Answer, Answer> {
        let sent = connection.sender.try_send_request(self.message(request)?);
        let response = sent.await.map_err(|mut failed| {
            let was_sent = failed.take_message().is_none();
            let reason = told(failed.error());
            if was_sent {
                Answer::Lost(reason)
            } else {
                Answer::Unsent(reason)
            }
        })?;
        read(request, response).await.map_err(Answer::Lost)
    }

    fn message(&self, request: &Request) -> Result<hyper::Request<Full<bytes::Bytes>>, Answer> {
        let wrong = |reason: &dyn fmt::Display| {
            Answer::Refused(format!("the request cannot be sent: {reason}"))
        };
        let path = format!("{}{}", self.server.path, request.path());
        let uri: Uri = path.parse().map_err(|error| wrong(&error))?;
        let mut message = hyper::Request::builder()
            .method(request.method.clone())
            .uri(uri)
            .header(HOST, self.host.clone())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, request.accept)
            .header(CONTENT_TYPE, request.content);
        if let Some(authorization) = &self.authorization {
            message = message.header(AUTHORIZATION, authorization.clone());
        }
        let body = Full::new(request.body.clone());
        message.body(body).map_err(|error| wrong(&error))
    }
}

async fn read(request: &Request, response: Response<Incoming>) -> Result<Answer, String> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| format!("the answer ended early: {error}"))?;
    Ok(answer::of(
        request,
        head.status,
        &head.headers,
        &body.to_bytes(),
    ))
}

impl Answer {
    /// The same, with the address that did not answer.
    fn at(self, address: SocketAddr) -> Self {
        match self {
            Self::Unsent(reason) => Self::Unsent(format!("{address}: {reason}")),
            Self::Lost(reason) => Self::Lost(format!("{address}: {reason}")),
            other => other,
        }
    }
}

/// An error with its causes, in one line.
fn told(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
