//! How a cluster is reached.

/// How to reach etcd.
#[derive(Clone, Debug)]
pub struct Access {
    /// URLs with scheme, host and port; at least one.
    pub endpoints: Vec<String>,
    /// `etcd_prefix`.
    pub prefix: String,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// PEM of the CA that the servers' certificates are checked against; `None` outside TLS.
    pub tls: Option<Tls>,
}

/// What TLS needs, already read from its files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// `etcd_ca_cert_file`, PEM.
    pub ca: Option<Vec<u8>>,
    /// `etcd_cert_file` and `etcd_key_file`, PEM.
    pub identity: Option<(Vec<u8>, Secret)>,
}

/// Text that no log and no error may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes `text` out of sight.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that must have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
