//! The demands on every request, and the headers of every answer.
//!
//! A page of another site can make a browser ask a loopback address under a name of its own (DNS
//! rebinding). It cannot choose the `Host` that the browser then sends, so where only this machine
//! is served, names other than `localhost` are refused.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The clients that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// This machine: it listens on a loopback address.
    Machine,
    /// Everybody who reaches it.
    Network,
}

const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Refuses what is not for this server, and adds headers to every answer.
pub(crate) async fn guard(
    State(audience): State<Audience>,
    request: Request,
    next: Next,
) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let mut response = if is_ours(audience, host) {
        next.run(request).await
    } else {
        (
            StatusCode::MISDIRECTED_REQUEST,
            "this Host is not served here\n",
        )
            .into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // The page says what it needs; everything else needs nothing.
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(nothing);
    response
}

fn is_ours(audience: Audience, host: Option<&str>) -> bool {
    match audience {
        Audience::Network => true,
        Audience::Machine => host.is_some_and(|host| {
            let authority = host.parse::<Authority>();
            authority.is_ok_and(|authority| is_this_machine(authority.host()))
        }),
    }
}

fn is_this_machine(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = bare.unwrap_or(host).parse::<IpAddr>();
    // Nobody can make an address mean another machine, as one can a name.
    address.is_ok() || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_somebody_else_gives_to_this_machine_is_refused() {
        for (host, expected) in [
            (Some("localhost"), true),
            (Some("LocalHost:9469"), true),
            (Some("127.0.0.1:9469"), true),
            (Some("[::1]:9469"), true),
            (Some("::1"), false),
            (Some("evil.example"), false),
            (Some("evil.example:9469"), false),
            (Some("localhost.evil.example"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some("user@evil.example"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(is_ours(Audience::Machine, host), expected, "{host:?}");
            assert!(is_ours(Audience::Network, host));
        }
    }
}
