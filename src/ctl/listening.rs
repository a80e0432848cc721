//! The sockets on which the programs listen.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

/// `EAFNOSUPPORT`, as Linux numbers it.
const NO_SUCH_FAMILY: i32 = 97;

/// Listens on `listen`. `[::]` is all addresses of both families; a host without IPv6 has those of IPv4 alone.
pub(crate) async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let is_everything = listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match TcpListener::bind(listen).await {
        Err(error) if is_everything && error.raw_os_error() == Some(NO_SUCH_FAMILY) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, listen.port())).await
        }
        bound => bound,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn everything_is_both_families() {
        let everything = bind("[::]:0".parse().expect("an address")).await;
        let everything = everything.expect("a free port");
        let port = everything.local_addr().expect("it is bound").port();
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        for address in loopback {
            TcpStream::connect((address, port))
                .await
                .expect("it listens");
        }
    }
}
