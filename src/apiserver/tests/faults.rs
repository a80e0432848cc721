//! Answers that are lost, cut, slow or late.

use std::time::Duration;

use tokio::time::timeout;

use super::fake::{Fake, PATIENCE, Step, TOKEN, put, with};
use crate::{Answer, Client};

const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

fn client(fake: &Fake) -> Client {
    Client::new(&fake.access).expect("an access")
}

fn done() -> Answer {
    Answer::Done(b"{}".to_vec())
}

fn assert_lost(answer: &Answer) {
    let Answer::Lost(reason) = answer else {
        panic!("{answer:?}")
    };
    assert!(!reason.contains(TOKEN), "{reason}");
}

#[tokio::test]
async fn one_connection_serves_all_requests() {
    with(&[&[Step::Answer(DONE), Step::Answer(DONE)]], async |fake| {
        let client = client(&fake);
        assert_eq!(client.send(&put(), PATIENCE).await, done());
        assert_eq!(client.send(&put(), PATIENCE).await, done());
        assert_eq!(fake.connections.get(), 1);
        let requests = fake.requests.borrow();
        let request = requests[0].to_ascii_lowercase();
        assert!(
            request.starts_with("put /apis/example.org/v1/namespaces/here/things/a http/1.1\r\n")
        );
        assert!(request.contains(&format!("authorization: bearer {TOKEN}\r\n")));
        assert!(request.contains("host: 127.0.0.1:"));
        assert!(request.ends_with("\r\n\r\n{\"spec\":1}"), "{request}");
    })
    .await;
}

#[tokio::test]
async fn a_lost_or_cut_answer_is_lost_and_is_not_asked_for_again() {
    let scripts: [&'static [Step]; 7] = [
        &[Step::Read],
        &[Step::Answer("HTTP/1.1 200")],
        &[Step::Answer("HTTP/1.1 200 OK\r\n")],
        &[Step::Answer(
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        )],
        &[Step::Answer(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        )],
        &[Step::Answer(
            "HTTP/1.1 409 Conflict\r\nContent-Length: 9\r\n\r\n{}",
        )],
        &[Step::Answer("SSH-2.0-OpenSSH\r\n\r\n")],
    ];
    for script in scripts {
        with(&[script, &[Step::Answer(DONE)]], async |fake| {
            let client = client(&fake);
            assert_lost(&client.send(&put(), PATIENCE).await);
            assert_eq!(fake.requests.borrow().len(), 1, "{script:?}");
            // The next request finds another connection.
            assert_eq!(client.send(&put(), PATIENCE).await, done());
            assert_eq!(fake.connections.get(), 2);
        })
        .await;
    }
}

#[tokio::test]
async fn a_body_that_does_not_end_is_lost_after_the_patience() {
    let script: &[Step] = &[
        Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"),
        Step::Hang,
    ];
    with(&[script], async |fake| {
        let answer = client(&fake).send(&put(), Duration::from_millis(50)).await;
        assert_lost(&answer);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_hangs_is_lost_after_the_patience() {
    with(&[&[Step::Read, Step::Hang]], async |fake| {
        let answer = client(&fake).send(&put(), Duration::from_millis(50)).await;
        assert_lost(&answer);
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_costs_no_answer() {
    with(
        &[&[Step::Answer(DONE)], &[Step::Answer(DONE)]],
        async |fake| {
            let client = client(&fake);
            assert_eq!(client.send(&put(), PATIENCE).await, done());
            while fake.finished.get() == 0 {
                tokio::task::yield_now().await;
            }
            // The closing may still be under way to the client: then a read ends the idle connection before the next request.
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(client.send(&put(), PATIENCE).await, done());
            assert_eq!(fake.requests.borrow().len(), 2);
        },
    )
    .await;
}

#[tokio::test]
async fn the_answer_to_a_dropped_call_is_never_taken_for_that_of_the_next() {
    let late: &[Step] = &[
        Step::Read,
        Step::Answer("HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n"),
    ];
    with(&[late, &[Step::Answer(DONE)]], async |fake| {
        let client = client(&fake);
        let dropped = timeout(Duration::from_millis(50), async {
            client.send(&put(), PATIENCE).await
        });
        dropped.await.expect_err("the server is silent");
        assert_eq!(client.send(&put(), PATIENCE).await, done());
        assert_eq!(fake.connections.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    const ELSEWHERE: &str = "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let script: &[Step] = &[Step::Answer(ELSEWHERE)];
    with(&[script], async |fake| {
        let answer = client(&fake).send(&put(), PATIENCE).await;
        assert!(
            matches!(&answer, Answer::Refused(reason) if reason.contains("307")),
            "{answer:?}"
        );
        assert_eq!(fake.connections.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_pause_that_the_server_asks_for_is_told() {
    let busy: &[Step] = &[Step::Answer(
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
    )];
    with(&[busy], async |fake| {
        let answer = client(&fake).send(&put(), PATIENCE).await;
        assert!(
            matches!(answer, Answer::Busy(pause, _) if pause == Duration::from_secs(7)),
            "{answer:?}"
        );
    })
    .await;
}
