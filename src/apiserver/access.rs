//! The address and the credentials of an API server.

use std::path::PathBuf;

use hyper::Uri;
use whereabouts_core::secret::Secret;

/// Everything that a client needs to reach an API server.
#[derive(Clone, Debug)]
pub struct Access {
    /// The address of the server.
    pub server: Server,
    /// The CA of the server's certificate, PEM; `None` means the CAs of this host.
    pub ca: Option<Vec<u8>>,
    /// The bearer token.
    pub token: Option<Secret>,
    /// The certificate and the key of the client, PEM.
    pub identity: Option<(Vec<u8>, Secret)>,
    /// The files of the CA and the token.
    pub files: Files,
}

/// The files that parts of an access come from. They change on disk, so a process that runs for days reads them anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The file of the CA.
    pub ca: Option<PathBuf>,
    /// The file of the bearer token.
    pub token: Option<PathBuf>,
}

/// The address of an API server: always TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// A DNS name, or an IP address without brackets. A name may have several addresses.
    pub(crate) host: String,
    /// The TCP port.
    pub(crate) port: u16,
    /// The path before that of each request, without a slash at its end: a proxy serves several clusters.
    pub(crate) path: String,
    /// The name in the server's certificate, if the host is not this name.
    pub(crate) certificate_name: Option<String>,
}

/// The port of an `https` URL without a port.
const HTTPS_PORT: u16 = 443;

impl Server {
    /// The server at `url`. The text of the error continues "`<url>`".
    pub fn at(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "is not a URL")?;
        if uri.scheme_str() != Some("https") {
            return Err("does not begin with https://");
        }
        let authority = uri.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("has a user before its host");
        }
        if uri.query().is_some() {
            return Err("has a query");
        }
        let host = authority.host();
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let port = match authority.as_str().strip_prefix(host) {
            Some("") => HTTPS_PORT,
            Some(rest) => {
                let port = rest.strip_prefix(':').and_then(|port| port.parse().ok());
                port.filter(|port| *port > 0).ok_or("has a wrong port")?
            }
            None => return Err("has a wrong host"),
        };
        Ok(Self {
            host: inner.unwrap_or(host).to_owned(),
            port,
            path: uri.path().trim_end_matches('/').to_owned(),
            certificate_name: None,
        })
    }

    /// The DNS name, or the IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The URL.
    pub fn url(&self) -> String {
        format!("https://{}{}", self.authority(), self.path)
    }

    /// The name in the server's certificate, if the host is not this name.
    pub fn certificate_name(&self) -> Option<&str> {
        self.certificate_name.as_deref()
    }

    /// The host and the port, as in a URL and in the header `Host`.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Server;

    #[test]
    fn a_url_has_a_host_and_perhaps_a_port_and_a_path() {
        let cases = [
            ("https://10.96.0.1", "10.96.0.1:443", ""),
            ("https://10.96.0.1:6443", "10.96.0.1:6443", ""),
            ("https://[fd00::1]:6443/", "[fd00::1]:6443", ""),
            ("https://api.example/k8s/c-1", "api.example:443", "/k8s/c-1"),
        ];
        for (url, authority, path) in cases {
            let server = Server::at(url).expect(url);
            assert_eq!(server.authority(), authority, "{url}");
            assert_eq!(server.path, path, "{url}");
            assert_eq!(server.url(), format!("https://{authority}{path}"), "{url}");
        }
    }

    #[test]
    fn a_url_that_is_not_tls_or_holds_more_is_refused() {
        for url in [
            "http://10.96.0.1",
            "10.96.0.1:6443",
            "",
            "https://",
            "https://user:word@10.96.0.1",
            "https://10.96.0.1/?a=b",
            "https://10.96.0.1:99999",
            "https://10.96.0.1:0",
            "https://10.96.0.1:x",
        ] {
            Server::at(url).expect_err(url);
        }
    }
}
