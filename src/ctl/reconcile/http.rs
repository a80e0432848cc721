//! The answers of the controller over HTTP.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use whereabouts_controller::{ApiServer, PodCache};
use whereabouts_core::limits;

use super::metrics::Metrics;
use crate::admission::Admission;
use crate::serve::connections;
use crate::serve::exposition::{Exposition, Kind};
use crate::serve::guard::{Audience, guard};

/// A loop that has not beaten for so long hangs. It beats between its steps and between releases, and each wait is shorter.
const HANGS: Duration = Duration::from_mins(10);

/// Everything that is told.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) metrics: Arc<Metrics>,
    pub(super) api: ApiServer,
    pub(super) cache: PodCache,
    pub(super) pulse: Pulse,
    /// The webhook, if it is served.
    pub(super) admission: Option<Admission>,
}

/// When the loop beat for the last time.
#[derive(Clone)]
pub(super) struct Pulse {
    start: Instant,
    last: Arc<AtomicU64>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            last: Arc::default(),
        }
    }

    pub(super) fn beat(&self) {
        self.last
            .store(self.start.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// The second of the last beat.
    #[cfg(test)]
    pub(super) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    fn is_alive(&self) -> bool {
        let last = Duration::from_secs(self.last.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last) < HANGS
    }
}

/// Serves until that fails, and tells why.
pub(super) async fn serve(listener: TcpListener, told: Told) -> io::Error {
    let audience = match listener.local_addr() {
        Ok(address) if address.ip().is_loopback() => Audience::Machine,
        Ok(_) => Audience::Network,
        Err(error) => return error,
    };
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .layer(from_fn_with_state(audience, guard))
        .with_state(told);
    let head = Duration::from_millis(limits::HTTP_HEAD_MS);
    connections::serve(listener, router, connections::most(), head).await
}

async fn healthz(State(told): State<Told>) -> Response {
    is_well(told.pulse.is_alive(), "the loop hangs\n")
}

async fn readyz(State(told): State<Told>) -> Response {
    if let Some(admission) = &told.admission
        && !admission.is_ready()
    {
        return is_well(false, "the webhook has no certificate yet\n");
    }
    is_well(
        told.cache.is_complete(),
        "the list of pods is not complete yet\n",
    )
}

fn is_well(is_well: bool, otherwise: &'static str) -> Response {
    if is_well {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, otherwise).into_response()
    }
}

async fn scrape(State(told): State<Told>) -> impl IntoResponse {
    let mut text = Exposition::default();
    text.build_info();
    told.metrics.tell(&mut text);
    let help = "Pods that the cache shows.";
    text.value(
        "whereabouts_reconcile_pods",
        Kind::Gauge,
        help,
        told.cache.count(),
    );
    let help = "Requests to the API server, besides those of the watch.";
    text.value(
        "whereabouts_reconcile_requests_total",
        Kind::Counter,
        help,
        told.api.requests(),
    );
    if let Some(admission) = &told.admission {
        admission.tell(&mut text);
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text.text())
}
