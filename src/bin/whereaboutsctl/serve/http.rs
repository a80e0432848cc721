//! What the agent tells over HTTP: that it is alive, and what it has counted.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::backlog::Backlog;
use super::counters::Counters;

#[derive(Clone)]
struct Told {
    counters: Arc<Counters>,
    backlog: Arc<Backlog>,
}

/// Serves until that fails, and tells why.
pub(super) async fn serve(
    listener: TcpListener,
    counters: Arc<Counters>,
    backlog: Arc<Backlog>,
) -> io::Error {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .with_state(Told { counters, backlog });
    match axum::serve(listener, router).await {
        Ok(()) => io::Error::other("the HTTP server has ended"),
        Err(error) => error,
    }
}

async fn metrics(State(told): State<Told>) -> impl IntoResponse {
    let text = told.counters.text(told.backlog.bytes());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
