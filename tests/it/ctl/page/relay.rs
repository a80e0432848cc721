//! A way to etcd that can be cut and mended, while etcd itself goes on.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A relay in front of one endpoint.
pub(super) struct Relay {
    /// Where it listens.
    pub(super) url: String,
    way: Arc<Mutex<Way>>,
}

#[derive(Default)]
struct Way {
    is_cut: bool,
    streams: Vec<TcpStream>,
}

impl Relay {
    /// Leads to `url`. It ends with the test's process.
    pub(super) fn to(url: &str) -> Self {
        let target = url
            .strip_prefix("http://")
            .expect("in the clear")
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let way = Arc::new(Mutex::new(Way::default()));
        let shared = Arc::clone(&way);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut way = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if way.is_cut {
                    continue;
                }
                let server = TcpStream::connect(&target).expect("etcd listens");
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (clone(from), clone(to));
                    thread::spawn(move || carry(from, to));
                }
                way.streams.extend([client, server]);
            }
        });
        Self {
            url: format!("http://{address}"),
            way,
        }
    }

    /// Ends all connections, and takes no more.
    pub(super) fn cut(&self) {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        way.is_cut = true;
        for stream in way.streams.drain(..) {
            // It fails only when the other side has ended it.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes connections again.
    pub(super) fn mend(&self) {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        way.is_cut = false;
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("there are descriptors left")
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    // However it ends, the other side is to hear of it.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}
