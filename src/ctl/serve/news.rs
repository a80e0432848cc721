//! Server-sent events: word to a browser that something has changed, now and then. What has changed
//! it asks for itself, so nothing is kept for one that is slow.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use futures::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use whereabouts_core::limits;

use super::api;
use super::watched::Watched;

/// How often a browser hears something when nothing has changed, so that it knows of a dead server.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Tells of changes, from the present state on, as long as the browser listens; `None` when too
/// many do.
pub(super) fn news(
    watched: Arc<Watched>,
    seats: &Arc<Semaphore>,
) -> Option<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>> {
    let seat: OwnedSemaphorePermit = seats.clone().try_acquire_owned().ok()?;
    let mut changed = watched.news();
    changed.mark_changed();
    let stream = unfold(
        (watched, changed, seat),
        async |(watched, mut changed, seat)| {
            // It ends with the server.
            changed.changed().await.ok()?;
            let event = Event::default().data(api::status(&watched).to_string());
            Some((Ok(event), (watched, changed, seat)))
        },
    );
    let stream = futures::StreamExt::then(stream, async |event| {
        sleep(Duration::from_millis(limits::PAGE_NEWS_MS)).await;
        event
    });
    Some(Sse::new(stream).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}
