//! The identity of an API server's cluster, as the nodes derive it, and the identities of its authorities.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Config, Error};
use whereabouts_core::identity::Identity;

use crate::api::{ApiServer, found};

/// The ConfigMap with the cluster's CA. Nodes derive the cluster's identity from it.
const ROOT_CA: &str = "kube-root-ca.crt";

/// Each namespace has this ConfigMap.
const NAMESPACE: &str = "kube-system";

/// The key of the CA in this ConfigMap.
const CA: &str = "ca.crt";

/// The identities of the authorities that a client trusts.
pub(crate) fn of_authorities(config: &Config) -> Vec<Identity> {
    let certificates = config.root_cert.iter().flatten();
    let identities = certificates.map(|certificate| {
        let text = STANDARD.encode(certificate);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        Identity::of_file(pem.as_bytes())
    });
    identities.collect()
}

impl ApiServer {
    /// The identities that the cluster of this API server may have; none if nothing tells it.
    ///
    /// Its own word is the ConfigMap that the nodes derive the identity from. A client that may not read it tells the
    /// authorities that it trusts.
    pub async fn identities(&self) -> Result<Vec<Identity>, String> {
        if let Some(known) = self.identities.get() {
            return Ok(known.clone());
        }
        let identities = match self.root_ca().await? {
            Some(identity) => vec![identity],
            None => self.authorities.to_vec(),
        };
        Ok(self.identities.get_or_init(|| identities).clone())
    }

    async fn root_ca(&self) -> Result<Option<Identity>, String> {
        if self.trusts_root_ca {
            return Ok(None);
        }
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), NAMESPACE);
        let answer = self.bounded(api.get(ROOT_CA)).await;
        if matches!(&answer, Err(Error::Api(status)) if status.code == 403) {
            return Ok(None);
        }
        let map = found(ROOT_CA, "configmaps", answer)?;
        let ca = map.and_then(|map| map.data?.remove(CA));
        Ok(ca.map(|ca| Identity::of_file(ca.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_has_the_identity_that_nodes_derive_from_its_file() {
        let pem = "-----BEGIN CERTIFICATE-----\nTUlJ\nQw==\n-----END CERTIFICATE-----\n";
        let mut config = Config::new("https://127.0.0.1".parse().expect("a URL"));
        assert!(of_authorities(&config).is_empty(), "none is known");
        config.root_cert = Some(vec![b"MIIC".to_vec(), b"MIID".to_vec()]);
        let found = of_authorities(&config);
        assert_eq!(found[0], Identity::of_file(pem.as_bytes()));
        assert_ne!(found[0], found[1]);
    }
}
