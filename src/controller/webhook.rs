//! The certificate of the webhook in a Secret, and the authority that the API server is told.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::api::{ApiServer, told};

/// A Secret as it was read.
pub struct StoredSecret(Secret);

impl StoredSecret {
    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        let value = self.0.data.as_ref()?.get(key)?;
        Some(&value.0)
    }
}

/// The outcome of a write that another process can forestall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is done.
    Done,
    /// The object has changed since it was read, and stays as it is.
    Changed,
}

impl ApiServer {
    /// Reads a Secret, which must exist.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<StoredSecret, String> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let read = self.bounded(secrets.get(name)).await;
        read.map(StoredSecret)
            .map_err(|error| format!("the Secret {namespace}/{name}: {}", told(&error)))
    }

    /// Replaces the data of a Secret, if nobody has written it since it was read.
    pub async fn replace_secret(
        &self,
        read: StoredSecret,
        data: BTreeMap<String, Vec<u8>>,
    ) -> Result<Written, String> {
        let mut secret = read.0;
        let namespace = secret.metadata.namespace.clone().unwrap_or_default();
        let name = secret.metadata.name.clone().unwrap_or_default();
        let data = data
            .into_iter()
            .map(|(key, value)| (key, ByteString(value)));
        secret.data = Some(data.collect());
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        // It has the resourceVersion that was read.
        let parameters = PostParams::default();
        let written = secrets.replace(&name, &parameters, &secret);
        outcome(self.bounded(written).await)
            .map_err(|error| format!("the Secret {namespace}/{name}: {error}"))
    }

    /// Sees to it that the API server trusts `authorities` for all webhooks of a ValidatingWebhookConfiguration.
    pub async fn trust(&self, configuration: &str, authorities: &[u8]) -> Result<Written, String> {
        let api: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let wrong = |error: String| format!("the webhook configuration {configuration}: {error}");
        let read = self.bounded(api.get(configuration)).await;
        let read = read.map_err(|error| wrong(told(&error)))?;
        let bundle = ByteString(authorities.to_vec());
        let webhooks = read.webhooks.unwrap_or_default();
        let is_told = |bundled: &Option<ByteString>| bundled.as_ref() == Some(&bundle);
        if webhooks
            .iter()
            .all(|webhook| is_told(&webhook.client_config.ca_bundle))
        {
            return Ok(Written::Done);
        }
        let webhooks = webhooks
            .iter()
            .map(|webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": bundle}}));
        // A strategic merge: it finds webhooks by their names, and leaves everything else.
        let patch = json!({
            "metadata": {"resourceVersion": read.metadata.resource_version},
            "webhooks": webhooks.collect::<Vec<_>>(),
        });
        let parameters = PatchParams::default();
        let patch = Patch::Strategic(patch);
        let written = api.patch(configuration, &parameters, &patch);
        outcome(self.bounded(written).await).map_err(wrong)
    }
}

fn outcome<T>(written: kube::Result<T>) -> Result<Written, String> {
    match written {
        Ok(_) => Ok(Written::Done),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Written::Changed),
        Err(error) => Err(told(&error)),
    }
}
