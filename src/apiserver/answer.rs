//! Answers of the API server: what the status, the headers and the body say of a request's fate.

use std::time::Duration;

use hyper::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use whereabouts_core::limits::SHOWN_CHARACTERS;

use crate::request::{Request, Resource};

/// Characters of a server's message that an error repeats. A refusal of a schema or a policy is long, and only its text
/// tells a person what is wrong.
const MESSAGE_CHARACTERS: usize = 4 * SHOWN_CHARACTERS;

/// The longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pause after an answer that names none.
const PAUSE: Duration = Duration::from_secs(1);

/// The fate of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request was carried out. This is the body.
    Done(Vec<u8>),
    /// The server itself says that this object does not exist. The request was not carried out.
    Absent,
    /// The server itself says that it has no such kind of objects. The list was not carried out.
    NoKind(String),
    /// An object of this name exists. The request was not carried out.
    Exists,
    /// The object has another version or another UID, or a test of a patch does not hold. The request was not carried out.
    Changed,
    /// The place at which a list goes on is too old (410). The list must begin anew.
    Expired,
    /// The server asks for a pause (429). The request was not carried out.
    Busy(Duration, String),
    /// There was no connection. The request was not carried out.
    Unsent(String),
    /// The reply was lost. The request may have been carried out.
    Lost(String),
    /// The reply does not tell the outcome. The request may have been carried out.
    Unclear(String),
    /// The server refuses the credentials, or forbids the request (401, 403). The request was not carried out.
    Denied(String),
    /// The server refuses the request, as a schema, a policy or a webhook does. The request was not carried out.
    Refused(String),
}

/// The part of a `Status` that decides.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    kind: String,
    message: String,
    reason: String,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    name: String,
    kind: String,
}

/// The fate of `request` by its complete answer.
///
/// Only an answer that a server gives before it carries a request out counts as "not carried out". A proxy gives 502, 503 or
/// 504 also for a request that it has passed on. The server gives 500 when its own store did not answer.
pub(crate) fn of(request: &Request, code: StatusCode, headers: &HeaderMap, body: &[u8]) -> Answer {
    if code == StatusCode::OK || code == StatusCode::CREATED || code == StatusCode::ACCEPTED {
        return Answer::Done(body.to_vec());
    }
    let status = status(body);
    let told = told(code, &status);
    match code {
        StatusCode::NOT_FOUND if is_absence(request, &status) => Answer::Absent,
        StatusCode::NOT_FOUND if is_absence_of_kind(request, &status, body) => {
            Answer::NoKind(unknown_kind(request, &told))
        }
        // The answer of a server before the CRD is applied, and of any web server.
        StatusCode::NOT_FOUND if status.kind != "Status" => {
            Answer::Refused(unknown_kind(request, &told))
        }
        StatusCode::CONFLICT if status.reason == "AlreadyExists" => Answer::Exists,
        StatusCode::CONFLICT if status.reason == "Conflict" => Answer::Changed,
        // A test of the patch does not hold. The refusal of a schema or a policy names the object.
        StatusCode::UNPROCESSABLE_ENTITY if request.is_patch() && is_of_nothing(&status) => {
            Answer::Changed
        }
        StatusCode::GONE if request.is_read() => Answer::Expired,
        StatusCode::TOO_MANY_REQUESTS => Answer::Busy(pause(headers), told),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Answer::Denied(told),
        code if code.is_client_error() || code.is_redirection() => Answer::Refused(told),
        _ => Answer::Unclear(told),
    }
}

/// Whether the server itself says that the object of `request` does not exist. A proxy, or a server that does not know the
/// kind, answers 404, too. A missing object of another kind, such as a namespace, is no absence of this one.
fn is_absence(request: &Request, status: &Status) -> bool {
    status.kind == "Status"
        && status.reason == "NotFound"
        && status.details.kind == request.resource.plural
        && request.name.as_deref() == Some(status.details.name.as_str())
}

