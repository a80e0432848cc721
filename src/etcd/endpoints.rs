//! The choice of an endpoint: the endpoint that answered first, until it fails.
//!
//! `etcd_client` does not fail over, so each endpoint has a client of its own. No call fails
//! because one of several endpoints is dead or hangs. If an answer is late, a read also goes to
//! further endpoints. Any other call goes to the chosen endpoint, which answered last. An endpoint
//! loses this choice if it fails a call, or if a caller drops a call before the answer. This module
//! knows nothing of the requests.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions, Error};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::OnceCell;
use tracing::field::{Empty, display};
use tracing::{Span, instrument};

use super::channel;
use super::failure::{self, FailedRequest, Failure};
use super::spans::{self, Method, Unanswered};
use crate::SystemClock;
use crate::access::Access;
use whereabouts_clock::{Chance, Clock, within};
use whereabouts_core::limits::STAGGER_MS;
use whereabouts_store::Unavailable;

/// As [`STAGGER_MS`], with a password to verify. etcd needs about 60 ms for it (bcrypt).
const LOGIN_STAGGER_MS: u64 = 100;

/// As [`STAGGER_MS`], for an endpoint that has answered before. It may only be busy.
const PATIENCE_MS: u64 = 300;

const _: () = assert!(STAGGER_MS < LOGIN_STAGGER_MS && LOGIN_STAGGER_MS < PATIENCE_MS);

/// The condition for sending a request again, to another endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// The request was certainly not carried out.
    IfUnsent,
    /// Any failure, because the request does no harm if it is carried out twice.
    Always,
}

/// The endpoints of a cluster, and the choice among them.
pub(super) struct Endpoints {
    access: Access,
    /// For each endpoint, its client after connection and login.
    clients: Vec<OnceCell<Client>>,
    /// The endpoint that answered last.
    chosen: Cell<Option<usize>>,
    /// The first endpoint to ask if none is chosen.
    first: Cell<usize>,
}

impl Endpoints {
    pub(super) fn new(access: &Access, chance: &Chance) -> Self {
        let count = access.endpoints.len();
        let first = chance.below(u64::try_from(count).expect("usize has 64 bits or less"));
        Self {
            access: access.clone(),
            clients: access.endpoints.iter().map(|_| OnceCell::new()).collect(),
            chosen: Cell::new(None),
            first: Cell::new(usize::try_from(first).expect("it is below a usize")),
        }
    }

    /// Asks one endpoint after the other, and chooses the first one that answers. The next endpoint
    /// is asked when the previous one has failed or is late.
    pub(super) async fn first_to_answer<T>(
        &self,
        method: Method,
        request: impl AsyncFn(Client) -> Result<T, FailedRequest>,
    ) -> Result<T, Unavailable> {
        let (start, pause_ms) = match (self.chosen.get(), &self.access.login) {
            (Some(chosen), _) => (chosen, PATIENCE_MS),
            (None, Some(_)) => (self.first.get(), LOGIN_STAGGER_MS),
            (None, None) => (self.first.get(), STAGGER_MS),
        };
        let pause = Duration::from_millis(pause_ms);
        let count = self.clients.len();
        let mut waiting = (0..count).map(|step| (start + step) % count);
        let ask = async |index| (index, self.ask(index, method, &request).await);
        let mut asked = FuturesUnordered::new();
        let mut failed = Unavailable::Later("no endpoint is configured".to_owned());
        loop {
            asked.extend(waiting.next().map(&ask));
            let answer = if waiting.len() == 0 {
                match asked.next().await {
                    Some(answer) => answer,
                    None => return Err(failed),
                }
            } else {
                let until = SystemClock.now() + pause;
                match within(&SystemClock, until, asked.next()).await {
                    Some(Some(answer)) => answer,
                    Some(None) | None => continue,
                }
            };
            match answer {
                (index, Ok(value)) => {
                    self.chosen.set(Some(index));
                    return Ok(value);
                }
                (index, Err(failure @ (Failure::Refused(_) | Failure::LongAnswer(_)))) => {
                    self.chosen.set(Some(index));
                    return Err(failure.of_request());
                }
                (index, Err(failure @ (Failure::Unsent(_) | Failure::Lost(_)))) => {
                    self.dismiss(index);
                    // A person must learn of a refusal that does not pass by itself, so it is kept.
                    // `NotNow` is kept too: one endpoint that answers proves that etcd is not down.
                    failed = match (failed, failure.of_request()) {
                        (before @ Unavailable::Denied(_), _)
                        | (before @ Unavailable::NotNow(_), Unavailable::Later(_)) => before,
                        (_, now) => now,
                    };
                }
            }
        }
    }

