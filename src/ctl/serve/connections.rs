//! Connections over HTTP: a bounded number of them, none of which waits for its client without a bound. So no client
//! can take the descriptors that the way to etcd needs. It does not know the content.

use std::collections::VecDeque;
use std::future::ready;
use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{sleep, timeout};
use whereabouts_core::limits;

use crate::output::say;

/// Before the next try, when no connection can be accepted: the machine lacks something.
const PAUSE: Duration = Duration::from_secs(1);

/// How many connections there may be at the same time: half of the descriptors that this process may have are left for
/// others.
pub(crate) fn most() -> usize {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    let half = usize::try_from(descriptors / 2).unwrap_or(usize::MAX);
    half.clamp(1, limits::HTTP_CONNECTIONS)
}

/// Serves until no connection can come any more, and tells why. At most `most` connections live at the same time: a
/// further one ends the oldest, so that no number of silent clients keeps a new one out. A client has `head` for the
/// head of each request.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    most: usize,
    head: Duration,
) -> io::Error {
    let handshake = |stream| ready(Ok(stream));
    serve_over(listener, handshake, router, most, head).await
}

/// The same, over what `handshake` makes of a connection. A handshake takes no longer than the head of a request.
pub(crate) async fn serve_over<S, H>(
    listener: TcpListener,
    handshake: impl Fn(TcpStream) -> H,
    router: Router,
    most: usize,
    head: Duration,
) -> io::Error
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Future<Output = io::Result<S>> + Send + 'static,
{
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(head);
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if is_of_client(&error) => continue,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return error,
            Err(error) => {
                say!("whereaboutsctl: no connection can be accepted: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= most {
            let oldest = connections.pop_front();
            oldest.as_ref().map(AbortHandle::abort);
            // Its descriptor is free once its task has run.
            yield_now().await;
        }
        let service = TowerToHyperService::new(router.clone());
        let (shaken, server) = (timeout(head, handshake(stream)), server.clone());
        // How it ends is the client's affair.
        let connection = tokio::spawn(async move {
            if let Ok(Ok(stream)) = shaken.await {
                drop(server.serve_connection(TokioIo::new(stream), service).await);
            }
        });
        connections.push_back(connection.abort_handle());
    }
}

/// Whether a connection ended before it was accepted.
fn is_of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n";

    /// Serves with these bounds while `act` runs.
    fn serving(most: usize, head: Duration, act: impl AsyncFnOnce(std::net::SocketAddr)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.expect("a port is free");
            let address = listener.local_addr().expect("it is bound");
            let router = Router::new().route("/", get(async || "ok"));
            tokio::spawn(serve(listener, router, most, head));
            act(address).await;
        });
    }

    async fn begun(address: std::net::SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(REQUEST).await.expect("it reads");
        stream
    }

    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        // One that is ended with something unread is reset.
        let _ = stream.read_to_end(&mut text).await;
        String::from_utf8(text).expect("HTTP is text")
    }

    #[test]
    fn a_client_that_does_not_end_its_request_or_begins_no_other_is_left() {
        serving(8, Duration::from_millis(50), async |address| {
            assert_eq!(rest(&mut begun(address).await).await, "");
            let mut idle = begun(address).await;
            idle.write_all(b"\r\n").await.expect("it reads");
            let answer = rest(&mut idle).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        });
    }

    #[test]
    fn a_connection_beyond_the_bound_ends_the_oldest() {
        serving(2, Duration::from_mins(10), async |address| {
            let (mut first, mut second) = (begun(address).await, begun(address).await);
            let mut third = begun(address).await;
            assert_eq!(rest(&mut first).await, "");
            for stream in [&mut second, &mut third] {
                stream
                    .write_all(b"Connection: close\r\n\r\n")
                    .await
                    .expect("it reads");
                let answer = rest(stream).await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            }
        });
    }
}
