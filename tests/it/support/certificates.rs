//! A certificate authority for one test, with a server's and a client's certificate.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// A certificate and its key, PEM.
pub(crate) struct Certified {
    /// The certificate.
    pub(crate) certificate: String,
    /// Its key.
    pub(crate) key: String,
}

/// PEM of everything that a cluster and its clients need.
pub(crate) struct Certificates {
    /// The authority's certificate.
    pub(crate) authority: String,
    /// For a server at 127.0.0.1.
    pub(crate) server: Certified,
    /// For a client; its common name is etcd's user `root`.
    pub(crate) client: Certified,
}

impl Certificates {
    /// Makes a new authority and what it certifies.
    pub(crate) fn generate() -> Self {
        let key = KeyPair::generate().expect("a key is generated");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("an authority signs itself");
        let issuer = Issuer::new(params, key);
        Self {
            authority: authority.pem(),
            server: certify(&issuer, "server"),
            client: certify(&issuer, "root"),
        }
    }
}

fn certify(issuer: &Issuer<'_, KeyPair>, name: &str) -> Certified {
    let key = KeyPair::generate().expect("a key is generated");
    let mut params =
        CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address is a subject");
    params.distinguished_name.push(DnType::CommonName, name);
    // A server of etcd is also a client: of itself, behind its gateway.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let certificate = params.signed_by(&key, issuer).expect("an authority signs");
    Certified {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}
