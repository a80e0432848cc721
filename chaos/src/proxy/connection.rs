//! One connection through a proxy, with two ways. Each way has a reader and a writer. The reader stamps each chunk
//! with the time at which it is due. The writer waits for that time and for the link.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use futures::future::{select, try_join};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::links::{Direction, Passage};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Chunks that are on their way at once; then the sender has to wait.
const CHUNKS: usize = 64;

/// A direction, and how many chunks have passed on it over all connections of a proxy.
pub(super) type Way = (Direction, Arc<AtomicU32>);

/// Why a connection ends before both sides have closed it.
enum Broken {
    /// One side has failed, or is gone.
    Failed,
    /// The links want it to be reset.
    Reset,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Failed
    }
}

/// Carries bytes both ways until both sides have closed, or the connection breaks.
pub(super) async fn carry(mut client: TcpStream, mut server: TcpStream, there: Way, back: Way) {
    // Without it small messages wait; it fails only for a connection that is gone.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ended = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let both = try_join(
            one_way(client_reads, server_writes, there),
            one_way(server_reads, client_writes, back),
        );
        both.await
    };
    if let Err(Broken::Reset) = ended {
        reset(&client);
        reset(&server);
    }
}

/// Makes the end of a stream a reset: what a linger of zero means. It fails only for a connection
/// that is gone.
pub(super) fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Carries bytes one way until the sender has closed.
async fn one_way(from: ReadHalf<'_>, to: WriteHalf<'_>, (link, passed): Way) -> Result<(), Broken> {
    let mut watched = link.clone();
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let pass = async {
        let read = read(from, sender, &link);
        let write = write(to, receiver, link.clone(), &passed);
        try_join(read, write).await.map(drop)
    };
    let (pass, reset) = (std::pin::pin!(pass), std::pin::pin!(watched.is_reset()));
    match select(pass, reset).await {
        futures::future::Either::Left((ended, _)) => ended,
        futures::future::Either::Right(((), _)) => Err(Broken::Reset),
    }
}

/// A chunk, and the time of its arrival.
type Chunk = (Instant, Vec<u8>);

async fn read(
    mut from: ReadHalf<'_>,
    sender: mpsc::Sender<Chunk>,
    link: &Direction,
) -> Result<(), Broken> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let due = Instant::now() + link.link().delay;
        if sender.send((due, buffer[..count].to_vec())).await.is_err() {
            return Err(Broken::Failed);
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut receiver: mpsc::Receiver<Chunk>,
    mut link: Direction,
    passed: &AtomicU32,
) -> Result<(), Broken> {
    while let Some((due, bytes)) = receiver.recv().await {
        sleep_until(due.into()).await;
        match link.not_held().await.passage {
            Passage::Open | Passage::Held => to.write_all(&bytes).await?,
            Passage::Reset => return Err(Broken::Reset),
            Passage::ResetAfter(chunks) if passed.fetch_add(1, Ordering::Relaxed) < chunks => {
                to.write_all(&bytes).await?;
            }
            Passage::ResetAfter(_) => {
                passed.store(0, Ordering::Relaxed);
                to.write_all(&bytes[..bytes.len() / 2]).await?;
                return Err(Broken::Reset);
            }
        }
    }
    // The sender has closed: so must the way, once the link lets that pass.
    link.not_held().await;
    Ok(to.shutdown().await?)
}
