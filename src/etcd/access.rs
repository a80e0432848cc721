//! The addresses and the credentials of a cluster.

/// Everything that a client needs to reach etcd.
#[derive(Clone, Debug)]
pub struct Access {
    /// The URLs with scheme, host and port; at least one.
    pub endpoints: Vec<String>,
    /// `etcd_prefix`.
    pub prefix: String,
    /// The user and the password.
    pub login: Option<(String, Secret)>,
    /// The TLS settings; `None` without TLS.
    pub tls: Option<Tls>,
}

/// The contents of the TLS files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The CA of the servers' certificates: `etcd_ca_cert_file`, PEM.
    pub ca: Option<Vec<u8>>,
    /// The client's certificate and key: `etcd_cert_file` and `etcd_key_file`, PEM.
    pub identity: Option<(Vec<u8>, Secret)>,
}

/// A text that no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret with this text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
