//! The notation of endpoints: with or without scheme, port and brackets.

use std::net::Ipv6Addr;

use whereabouts_core::limits;

/// The port of an etcd endpoint without a port.
pub(super) const ETCD_PORT: u16 = 2379;

/// The port of an OTLP collector without a port (OTLP over gRPC).
pub(super) const OTLP_PORT: u16 = 4317;

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The scheme, if the text has one.
    pub(super) scheme: Option<Scheme>,
    /// The host and the port, as in a URL.
    pub(super) authority: String,
}

/// Whether an endpoint speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// The endpoint speaks plain text.
    Http,
    /// The endpoint speaks TLS.
    Https,
}

/// The reason why a text is no endpoint. Its text continues "`<value>`".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EndpointError {
    #[error("is no endpoint: its scheme is neither http nor https")]
    Scheme,
    #[error(
        "is no endpoint: it has a user or a password, or characters that may be of one (@, %, ?, #)"
    )]
    UserInfo,
    #[error("is no endpoint: nothing may follow its port")]
    Path,
    #[error("is no endpoint: its host is neither a name nor an address")]
    Host,
    #[error("is no endpoint: its port is not a number from 1 to 65535")]
    Port,
}

impl Scheme {
    /// The scheme as in a URL.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Endpoint {
    /// The endpoint in `text`. If `text` has no port, `usual` is the port.
    pub(super) fn parse(text: &str, usual: u16) -> Result<Self, EndpointError> {
        // This check is the first, so no other error shows a password. '@' may be escaped, and a query may have a password, too.
        let may_have_secret = |text: &str| text.contains(['@', '%', '?', '#']);
        if may_have_secret(text) {
            return Err(EndpointError::UserInfo);
        }
        let (scheme, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
                (Some(Scheme::Http), rest)
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
                (Some(Scheme::Https), rest)
            }
            Some(_) => return Err(EndpointError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(EndpointError::Path);
        }
        let (host, port) = split(rest)?;
        let port = match port {
            None => usual,
            Some(port) => parse_port(port)?,
        };
        Ok(Self {
            scheme,
            authority: format!("{host}:{port}"),
        })
    }
}

/// The host, with brackets around an IPv6 address, and the port.
fn split(text: &str) -> Result<(String, Option<&str>), EndpointError> {
    let bracketed = |ip: &str| match ip.parse::<Ipv6Addr>() {
        Ok(ip) => Ok(format!("[{ip}]")),
        Err(_) => Err(EndpointError::Host),
    };
    if let Some(inner) = text.strip_prefix('[') {
        let (ip, after) = inner.split_once(']').ok_or(EndpointError::Host)?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port),
            None if after.is_empty() => None,
            None => return Err(EndpointError::Port),
        };
        return Ok((bracketed(ip)?, port));
    }
    let (host, port) = match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => return Ok((bracketed(text)?, None)),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || host.len() > limits::NAME_BYTES || !host.chars().all(allowed) {
        return Err(EndpointError::Host);
    }
    Ok((host.to_owned(), port))
}

fn parse_port(text: &str) -> Result<u16, EndpointError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(0) | Err(_) => Err(EndpointError::Port),
        Ok(port) if digits => Ok(port),
        Ok(_) => Err(EndpointError::Port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, EndpointError>) {
        let found = Endpoint::parse(text, ETCD_PORT).map(|endpoint| {
            let scheme = endpoint.scheme.map_or("", Scheme::as_str);
            format!("{scheme} {}", endpoint.authority)
        });
        assert_eq!(found.as_deref().map_err(|error| *error), expected, "{text}");
    }

    #[test]
    fn scheme_and_port_may_be_left_out() {
        check("127.0.0.1:2379", Ok(" 127.0.0.1:2379"));
        check("etcd-client", Ok(" etcd-client:2379"));
        check("http://etcd.example:4001/", Ok("http etcd.example:4001"));
        check("HTTPS://10.0.0.1", Ok("https 10.0.0.1:2379"));
    }

    #[test]
    fn ipv6_endpoints_have_brackets_or_no_port() {
        check("[fd00::1]:4001", Ok(" [fd00::1]:4001"));
        check("https://[fd00::1]", Ok("https [fd00::1]:2379"));
        check("fd00::1", Ok(" [fd00::1]:2379"));
        check("::1", Ok(" [::1]:2379"));
    }

    #[test]
    fn what_is_no_endpoint_says_which_part_is_wrong() {
        for text in [
            "",
            ":2379",
            "http://",
            "[10.0.0.1]:1",
            "[fd00::1",
            "a b",
            "fd00:::1",
            "é",
        ] {
            check(text, Err(EndpointError::Host));
        }
        for text in ["a:", "a:0", "a:65536", "a:+1", "a:x", "[::1]2379", "[::1]:"] {
            check(text, Err(EndpointError::Port));
        }
        check("unix:///run/etcd", Err(EndpointError::Scheme));
        check("http://a:1/v3", Err(EndpointError::Path));
        check("http://user:secret@a:1", Err(EndpointError::UserInfo));
        check("user:secret%40a:1", Err(EndpointError::UserInfo));
        check("http://a:1/?password=secret", Err(EndpointError::UserInfo));
        check("etcd://user:secret@a:1", Err(EndpointError::UserInfo));
    }
}
