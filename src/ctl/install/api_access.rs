//! The node's own access to the API server, for the datastore `kubernetes`: a kubeconfig, and a token that outlives the pod.
//!
//! The token of a pod ends with the pod, and the plugin is executed also while no pod of the DaemonSet runs. So a token of
//! the same account is asked for, which ends with the Node. It is asked for anew at each start, after a third of its life,
//! and when the Node is another one.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::json;
use whereabouts_apiserver::{Access, Answer, Client, Request, Resource, Server};
use whereabouts_core::secret::Secret;

use super::file::read;
use crate::in_pod;

/// The name of the kubeconfig, as the original has it.
pub(super) const KUBECONFIG: &str = "whereabouts.kubeconfig";

/// The name of the token beside the kubeconfig.
pub(super) const TOKEN: &str = "whereabouts.token";

/// The wanted life of a token, in seconds: a week. A server may give a shorter one.
const LIFE_S: u64 = 7 * 24 * 3600;

/// Longest wait for the answer of the API server.
const PATIENCE: Duration = Duration::from_secs(10);

/// The access to be installed.
#[derive(clap::Args)]
#[expect(
    clippy::struct_field_names,
    reason = "the names of the fields are those of the options"
)]
pub(crate) struct ApiOptions {
    /// Install an access to the API server beside the flat file, for `datastore: kubernetes`: whereabouts.kubeconfig, and
    /// whereabouts.token. The token is one of this pod's account. It is bound to the Node, so it outlives the pod. With
    /// --stay it is renewed after a third of its life.
    #[arg(long, requires = "node_name")]
    api_access: bool,
    /// With --api-access: the URL at which the node reaches the API server [default: the address of the Service
    /// `kubernetes`, as a pod finds it in KUBERNETES_SERVICE_HOST]. A node without kube-proxy may not reach that Service.
    #[arg(long, value_name = "URL", requires = "api_access")]
    api_server: Option<String>,
    /// With --api-access: the directory of the pod's credentials, token and ca.crt.
    #[arg(long, value_name = "DIR", default_value = in_pod::CREDENTIALS, requires = "api_access")]
    api_credentials: PathBuf,
}

/// The token that this process has installed, and the life of it.
#[derive(Default)]
pub(super) struct Installed(Option<(String, Claims)>);

/// The files of the access.
pub(super) struct Files {
    pub(super) kubeconfig: Vec<u8>,
    pub(super) token: Vec<u8>,
}

impl ApiOptions {
    pub(super) fn is_wanted(&self) -> bool {
        self.api_access
    }

    /// The files for the node of this name. A token in `installed` serves again while it is young.
    pub(super) fn files(
        &self,
        node: &str,
        installed: &mut Installed,
        now: SystemTime,
    ) -> Result<Files, String> {
        let ca = read(&self.api_credentials.join("ca.crt"))?;
        let path = self.api_credentials.join("token");
        let own = String::from_utf8(read(&path)?).unwrap_or_default();
        let of_pod = Claims::of(own.trim()).map_err(|reason| told(&path, &reason))?;
        let url = self.url()?;
        let token = match &installed.0 {
            Some((token, claims)) if claims.serve(&of_pod, now) => token.clone(),
            _ => {
                let access = Access {
                    server: Server::at(&url).map_err(|reason| format!("{url} {reason}"))?,
                    ca: Some(ca.clone()),
                    token: Some(Secret::new(own.trim().to_owned())),
                    identity: None,
                    files: whereabouts_apiserver::Files::default(),
                };
                let token = ask(&access, &of_pod, node)?;
                let claims = Claims::of(&token).map_err(|reason| format!("a token: {reason}"))?;
                installed.0 = Some((token.clone(), claims));
                token
            }
        };
        Ok(Files {
            kubeconfig: kubeconfig(&url, &ca),
            token: token.into_bytes(),
        })
    }

    fn url(&self) -> Result<String, String> {
        if let Some(url) = &self.api_server {
            return Ok(url.clone());
        }
        in_pod::service_url(&|name| std::env::var(name).ok()).map_err(no_server)
    }
}

fn no_server(variable: &str) -> String {
    format!("--api-access: {variable} is not set, so --api-server must name the API server")
}

fn told(path: &Path, reason: &str) -> String {
    format!("{}: {reason}", path.display())
}

