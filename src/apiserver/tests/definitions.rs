//! Lists of networks: pages, a server without the kind, refusals.

use serde_json::Value;
use whereabouts_core::failure::ApiServerFailure;

use super::fake::{Step, with};
use crate::client::Client;
use crate::objects::Objects;

fn name(mut object: Value) -> Option<String> {
    match object["metadata"]["name"].take() {
        Value::String(name) => Some(name),
        _ => None,
    }
}

macro_rules! answered {
    ($status:literal, $body:literal) => {
        Step::Answer(concat!(
            "HTTP/1.1 ",
            $status,
            "\r\nconnection: close\r\n\r\n",
            $body
        ))
    };
}

const FIRST: Step = answered!(
    "200 OK",
    r#"{"metadata": {"resourceVersion": "7", "continue": "there"}, "items": [{"metadata": {"name": "a"}}, {"metadata": {}}]}"#
);

async fn listed(
    scripts: &[&'static [Step]],
) -> (Result<Vec<String>, ApiServerFailure>, Vec<String>) {
    let told = std::cell::RefCell::new(None);
    with(scripts, async |fake| {
        let objects = Objects::of(Client::new(&fake.access).expect("an access"));
        let listed = objects.definitions(name).await;
        let requests = fake.requests.borrow();
        let heads = requests.iter().map(|request| {
            let line = request.lines().next().unwrap_or_default();
            line.to_owned()
        });
        let heads = heads.collect();
        told.replace(Some((listed, heads)));
    })
    .await;
    told.take().expect("the test has run")
}

#[tokio::test]
async fn all_pages_make_the_list() {
    let last = &[answered!(
        "200 OK",
        r#"{"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "b"}}]}"#
    )];
    let (names, requests) = listed(&[&[FIRST], last]).await;
    assert_eq!(names, Ok(vec!["a".to_owned(), "b".to_owned()]));
    let path = "GET /apis/k8s.cni.cncf.io/v1/network-attachment-definitions?limit=250";
    assert_eq!(
        requests,
        [
            format!("{path} HTTP/1.1"),
            format!("{path}&continue=there HTTP/1.1")
        ]
    );
}

#[tokio::test]
async fn a_server_without_the_kind_has_no_networks() {
    let (names, _) = listed(&[&[answered!("404 Not Found", "404 page not found\n")]]).await;
    assert_eq!(names, Ok(vec![]));
}

#[tokio::test]
async fn a_refusal_is_no_absence_and_neither_is_half_a_list() {
    let forbidden = &[answered!(
        "403 Forbidden",
        r#"{"kind": "Status", "message": "no", "reason": "Forbidden"}"#
    )];
    let (names, _) = listed(&[forbidden]).await;
    let refused = ApiServerFailure::Denied("no (403 Forbidden)".to_owned());
    assert_eq!(names, Err(refused));
    for rest in [
        answered!("404 Not Found", "404 page not found\n"),
        answered!("503 Service Unavailable", "{}"),
        answered!("200 OK", r#"{"metadata": {}}"#),
        answered!("404 Not Found", "<html>"),
    ] {
        let script: &'static [Step] = Box::leak(Box::new([rest]));
        let (names, _) = listed(&[&[FIRST], script]).await;
        names.expect_err("the list has no end");
    }
}

#[tokio::test]
async fn a_list_that_expires_begins_anew() {
    let expired = &[answered!("410 Gone", "{}")];
    let only = &[answered!(
        "200 OK",
        r#"{"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "c"}}]}"#
    )];
    let (names, _) = listed(&[&[FIRST], expired, only]).await;
    assert_eq!(names, Ok(vec!["c".to_owned()]));
    let again: &[&'static [Step]] = &[&[FIRST], expired, &[FIRST], expired, &[FIRST], expired];
    let (names, _) = listed(again).await;
    names.expect_err("it never ends");
}
