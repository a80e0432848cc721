//! The addresses and the credentials of a cluster.

use whereabouts_core::secret::Secret;

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
