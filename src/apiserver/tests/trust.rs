//! Servers that are not the right one, or are not there.

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::fake::{PATIENCE, Step, TOKEN, certified, put, with};
use crate::{Access, Answer, Client, Files, Server};
use whereabouts_core::secret::Secret;

fn assert_unsent(answer: &Answer, word: &str) {
    let Answer::Unsent(reason) = answer else {
        panic!("{answer:?}")
    };
    assert!(reason.contains(word), "{reason}");
    assert!(!reason.contains(TOKEN), "{reason}");
}

async fn ask(access: &Access) -> Answer {
    let client = Client::new(access).expect("an access");
    client.send(&put(), PATIENCE).await
}

#[tokio::test]
async fn a_server_of_another_authority_or_name_gets_no_request() {
    with(&[&[Step::Read], &[Step::Read]], async |fake| {
        let mut access = fake.access.clone();
        access.ca = Some(certified().0);
        assert_unsent(&ask(&access).await, "certificate");
        let mut access = fake.access.clone();
        access.server.certificate_name = Some("api.example".to_owned());
        assert_unsent(&ask(&access).await, "certificate");
        assert!(fake.requests.borrow().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_name_in_the_certificate_may_differ_from_the_host() {
    let done: &[Step] = &[Step::Answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    )];
    with(&[done], async |fake| {
        let mut access = fake.access.clone();
        access.server.certificate_name = Some("127.0.0.1".to_owned());
        access.server.host = "localhost".to_owned();
        // The name may have an address of IPv6 too, where nobody listens.
        assert_eq!(ask(&access).await, Answer::Done(b"{}".to_vec()));
    })
    .await;
}

#[tokio::test]
async fn a_port_where_nobody_listens_or_that_speaks_no_tls_gets_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let access = Access {
        server: Server::at(&format!("https://{address}")).expect("a URL"),
        ca: Some(certified().0),
        token: Some(Secret::new(TOKEN.to_owned())),
        identity: None,
        files: Files::default(),
    };
    let answers = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut hello = [0; 16];
        stream.read_exact(&mut hello).await.expect("a hello");
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.0 400 Bad Request\r\n\r\n")
            .await
            .expect("an answer");
    };
    let (answer, ()) = futures::future::join(ask(&access), answers).await;
    assert_unsent(&answer, "TLS");
    drop(listener);
    assert_unsent(&ask(&access).await, &address.to_string());
}

#[test]
fn an_access_that_cannot_be_used_is_told_without_its_secrets() {
    let access = |ca: &[u8], token: &str, identity: Option<(Vec<u8>, Secret)>| Access {
        server: Server::at("https://127.0.0.1").expect("a URL"),
        ca: Some(ca.to_vec()),
        token: Some(Secret::new(token.to_owned())),
        identity,
        files: Files::default(),
    };
    let (ca, _) = certified();
    let pair =
        |certificate: &[u8], key: &str| Some((certificate.to_vec(), Secret::new(key.to_owned())));
    let cases = [
        (access(b"no PEM", TOKEN, None), "the CA of the server"),
        (access(&ca, "a\ntoken", None), "the token"),
        (access(&ca, TOKEN, pair(b"no PEM", TOKEN)), "certificate"),
        (access(&ca, TOKEN, pair(&ca, TOKEN)), "the key"),
    ];
    for (access, word) in cases {
        let error = Client::new(&access).expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
        assert!(!error.contains("token-that"), "{error}");
        assert!(!format!("{access:?}").contains("token-that"));
    }
}
