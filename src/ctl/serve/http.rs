//! The answers over HTTP: that it is alive, what it has counted, and, of etcd, the page and its API.
//! Nothing can be changed: there are answers to GET alone.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::{Ready, ready};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use whereabouts_core::limits;

use super::api::{self, Chosen, Grouped, Place, Searched, Since};
use super::backlog::Backlog;
use super::counters::Counters;
use super::executions::Executions;
use super::exposition::Exposition;
use super::guard::{Audience, guard};
use super::metrics::{self, ReaperCounters};
use super::store::Reader;
use super::watched::Watched;
use super::{connections, news, page};
use crate::store_api::{self, AskedLease, AskedRead};

/// Everything that is told of.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) counters: Arc<Counters>,
    pub(super) backlog: Arc<Backlog>,
    /// With a socket for plugins.
    pub(super) executions: Option<Arc<Executions>>,
    /// With a reaper.
    pub(super) reaper: Option<Arc<ReaperCounters>>,
    /// Where a store is followed or polled.
    pub(super) watched: Option<Arc<Watched>>,
    /// Where etcd is followed.
    pub(super) reader: Option<Arc<Reader>>,
}

/// Serves until that fails, and tells why.
pub(super) async fn serve(listener: TcpListener, told: Told) -> io::Error {
    let audience = match listener.local_addr() {
        Ok(address) if address.ip().is_loopback() => Audience::Machine,
        Ok(_) => Audience::Network,
        Err(error) => return error,
    };
    let mut router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape));
    if told.watched.is_some() {
        router = router.merge(of_etcd());
    }
    if let Some(reader) = &told.reader {
        router = router.merge(of_store(reader));
    }
    let router = router
        .layer(from_fn_with_state(audience, guard))
        .with_state(told);
    let head = Duration::from_millis(limits::HTTP_HEAD_MS);
    connections::serve(listener, router, connections::most(), head).await
}

fn of_etcd() -> Router<Told> {
    let seats = Arc::new(Semaphore::new(limits::PAGE_FOLLOWERS));
    let page = async || {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, page::POLICY),
        ];
        (headers, page::HTML)
    };
    let events = async move |State(told): State<Told>| match news::news(told.watched(), &seats) {
        Some(news) => news.into_response(),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many browsers follow\n",
        )
            .into_response(),
    };
    Router::new()
        .route("/", get(page))
        .route("/page/{name}", get(asset))
        .route("/api/events", get(events))
        .route("/api/ranges", get(ranges))
        .route(
            "/api/queues",
            get(async |State(told): State<Told>| json(&api::queues(&told.watched()))),
        )
        .route("/api/range", get(of_range(api::range)))
        .route("/api/blocks", get(of_range(api::blocks)))
        .route("/api/block", get(of_range(api::block)))
        .route("/api/claims", get(of_range(api::claims)))
        .route("/api/search", get(search))
        .route("/api/map", get(of_part(api::map)))
        .route("/api/address", get(of_part(api::address)))
        .route("/api/overview", get(overview))
        .route("/api/suspects", get(suspects))
        .route("/api/groups", get(groups))
        .route("/api/feed", get(feed))
}

/// The store itself, for the tool.
fn of_store(reader: &Arc<Reader>) -> Router<Told> {
    let about = {
        let reader = reader.clone();
        async move || reader.about()
    };
    let read = {
        let reader = reader.clone();
        async move |Query(asked): Query<AskedRead>| match reader.read(&asked).await {
            Ok(response) => response,
            Err(reason) => (StatusCode::BAD_REQUEST, reason).into_response(),
        }
    };
    let lease = {
        let reader = reader.clone();
        async move |Query(asked): Query<AskedLease>| reader.life_of(asked.id).await
    };
    let path = |path: &str| format!("/{path}");
    Router::new()
        .route(&path(store_api::ABOUT), get(about))
        .route(&path(store_api::READ), get(read))
        .route(&path(store_api::LEASE), get(lease))
}

/// Answers what is asked of one range.
fn of_range(
    tell: fn(&Watched, &Chosen) -> Value,
) -> impl Fn(State<Told>, Query<Chosen>) -> Ready<Response> + Clone {
    move |State(told), Query(chosen)| ready(json(&tell(&told.watched(), &chosen)))
}

/// A file of the page.
async fn asset(Path(name): Path<String>) -> Response {
    match page::asset(&name) {
        Some(asset) => ([(CONTENT_TYPE, asset.content_type)], asset.text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Answers what is asked of a part of one range, if it has the part.
fn of_part(
    tell: fn(&Watched, &Chosen) -> Result<Value, &'static str>,
) -> impl Fn(State<Told>, Query<Chosen>) -> Ready<Response> + Clone {
    move |State(told), Query(chosen)| ready(found(tell(&told.watched(), &chosen)))
}

async fn overview(State(told): State<Told>) -> Response {
    json(&api::overview(&told.watched()))
}

async fn suspects(State(told): State<Told>) -> Response {
    json(&api::suspects(&told.watched()).await)
}

async fn groups(State(told): State<Told>, Query(grouped): Query<Grouped>) -> Response {
    json(&api::groups(&told.watched(), &grouped))
}

async fn feed(State(told): State<Told>, Query(since): Query<Since>) -> Response {
    json(&api::events(&told.watched(), &since))
}

async fn ranges(State(told): State<Told>, Query(place): Query<Place>) -> Response {
    found(api::ranges(&told.watched(), &place))
}

async fn search(State(told): State<Told>, Query(searched): Query<Searched>) -> Response {
    found(api::search(&told.watched(), &searched).await)
}

fn found(found: Result<Value, &'static str>) -> Response {
    match found {
        Ok(found) => json(&found),
        Err(reason) => (StatusCode::BAD_REQUEST, reason).into_response(),
    }
}

/// Whether the page can show something. What it shows may be old, which it then says.
async fn readyz(State(told): State<Told>) -> Response {
    let has_listed = |watched: &Arc<Watched>| watched.state().listings > 0;
    if told.watched.as_ref().is_none_or(has_listed) {
        "ok\n".into_response()
    } else {
        let reason = "the datastore has not been read yet\n";
        (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
    }
}

async fn scrape(State(told): State<Told>) -> impl IntoResponse {
    if let Some(watched) = &told.watched {
        watched.freshen().await;
    }
    let mut text = Exposition::default();
    text.build_info();
    told.counters.tell(told.backlog.bytes(), &mut text);
    if let Some(executions) = &told.executions {
        executions.tell(&mut text);
    }
    if let Some(reaper) = &told.reaper {
        reaper.tell(&mut text);
    }
    if let Some(watched) = &told.watched {
        metrics::tell(watched, &mut text);
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text.text())
}

fn json(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

impl Told {
    fn watched(&self) -> Arc<Watched> {
        let watched = self.watched.clone();
        let watched = watched.expect("only where a store is followed there are routes for it");
        watched.look();
        watched
    }
}
