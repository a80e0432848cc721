//! A stream that sends small writes together.
//!
//! Without it, a new connection sends the end of the TLS handshake, the preface of HTTP/2, its settings, the head and the body of
//! the first request one by one. Each piece is a system call here, a packet, and a wake-up of etcd.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How often a flush or a read leaves the bytes where they are, so that the tasks that are ready can add theirs.
const PATIENCE: u8 = 4;

/// Bytes that are sent at once, without patience.
const MOST_BYTES: usize = 16 << 10;

/// A stream, and the bytes that it has yet to send.
///
/// *Invariant: while there are such bytes, the task that used the stream last was woken, or waits until the stream takes them.*
/// So the bytes are sent soon after the last use: the owner of a connection reads whenever it is woken.
pub(super) struct Corked<S> {
    stream: S,
    bytes: Vec<u8>,
    waited: u8,
}

impl<S> Corked<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
            waited: 0,
        }
    }
}

impl<S: AsyncWrite + Unpin> Corked<S> {
    /// Sends what there is.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.bytes.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &self.bytes))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.bytes.drain(..sent);
        }
        self.waited = 0;
        Poll::Ready(Ok(()))
    }

    /// Sends what there is if that has waited long enough. Otherwise wakes the task, to be asked again.
    fn poll_send_if_due(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if self.waited < PATIENCE {
            self.waited += 1;
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        self.poll_send(context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.bytes.len() + bytes.len() > MOST_BYTES {
            ready!(self.poll_send(context))?;
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_if_due(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A stream that takes nothing more may have an answer that tells why. The next write meets the error again.
        let _ = self.poll_send_if_due(context);
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    /// A stream that notes what it is given, takes so many bytes at once, and has an answer.
    #[derive(Default)]
    struct Peer {
        taken: Vec<Vec<u8>>,
        at_once: usize,
        answer: Vec<u8>,
        is_broken: bool,
    }

    impl AsyncWrite for Peer {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.is_broken {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let bytes = &bytes[..bytes.len().min(self.at_once)];
            self.taken.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Peer {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.answer.is_empty() {
                return Poll::Pending;
            }
            buffer.put_slice(&std::mem::take(&mut self.answer));
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A corked stream with the task that owns it.
    struct Task {
        corked: Corked<Peer>,
        wakes: Arc<Wakes>,
    }

    impl Task {
        fn new(at_once: usize) -> Self {
            let peer = Peer {
                at_once,
                ..Peer::default()
            };
            Self {
                corked: Corked::new(peer),
                wakes: Arc::default(),
            }
        }

        fn with<T>(&mut self, act: impl Fn(Pin<&mut Corked<Peer>>, &mut Context<'_>) -> T) -> T {
            let waker = Waker::from(Arc::clone(&self.wakes));
            act(Pin::new(&mut self.corked), &mut Context::from_waker(&waker))
        }

        fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.with(|corked, context| corked.poll_write(context, bytes))
        }

        fn flush(&mut self) -> Poll<io::Result<()>> {
            self.with(Corked::poll_flush)
        }

        fn read(&mut self) -> (Poll<io::Result<()>>, Vec<u8>) {
            let mut space = [0; 16];
            let mut buffer = ReadBuf::new(&mut space);
            let waker = Waker::from(Arc::clone(&self.wakes));
            let mut context = Context::from_waker(&waker);
            let read = Pin::new(&mut self.corked).poll_read(&mut context, &mut buffer);
            (read, buffer.filled().to_vec())
        }

        fn sent(&self) -> Vec<u8> {
            self.corked.stream.taken.concat()
        }

        fn wakes(&self) -> usize {
            self.wakes.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn the_writes_of_several_flushes_are_one() {
        let mut task = Task::new(usize::MAX);
        for piece in [b"a", b"b", b"c"] {
            assert!(task.write(piece).is_ready());
            assert!(task.flush().is_ready());
        }
        assert!(task.sent().is_empty());
        for _ in 0..PATIENCE {
            assert!(task.flush().is_ready());
        }
        assert_eq!(task.corked.stream.taken, [b"abc".to_vec()]);
    }

    #[test]
    fn a_task_that_only_reads_is_woken_until_its_bytes_are_sent() {
        let mut task = Task::new(usize::MAX);
        assert!(task.write(b"hello").is_ready());
        let mut wakes = 0;
        while task.sent().is_empty() {
            assert!(task.read().0.is_pending());
            assert!(
                task.wakes() > wakes || !task.sent().is_empty(),
                "nobody wakes it"
            );
            wakes = task.wakes();
        }
        assert_eq!(task.sent(), b"hello");
        assert!(task.read().0.is_pending());
        assert_eq!(task.wakes(), wakes, "it is woken for nothing");
    }

    #[test]
    fn many_bytes_do_not_wait_and_keep_their_order() {
        let mut task = Task::new(1_000);
        let many: Vec<u8> = (0..=250).cycle().take(3 * MOST_BYTES).collect();
        let mut rest = &many[..];
        while !rest.is_empty() {
            let Poll::Ready(Ok(count)) = task.write(&rest[..rest.len().min(5_000)]) else {
                panic!("the stream takes all");
            };
            rest = &rest[count..];
            assert!(task.corked.bytes.len() <= MOST_BYTES);
        }
        for _ in 0..=PATIENCE {
            assert!(task.flush().is_ready());
        }
        assert_eq!(task.sent(), many);
    }

    #[test]
    fn the_end_sends_what_there_is() {
        let mut task = Task::new(1);
        assert!(task.write(b"bye").is_ready());
        assert!(task.with(Corked::poll_shutdown).is_ready());
        assert_eq!(task.sent(), b"bye");
    }

    #[test]
    fn the_answer_of_a_stream_that_takes_nothing_is_read_before_the_error_is_met() {
        let mut task = Task::new(usize::MAX);
        task.corked.stream.is_broken = true;
        task.corked.stream.answer = b"why".to_vec();
        task.corked.waited = PATIENCE;
        assert!(task.write(b"hello").is_ready());
        let (read, answer) = task.read();
        assert!(matches!(read, Poll::Ready(Ok(()))));
        assert_eq!(answer, b"why");
        assert!(matches!(task.flush(), Poll::Ready(Err(_))));
    }
}