/// Whether the server itself says that a list is of a kind that it does not know. It has one text for an unknown group, and
/// a status without a name for an unknown kind of a known group.
fn is_absence_of_kind(request: &Request, status: &Status, body: &[u8]) -> bool {
    let is_list = request.is_read() && request.name.is_none();
    let is_own = status.reason == "NotFound" && is_of_nothing(status);
    is_list && (is_own || body.trim_ascii() == b"404 page not found")
}

fn unknown_kind(request: &Request, told: &str) -> String {
    let Resource { plural, group, .. } = &request.resource;
    format!("{told}: it may not know {plural}.{group}")
}

/// Whether an answer of the server itself names no object.
fn is_of_nothing(status: &Status) -> bool {
    status.kind == "Status" && status.details.name.is_empty()
}

fn status(body: &[u8]) -> Status {
    serde_json::from_slice(body).unwrap_or_default()
}

/// The words of the server, in one line.
fn told(code: StatusCode, status: &Status) -> String {
    let code = code.as_u16();
    if status.kind != "Status" {
        return format!("HTTP status {code}, without the reason that an API server gives");
    }
    let mut characters = status.message.chars();
    let message: String = characters.by_ref().take(MESSAGE_CHARACTERS).collect();
    let rest = if characters.next().is_some() {
        "…"
    } else {
        ""
    };
    format!("{message}{rest} ({code} {})", short(&status.reason))
}

fn short(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS).collect()
}