/// The claims of a token that decide. The server checks the signature; here it is only read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Claims {
    sub: String,
    iat: u64,
    exp: u64,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Bonds,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Bonds {
    node: Option<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Node {
    uid: String,
}

impl Claims {
    fn of(token: &str) -> Result<Self, String> {
        let payload = token.split('.').nth(1).unwrap_or_default();
        let bytes = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
        serde_json::from_slice(&bytes).map_err(|_| "it is no token of an account".to_owned())
    }

    /// Whether this token of a node is still young, and its Node is that of the pod.
    fn serve(&self, of_pod: &Self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let renewal = self.iat + self.exp.saturating_sub(self.iat) / 3;
        let is_young = (self.iat..renewal).contains(&now);
        is_young && self.kubernetes.node == of_pod.kubernetes.node
    }

    /// The namespace and the name of the account.
    fn account(&self) -> Result<(&str, &str), String> {
        let account = self.sub.strip_prefix("system:serviceaccount:");
        let account = account.and_then(|account| account.split_once(':'));
        account.ok_or_else(|| "the pod's token is not one of an account".to_owned())
    }
}

/// A token of the pod's account that is bound to the Node.
fn ask(access: &Access, of_pod: &Claims, node: &str) -> Result<String, String> {
    let (namespace, account) = of_pod.account()?;
    let accounts = Resource {
        group: "",
        version: "v1",
        plural: "serviceaccounts",
        namespace: Some(namespace.to_owned()),
    };
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {
            "expirationSeconds": LIFE_S,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Node", "name": node},
        },
    });
    let body = body.to_string().into_bytes();
    let request = Request::create_in(&accounts, account, "token", body);
    let client = Client::new(access).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    match runtime.block_on(client.send(&request, PATIENCE)) {
        Answer::Done(answer) => granted(&answer),
        Answer::Absent => Err(format!("{namespace}/{account}: there is no such account")),
        Answer::Busy(_, reason)
        | Answer::Unsent(reason)
        | Answer::Lost(reason)
        | Answer::Unclear(reason)
        | Answer::Denied(reason)
        | Answer::Refused(reason)
        | Answer::NoKind(reason) => Err(format!("no token of {namespace}/{account}: {reason}")),
        Answer::Exists | Answer::Changed | Answer::Expired => Err(format!(
            "no token of {namespace}/{account}: an unexpected answer"
        )),
    }
}

fn granted(answer: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Granted {
        status: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        token: String,
    }
    // The error's own text could have a part of the token.
    let granted: Result<Granted, _> = serde_json::from_slice(answer);
    let granted = granted.map_err(|_| "the API server's answer has no token".to_owned())?;
    Ok(granted.status.token)
}

/// A kubeconfig in JSON, which is YAML too.
fn kubeconfig(url: &str, ca: &[u8]) -> Vec<u8> {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "whereabouts",
        "contexts": [{"name": "whereabouts", "context": {"cluster": "whereabouts", "user": "whereabouts"}}],
        "clusters": [{"name": "whereabouts", "cluster": {
            "server": url, "certificate-authority-data": STANDARD.encode(ca),
        }}],
        "users": [{"name": "whereabouts", "user": {"tokenFile": TOKEN}}],
    });
    let text = serde_json::to_string_pretty(&kubeconfig).expect("JSON has texts for keys");
    format!("{text}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(node: &str, iat: u64, exp: u64) -> String {
        let claims = json!({"sub": "system:serviceaccount:kube-system:whereabouts-node", "iat": iat, "exp": exp,
            "kubernetes.io": {"namespace": "kube-system", "node": {"name": "a", "uid": node}}});
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn serves(now: u64, node: &str) -> bool {
        let claims = |text: String| Claims::of(&text).expect("a token");
        let of_pod = claims(token("u-1", 50, 60));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        claims(token(node, 1_000, 1_900)).serve(&of_pod, now)
    }

    #[test]
    fn a_token_serves_for_a_third_of_its_life_while_the_node_is_the_same() {
        assert!(serves(1_000, "u-1") && serves(1_299, "u-1"));
        assert!(!serves(1_300, "u-1"), "a third of its life is over");
        assert!(!serves(999, "u-1"), "the clock is wrong");
        assert!(!serves(1_000, "u-2"), "the Node was made anew");
    }

    #[test]
    fn the_account_is_that_of_the_pods_token() {
        let claims = Claims::of(&token("u", 1, 2)).expect("a token");
        assert_eq!(claims.account(), Ok(("kube-system", "whereabouts-node")));
        for text in ["", "a.b.c", "a", "..", "e30.e30.e30"] {
            Claims::of(text).expect_err(text);
        }
    }

    #[test]
    fn the_plugin_reads_the_kubeconfig() {
        let folder = Path::new("/etc/cni/net.d/whereabouts.d");
        let content = kubeconfig("https://[fd00::1]:443", b"a CA");
        let load = |path: &Path| match path.strip_prefix(folder) {
            Ok(name) if name == Path::new(KUBECONFIG) => Ok(content.clone()),
            Ok(name) if name == Path::new(TOKEN) => Ok(b"a token".to_vec()),
            _ => Err(path.display().to_string()),
        };
        let path = folder.join(KUBECONFIG);
        let access = whereabouts_apiserver::read_kubeconfig(&path, &load).expect("a kubeconfig");
        assert_eq!(access.ca.as_deref(), Some(&b"a CA"[..]));
        assert_eq!(access.token, Some(Secret::new("a token".to_owned())));
        assert_eq!(Ok(access.server), Server::at("https://[fd00::1]:443"));
    }
}
