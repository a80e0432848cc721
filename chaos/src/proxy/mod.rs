//! A TCP proxy that delays, holds and resets what passes: the network between a cluster and its
//! clients, and between its members. It looks at no byte, so it carries TLS as well.
//!
//! ```text
//! client ──> Proxy (a port of its own, a thread of its own) ──> target
//!              Links say what happens on each way, at any moment
//! ```

mod connection;
mod links;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread::{self, JoinHandle};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use self::connection::carry;
pub use self::links::{Link, Links, Party, Passage};

/// Tells who connects, by the addresses from which and to which it does; nobody that is known: the
/// connection is closed.
pub type Recognise = Arc<dyn Fn(SocketAddr, SocketAddr) -> Option<Party> + Send + Sync>;

/// A proxy in front of one party. It ends, with its connections, when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy for clients in front of `owner`, which listens at `target`.
    pub fn for_clients(links: &Links, owner: Party, target: SocketAddr) -> io::Result<Self> {
        Self::start(links, owner, target, Arc::new(|_, _| Some(Party::Clients)))
    }

    /// A proxy in front of `owner`, which listens at `target`, for those whom `recognise` knows.
    pub fn start(
        links: &Links,
        owner: Party,
        target: SocketAddr,
        recognise: Recognise,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let front = Front {
            links: links.clone(),
            owner,
            target,
            recognise,
        };
        let thread = thread::Builder::new()
            .name(format!("proxy-{}", address.port()))
            .spawn(move || {
                let serve = std::pin::pin!(front.serve(listener));
                // Either way it is over: the proxy was dropped.
                runtime.block_on(futures::future::select(serve, stopped));
            })?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.address).finish()
    }
}

/// The server behind a proxy.
struct Front {
    links: Links,
    owner: Party,
    target: SocketAddr,
    recognise: Recognise,
}

impl Front {
    async fn serve(self, listener: TcpListener) {
        // Chunks that have passed since connections were last reset, there and back.
        let passed = [Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0))];
        loop {
            let Ok((client, from)) = listener.accept().await else {
                // Out of file descriptors, say: others will end.
                tokio::task::yield_now().await;
                continue;
            };
            let to = client.local_addr();
            let Some(party) = to.ok().and_then(|to| (self.recognise)(from, to)) else {
                continue;
            };
            let there = self.links.direction(party, self.owner);
            let back = self.links.direction(self.owner, party);
            let target = self.target;
            let [passed_there, passed_back] = passed.clone();
            tokio::spawn(async move {
                match TcpStream::connect(target).await {
                    Ok(server) => {
                        carry(client, server, (there, passed_there), (back, passed_back)).await;
                    }
                    Err(_) => connection::reset(&client),
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