/// The pause of `Retry-After`. Kubernetes gives seconds, and never a date.
fn pause(headers: &HeaderMap) -> Duration {
    let value = headers.get(header::RETRY_AFTER);
    let text = value.and_then(|value| value.to_str().ok());
    let seconds = text.and_then(|text| text.trim().parse().ok());
    seconds
        .map_or(PAUSE, Duration::from_secs)
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request() -> Request {
        let resource = Resource {
            group: "example.org",
            version: "v1",
            plural: "things",
            namespace: None,
        };
        Request::replace(&resource, "a", Vec::new())
    }

    fn listing() -> Request {
        Request::list(&request().resource, Vec::new())
    }

    fn body(reason: &str, name: &str, kind: &str) -> Vec<u8> {
        let status = json!({"kind": "Status", "message": "words", "reason": reason,
            "details": {"name": name, "kind": kind}});
        status.to_string().into_bytes()
    }

    fn answer(code: u16, body: &[u8]) -> Answer {
        let code = StatusCode::from_u16(code).expect("a code");
        of(&request(), code, &HeaderMap::new(), body)
    }

    /// The name of the variant.
    fn fate(answer: &Answer) -> &'static str {
        match answer {
            Answer::Done(_) => "done",
            Answer::Absent => "absent",
            Answer::NoKind(_) => "no kind",
            Answer::Exists => "exists",
            Answer::Changed => "changed",
            Answer::Expired => "expired",
            Answer::Busy(..) => "busy",
            Answer::Unsent(_) => "unsent",
            Answer::Lost(_) => "lost",
            Answer::Unclear(_) => "unclear",
            Answer::Denied(_) => "denied",
            Answer::Refused(_) => "refused",
        }
    }

    #[test]
    fn a_404_without_a_status_names_the_kind() {
        let answer = of(
            &request(),
            StatusCode::NOT_FOUND,
            &HeaderMap::new(),
            b"404 page not found\n",
        );
        let Answer::Refused(told) = answer else {
            panic!("{answer:?}")
        };
        assert!(
            told.ends_with("it may not know things.example.org"),
            "{told}"
        );
    }

    #[test]
    fn each_status_has_one_fate() {
        let cases = [
            (200, "done"),
            (201, "done"),
            (202, "done"),
            (204, "unclear"),
            (206, "unclear"),
            (301, "refused"),
            (307, "refused"),
            (400, "refused"),
            (401, "denied"),
            (403, "denied"),
            (404, "refused"),
            (405, "refused"),
            (409, "refused"),
            (410, "refused"),
            (413, "refused"),
            (415, "refused"),
            (422, "refused"),
            (429, "busy"),
            (500, "unclear"),
            (502, "unclear"),
            (503, "unclear"),
            (504, "unclear"),
            (599, "unclear"),
        ];
        for (code, expected) in cases {
            for body in [&b""[..], b"<html>", b"{}", b"null", b"[1]"] {
                assert_eq!(fate(&answer(code, body)), expected, "{code}");
            }
        }
    }

    #[test]
    fn only_the_servers_own_word_about_this_object_is_an_absence() {
        assert_eq!(
            answer(404, &body("NotFound", "a", "things")),
            Answer::Absent
        );
        for (code, reason, name, kind) in [
            (404, "NotFound", "b", "things"),
            (404, "NotFound", "a", "namespaces"),
            (404, "NotFound", "", "things"),
            (404, "Forbidden", "a", "things"),
            (404, "", "a", "things"),
            (403, "NotFound", "a", "things"),
            (500, "NotFound", "a", "things"),
        ] {
            let other = answer(code, &body(reason, name, kind));
            assert_ne!(other, Answer::Absent, "{code} {reason} {name} {kind}");
        }
    }

    #[test]
    fn a_conflict_is_of_the_name_or_of_the_version() {
        let of = |reason| fate(&answer(409, &body(reason, "a", "things")));
        assert_eq!(of("AlreadyExists"), "exists");
        assert_eq!(of("Conflict"), "changed");
        assert_eq!(of("Other"), "refused");
    }

    #[test]
    fn a_patch_whose_test_does_not_hold_finds_a_change() {
        let patch = Request::patch(&request().resource, "a", Vec::new());
        let code = StatusCode::UNPROCESSABLE_ENTITY;
        let of = |request: &Request, name: &str| {
            fate(&of(request, code, &HeaderMap::new(), &body("", name, "")))
        };
        assert_eq!(of(&patch, ""), "changed");
        assert_eq!(of(&patch, "a"), "refused", "by a policy");
        assert_eq!(of(&request(), ""), "refused");
    }

    #[test]
    fn a_creation_or_a_list_never_finds_an_absence() {
        let creation = Request::create(&request().resource, Vec::new());
        for (request, expected) in [(creation, "refused"), (listing(), "no kind")] {
            let body = body("NotFound", "", "things");
            let answer = of(&request, StatusCode::NOT_FOUND, &HeaderMap::new(), &body);
            assert_eq!(fate(&answer), expected);
        }
    }

    #[test]
    fn only_the_servers_own_words_on_a_list_say_that_a_kind_is_missing() {
        let plain = b"404 page not found\n";
        let get = Request::get(&request().resource, "a");
        for (request, code, body, expected) in [
            (listing(), 404, &plain[..], "no kind"),
            (listing(), 404, b"<html>not found</html>", "refused"),
            (listing(), 404, b"", "refused"),
            (listing(), 403, plain, "denied"),
            (listing(), 503, plain, "unclear"),
            (get, 404, plain, "refused"),
        ] {
            let code = StatusCode::from_u16(code).expect("a code");
            let answer = of(&request, code, &HeaderMap::new(), body);
            assert_eq!(fate(&answer), expected, "{code}");
        }
    }

    #[test]
    fn a_list_that_is_too_old_begins_anew() {
        let answer = of(&listing(), StatusCode::GONE, &HeaderMap::new(), b"");
        assert_eq!(answer, Answer::Expired);
    }

    #[test]
    fn the_pause_is_the_servers_within_a_bound() {
        for (value, seconds) in [
            ("1", 1),
            (" 5 ", 5),
            ("0", 0),
            ("3000", 30),
            ("soon", 1),
            ("-1", 1),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().expect("a value"));
            let answer = of(&request(), StatusCode::TOO_MANY_REQUESTS, &headers, b"");
            let Answer::Busy(pause, _) = answer else {
                panic!("{answer:?}")
            };
            assert_eq!(pause, Duration::from_secs(seconds), "{value}");
        }
    }

    #[test]
    fn a_long_message_is_cut() {
        let status = json!({"kind": "Status", "message": "x".repeat(10_000), "reason": "Invalid"});
        let answer = answer(422, status.to_string().as_bytes());
        let Answer::Refused(told) = answer else {
            panic!("{answer:?}")
        };
        assert!(told.chars().count() < 500, "{}", told.len());
        assert!(told.ends_with("… (422 Invalid)"), "{told}");
    }
}
