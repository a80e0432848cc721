//! The webhook's own certificate: when it is renewed, and how it is made. Time and keys are arguments.
//!
//! Each renewal makes a new authority, whose key is forgotten at once: nobody can sign with it later. For a while the API
//! server is told of both authorities, so that replicas may still show the old certificate.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;

const DAY: Duration = Duration::from_hours(24);

/// How long a certificate is valid.
const VALIDITY: Duration = Duration::from_hours(24 * 90);

/// A certificate that is valid for less than this is renewed.
const MARGIN: Duration = Duration::from_hours(24 * 30);

/// A certificate, its key and the authorities that the API server is told, in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) authorities: Vec<u8>,
}

/// The random parts of a new certificate.
pub(super) struct Drawn {
    /// The key of the authority.
    pub(super) authority: KeyPair,
    /// The key of the certificate.
    pub(super) own: KeyPair,
    /// The serial numbers of both.
    pub(super) serials: [u64; 2],
}

impl Drawn {
    /// New keys of this machine's chance.
    pub(super) fn new(serials: [u64; 2]) -> Result<Self, String> {
        let key = || KeyPair::generate().map_err(|error| format!("no key: {error}"));
        Ok(Self {
            authority: key()?,
            own: key()?,
            serials,
        })
    }
}

/// Why a stored pair cannot be kept for the server `name`, at `now` since the Unix epoch; `None` if it can.
pub(super) fn renewal(stored: &Pair, name: &str, now: Duration) -> Option<String> {
    let valid = |at| verify(stored, name, at);
    if let Err(reason) = valid(now) {
        return Some(reason);
    }
    valid(now + MARGIN).is_err().then(|| {
        format!(
            "it ends in less than {} days",
            MARGIN.as_secs() / DAY.as_secs()
        )
    })
}

/// A pair for the server `name`. The authorities of `before` stay, if its certificate is still good.
pub(super) fn issue(
    name: &str,
    now: Duration,
    before: &Pair,
    drawn: &Drawn,
) -> Result<Pair, String> {
    let wrong = |error: rcgen::Error| format!("no certificate: {error}");
    let [first, second] = drawn.serials;
    let mut authority = params(now, first);
    authority.distinguished_name = named("whereabouts webhook authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let signed = authority.self_signed(&drawn.authority).map_err(wrong)?;
    let issuer = Issuer::new(authority, &drawn.authority);
    let mut own = params(now, second);
    own.distinguished_name = named(name);
    let names = [name.to_owned()].map(TryInto::try_into);
    own.subject_alt_names = names
        .into_iter()
        .map(|name| name.map(rcgen::SanType::DnsName))
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    own.use_authority_key_identifier_extension = true;
    let certificate = own.signed_by(&drawn.own, &issuer).map_err(wrong)?;
    let mut authorities = signed.pem().into_bytes();
    if verify(before, name, now).is_ok() {
        // Its first authority signed it. Older ones signed nothing that is shown any more.
        let first = CertificateDer::pem_slice_iter(&before.authorities)
            .flatten()
            .next();
        authorities.extend(first.map(|der| pem(&der)).unwrap_or_default().into_bytes());
    }
    Ok(Pair {
        certificate: certificate.pem().into_bytes(),
        key: drawn.own.serialize_pem().into_bytes(),
        authorities,
    })
}

/// The certificate and the key as a server shows them. They must belong together.
pub(super) fn certified(certificate: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("the certificate: {error}");
    let chain = chain(certificate).map_err(|error| wrong(&error))?;
    // The error does not show the key.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the key is no PEM of a key")?;
    let pair = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| wrong(&error))?;
    Ok(Arc::new(pair))
}

/// The cryptography of all connections.
pub(super) fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// Whether a client that trusts the authorities accepts the certificate of the server `name`.
fn verify(pair: &Pair, name: &str, at: Duration) -> Result<(), String> {
    let certified = certified(&pair.certificate, &pair.key)?;
    let mut roots = RootCertStore::empty();
    let authorities = chain(&pair.authorities).map_err(|error| format!("ca.crt: {error}"))?;
    roots.add_parsable_certificates(authorities);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider().into());
    let verifier = verifier
        .build()
        .map_err(|error| format!("ca.crt: {error}"))?;
    let server = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let (own, rest) = certified.cert.split_first().ok_or("there is none")?;
    let at = UnixTime::since_unix_epoch(at);
    let accepted = verifier.verify_server_cert(own, rest, &server, &[], at);
    accepted.map(drop).map_err(|error| error.to_string())
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all.map_err(|error| error.to_string())? {
        none if none.is_empty() => Err("there is none".to_owned()),
        some => Ok(some),
    }
}