    /// Sends a request to the chosen endpoint. After a failure that `repeat` allows, sends it to
    /// others.
    pub(super) async fn serve<T>(
        &self,
        method: Method,
        repeat: Repeat,
        request: impl AsyncFn(Client) -> Result<T, FailedRequest>,
    ) -> Result<T, Failure> {
        let mut tries = self.clients.len();
        loop {
            let index = self.choose().await.map_err(Failure::Unsent)?;
            let suspicion = Suspicion {
                endpoints: self,
                index,
            };
            let result = self.ask(index, method, &request).await;
            tries -= 1;
            match (&result, repeat) {
                (Ok(_) | Err(Failure::Refused(_) | Failure::LongAnswer(_)), _) => {
                    suspicion.clear();
                    return result;
                }
                (Err(Failure::Lost(_)), Repeat::IfUnsent) => return result,
                (Err(Failure::Unsent(_)), _) | (Err(Failure::Lost(_)), Repeat::Always) => {
                    if tries == 0 {
                        return result;
                    }
                }
            }
        }
    }

    /// The chosen endpoint. If there is none, the first endpoint that answers an empty transaction.
    async fn choose(&self) -> Result<usize, Unavailable> {
        if let Some(chosen) = self.chosen.get() {
            return Ok(chosen);
        }
        let probe = async |client: Client| {
            client.kv_client().txn(etcd_client::Txn::new()).await?;
            Ok(())
        };
        self.first_to_answer(Method::Txn, probe).await?;
        Ok(self.chosen.get().expect("an endpoint has just answered"))
    }

    #[instrument(name = "etcd", level = "debug", skip_all, fields(
        otel.name = %format_args!("etcd {}", method.operation()), otel.kind = "client",
        db.system.name = "etcd", db.operation.name = method.operation(),
        rpc.system.name = "grpc", rpc.method = method.full_name(), rpc.response.status_code,
        server.address = spans::host(&self.access.endpoints[index]),
        server.port = spans::port(&self.access.endpoints[index]),
        error.type = Empty, otel.status_description
    ), err(level = "debug"))]
    async fn ask<T>(
        &self,
        index: usize,
        method: Method,
        request: &impl AsyncFn(Client) -> Result<T, FailedRequest>,
    ) -> Result<T, Failure> {
        let unanswered = Unanswered::new();
        let url = &self.access.endpoints[index];
        // Both futures are large. The boxes keep them out of the callers' futures.
        let connect = || Box::pin(connect(&self.access, url));
        let result = match self.clients[index].get_or_try_init(connect).await {
            Ok(client) => Box::pin(request(client.clone())).await,
            Err(error) => Err(error.into()),
        };
        unanswered.end(result).map_err(|failure| match failure {
            // A server that requires a client certificate closes the connection. With TLS 1.3 it is
            // a matter of luck whether its reason arrives.
            Failure::Lost(reason) if self.may_lack_a_certificate(index) => Failure::Lost(format!(
                "{url}: {reason} (does it ask for a client certificate?)"
            )),
            failure => failure.at(url),
        })
    }

    fn may_lack_a_certificate(&self, index: usize) -> bool {
        let tls = self.access.tls.as_ref();
        tls.is_some_and(|tls| tls.identity.is_none()) && self.chosen.get() != Some(index)
    }

    fn dismiss(&self, index: usize) {
        if self.chosen.get() == Some(index) {
            self.chosen.set(None);
        }
        self.first.set((index + 1) % self.clients.len());
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints")
            .field("urls", &self.access.endpoints)
            .field("chosen", &self.chosen.get())
            .finish_non_exhaustive()
    }
}

/// A call under way. Its endpoint is dismissed when the call ends, also if it is dropped, unless
/// `clear` ends the suspicion.
struct Suspicion<'a> {
    endpoints: &'a Endpoints,
    index: usize,
}

impl Suspicion<'_> {
    fn clear(self) {
        std::mem::forget(self);
    }
}

impl Drop for Suspicion<'_> {
    fn drop(&mut self) {
        self.endpoints.dismiss(self.index);
    }
}

/// A client of one endpoint, logged in if there is a login. Without a login it connects at its
/// first use.
#[instrument(level = "debug", skip_all, fields(
    server.address = spans::host(url), server.port = spans::port(url), otel.status_description
))]
async fn connect(access: &Access, url: &str) -> Result<Client, Error> {
    let options = ConnectOptions::new().with_require_leader(true);
    let channel = Channel::Tonic(channel::open(url, access.tls.as_ref())?);
    let Some((user, password)) = &access.login else {
        return Client::from_channel(channel, Some(options)).await;
    };
    let with_login = options
        .clone()
        .with_user(user, password.reveal())
        .with_auto_token_refresh(true);
    match Client::from_channel(channel.clone(), Some(with_login)).await {
        // etcd's own clients also go on without a login that the cluster does not require.
        Err(error) if failure::is_login_not_asked_for(&error) => {
            Client::from_channel(channel, Some(options)).await
        }
        Err(error) => {
            Span::current().record("otel.status_description", display(&error));
            Err(error)
        }
        connected => connected,
    }
}
