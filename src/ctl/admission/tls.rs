//! The certificate that the webhook shows: its own from a Secret, or one of files that somebody else renews.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use whereabouts_clock::Clock;
use whereabouts_cni::invocation::read_file;
use whereabouts_controller::{ApiServer, StoredSecret, Written};
use whereabouts_core::limits;
use whereabouts_etcd::SystemClock;

use super::certificate::{Drawn, Pair, certified, issue, provider, renewal};

/// The keys of the Secret, as Kubernetes names those of a certificate.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITIES: &str = "ca.crt";

/// How often the Secret and the webhook configurations are looked at.
const LOOK: Duration = Duration::from_secs(30);

/// How often the files are looked at.
const LOOK_AT_FILES: Duration = Duration::from_secs(5);

/// How often a look is begun anew, when another replica has written in between.
const TRIES: usize = 4;

/// The certificate that is shown now.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl Shown {
    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.get().is_some()
    }

    /// The settings of a server that shows it.
    pub(super) fn server(&self) -> Result<ServerConfig, String> {
        let server = ServerConfig::builder_with_provider(provider().into())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| error.to_string())?;
        let mut server = server
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(server)
    }

    fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().expect("no thread panics with it").clone()
    }

    fn show(&self, pair: Arc<CertifiedKey>) {
        *self.0.write().expect("no thread panics with it") = Some(pair);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get()
    }
}

/// Where certificates come from.
#[derive(Clone)]
pub(super) enum Source {
    /// A folder with `tls.crt` and `tls.key`.
    Folder(PathBuf),
    /// A Secret, which this process writes.
    Secret(OwnCertificate),
}

/// The objects of a certificate that controllers make by themselves.
#[derive(Clone)]
pub(super) struct OwnCertificate {
    /// The namespace of the Secret.
    pub(super) namespace: String,
    /// The name of the Secret.
    pub(super) secret: String,
    /// The name of the server, as the API server asks for it.
    pub(super) server: String,
    /// The webhook configurations that are told the authority.
    pub(super) configurations: Vec<String>,
}

/// Keeps `shown` good for ever, and tells `report` of errors: of each once, until another one comes.
pub(super) async fn keep(api: ApiServer, source: Source, shown: Shown, report: impl Fn(&str)) {
    let mut last = None;
    let mut read = Pair::default();
    loop {
        let (looked, pause) = match &source {
            Source::Folder(folder) => (load(folder, &mut read, &shown), LOOK_AT_FILES),
            Source::Secret(own) => (own.look(&api, &shown).await, LOOK),
        };
        let error = looked.err();
        if let Some(error) = error.as_ref().filter(|_| error != last) {
            report(&format!("the webhook's certificate: {error}"));
        }
        last = error;
        tokio::time::sleep(pause).await;
    }
}

/// Shows what is in `folder`, if that is another pair than the one that was read before.
fn load(folder: &Path, read: &mut Pair, shown: &Shown) -> Result<(), String> {
    let file = |name: &str| {
        let path = folder.join(name);
        let file = read_file(&path, limits::FILE_BYTES);
        file.map(|file| file.bytes)
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    let found = Pair {
        certificate: file(CERTIFICATE)?,
        key: file(KEY)?,
        authorities: Vec::new(),
    };
    if found == *read {
        return Ok(());
    }
    // Half of a change is seen as a pair that does not belong together, and is read again.
    shown.show(certified(&found.certificate, &found.key)?);
    *read = found;
    Ok(())
}

impl OwnCertificate {
    /// Renews the certificate if it must be, tells the API server of its authority, and then shows it.
    pub(super) async fn look(&self, api: &ApiServer, shown: &Shown) -> Result<(), String> {
        for _ in 0..TRIES {
            let secret = api.secret(&self.namespace, &self.secret).await?;
            let mut pair = pair_of(&secret);
            let now = SystemClock.since_epoch();
            if let Some(reason) = renewal(&pair, &self.server, now) {
                let drawn = Drawn::new([chance(), chance()])?;
                pair = issue(&self.server, now, &pair, &drawn)?;
                match api.replace_secret(secret, data_of(&pair)).await? {
                    Written::Done => {
                        crate::output::say!("the webhook has a new certificate: {reason}");
                    }
                    // The certificate of the other replica is as good.
                    Written::Changed => continue,
                }
            }
            let certified = certified(&pair.certificate, &pair.key)?;
            if !shown.is_there() {
                // Nobody can be served worse than without.
                shown.show(certified.clone());
            }
            // A configuration that is missing holds up no other one.
            let (mut is_trusted, mut failed) = (false, None);
            for configuration in &self.configurations {
                match api.trust(configuration, &pair.authorities).await {
                    Ok(Written::Done) => is_trusted = true,
                    Ok(Written::Changed) => {
                        failed = Some(format!("{configuration} was changed by somebody else"));
                    }
                    Err(reason) => failed = Some(reason),
                }
            }
            if is_trusted {
                shown.show(certified);
            }
            return failed.map_or(Ok(()), Err);
        }
        Err("other replicas change the Secret all the time".to_owned())
    }
}

fn pair_of(secret: &StoredSecret) -> Pair {
    let value = |key| secret.value(key).unwrap_or_default().to_vec();
    Pair {
        certificate: value(CERTIFICATE),
        key: value(KEY),
        authorities: value(AUTHORITIES),
    }
}

fn data_of(pair: &Pair) -> BTreeMap<String, Vec<u8>> {
    [
        (CERTIFICATE, &pair.certificate),
        (KEY, &pair.key),
        (AUTHORITIES, &pair.authorities),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.clone()))
    .collect()
}

fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Shows a pair that a test has made.
#[cfg(test)]
pub(super) fn show(shown: &Shown, pair: &Pair) {
    shown.show(certified(&pair.certificate, &pair.key).expect("it is a pair"));
}

/// The certificate that is shown.
#[cfg(test)]
pub(super) fn certificate_of(shown: &Shown) -> Option<Vec<u8>> {
    shown.get().map(|pair| pair.cert[0].to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn pair() -> Pair {
        let drawn = Drawn::new([1, 2]).expect("keys");
        issue("x", SystemClock.since_epoch(), &Pair::default(), &drawn).expect("a pair")
    }

    #[test]
    fn files_are_shown_when_they_change_and_an_error_keeps_what_is_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shown, mut read) = (Shown::default(), Pair::default());
        let write = |name: &str, bytes: &[u8]| {
            fs::write(folder.path().join(name), bytes).expect("it can be written");
        };
        let mut look = || {
            let looked = load(folder.path(), &mut read, &shown);
            let certificate = certificate_of(&shown);
            (looked.err().unwrap_or_default(), certificate)
        };
        let (error, nothing) = look();
        assert!(error.contains("tls.crt"), "{error}");
        assert_eq!(nothing, None);
        let (first, second) = (pair(), pair());
        write(CERTIFICATE, &first.certificate);
        write(KEY, &first.key);
        let (error, of_first) = look();
        assert!(error.is_empty() && of_first.is_some(), "{error}");
        // The second pair comes file by file.
        write(CERTIFICATE, &second.certificate);
        let (error, still) = look();
        assert!(!error.is_empty());
        assert_eq!(still, of_first);
        write(KEY, &second.key);
        let (error, of_second) = look();
        assert!(error.is_empty() && of_second != of_first, "{error}");
        write(KEY, b"secret");
        let (error, still) = look();
        assert!(!error.is_empty() && !error.contains("secret"), "{error}");
        assert_eq!(still, of_second);
    }
}