fn pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem += line;
        pem += "\n";
        rest = after;
    }
    pem + "-----END CERTIFICATE-----\n"
}

fn params(now: Duration, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let at = |time: Duration| date_time_ymd(1970, 1, 1) + time;
    // The clock of the API server may be late.
    params.not_before = at(now.saturating_sub(DAY));
    params.not_after = at(now + VALIDITY);
    params.serial_number = Some(SerialNumber::from(serial));
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "whereabouts-webhook.kube-system.svc";
    const NOW: Duration = Duration::from_secs(1_800_000_000);

    /// How long a certificate is kept.
    const KEPT: Duration = Duration::from_hours(24 * 60);

    fn ago(time: Duration) -> Duration {
        NOW.saturating_sub(time)
    }

    fn made(now: Duration, before: &Pair) -> Pair {
        let drawn = Drawn::new([1, 2]).expect("keys");
        issue(NAME, now, before, &drawn).expect("a pair")
    }

    #[test]
    fn a_new_certificate_is_kept_until_its_margin() {
        let pair = made(NOW, &Pair::default());
        assert_eq!(KEPT + MARGIN, VALIDITY);
        for (now, expected) in [
            (NOW, None),
            (ago(DAY / 2), None),
            (ago(Duration::from_secs(5)) + KEPT, None),
            (
                NOW + KEPT + Duration::from_secs(5),
                Some("less than 30 days"),
            ),
            (NOW + VALIDITY + DAY, Some("expired")),
            // A clock that was wrong when it was made.
            (ago(DAY * 2), Some("not valid yet")),
        ] {
            let told = renewal(&pair, NAME, now);
            let is_told = match (&told, expected) {
                (None, None) => true,
                (Some(told), Some(expected)) => told.contains(expected),
                _ => false,
            };
            assert!(is_told, "{now:?}: {told:?} instead of {expected:?}");
        }
    }

    #[test]
    fn a_pair_that_serves_nobody_is_renewed() {
        let (good, other) = (made(NOW, &Pair::default()), made(NOW, &Pair::default()));
        let good = || good.clone();
        for (what, pair) in [
            ("nothing", Pair::default()),
            (
                "no key",
                Pair {
                    key: Vec::new(),
                    ..good()
                },
            ),
            (
                "another key",
                Pair {
                    key: other.key.clone(),
                    ..good()
                },
            ),
            (
                "no authority",
                Pair {
                    authorities: Vec::new(),
                    ..good()
                },
            ),
            (
                "another authority",
                Pair {
                    authorities: other.authorities.clone(),
                    ..good()
                },
            ),
            (
                "no certificate",
                Pair {
                    certificate: b"nonsense".to_vec(),
                    ..good()
                },
            ),
        ] {
            assert!(renewal(&pair, NAME, NOW).is_some(), "{what}");
        }
        assert!(renewal(&good(), "other.kube-system.svc", NOW).is_some());
        assert_eq!(renewal(&good(), NAME, NOW), None);
    }

    #[test]
    fn after_a_renewal_both_certificates_are_trusted() {
        let old = made(NOW, &Pair::default());
        let later = NOW + KEPT + DAY;
        let new = made(later, &old);
        let shown_by_a_late_replica = Pair {
            authorities: new.authorities.clone(),
            ..old
        };
        for pair in [&new, &shown_by_a_late_replica] {
            assert_eq!(verify(pair, NAME, later), Ok(()));
        }
        assert_eq!(renewal(&new, NAME, later), None);
        // The oldest authority goes.
        let newest = made(later + KEPT + DAY, &new);
        assert_eq!(chain(&newest.authorities).map(|all| all.len()), Ok(2));
        assert!(
            verify(
                &Pair {
                    authorities: newest.authorities,
                    ..shown_by_a_late_replica
                },
                NAME,
                later
            )
            .is_err()
        );
    }

    #[test]
    fn a_secret_with_a_huge_or_strange_value_is_only_renewed() {
        let strange = Pair {
            certificate: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
            key: b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_vec(),
            authorities: vec![0xff; 100_000],
        };
        let told = renewal(&strange, NAME, NOW).expect("it is no pair");
        assert!(!told.contains("AAAA"), "{told}");
        let new = made(NOW, &strange);
        assert_eq!(renewal(&new, NAME, NOW), None);
    }
}
