//! The access to etcd: endpoints, TLS, user and password, prefix.
//!
//! This module reads the files for TLS. So a missing or wrong file is reported before anything is
//! sent. A configured secret leaves this module only as a [`Secret`].

use super::endpoint::{ETCD_PORT, Endpoint, EndpointError, Scheme};
use super::error::RequestError;
use super::findings::Findings;
use super::json::{Node, Object, Text};
use super::{LogLevel, file};
use crate::invocation::{File, Machine};
use whereabouts_core::limits;
use whereabouts_etcd::{Access, Secret, Tls};

/// The `etcd_prefix` of a config without this key.
const PREFIX: &str = "/whereabouts/v1/";

/// The text that every PEM file contains (RFC 7468).
const PEM: &str = "-----BEGIN ";

/// The keys of `ipam` about etcd, not yet read.
pub(super) struct Raw {
    host: Option<Node>,
    prefix: Option<Node>,
    username: Option<Node>,
    password: Option<Node>,
    password_file: Option<Node>,
    ca_file: Option<Node>,
    cert_file: Option<Node>,
    key_file: Option<Node>,
}

impl Raw {
    /// Takes the keys out.
    pub(super) fn take(ipam: &mut Object) -> Self {
        Self {
            host: ipam.take("etcd_host"),
            prefix: ipam.take("etcd_prefix"),
            username: ipam.take("etcd_username"),
            password: ipam.take("etcd_password"),
            password_file: ipam.take("etcd_password_file"),
            ca_file: ipam.take("etcd_ca_cert_file"),
            cert_file: ipam.take("etcd_cert_file"),
            key_file: ipam.take("etcd_key_file"),
        }
    }

    /// Reads the keys. No verb tolerates an error, because each verb depends on them.
    pub(super) fn read(
        self,
        machine: &dyn Machine,
        findings: &mut Findings,
    ) -> Result<Access, RequestError> {
        let ca = self.ca_file.map(Node::text).transpose()?;
        let certificate = self.cert_file.map(Node::text).transpose()?;
        let key = self.key_file.map(Node::text).transpose()?;
        let tls_key = [&ca, &certificate, &key].into_iter().flatten().next();
        let endpoints = endpoints(self.host, tls_key)?;
        let speaks_tls = endpoints.iter().any(|(scheme, _)| *scheme == Scheme::Https);

        let tls = Tls {
            ca: ca
                .map(|text| pem(&text, machine))
                .transpose()?
                .map(|file| file.bytes),
            identity: identity(certificate, key, machine, findings)?,
        };
        let password = password(self.password, self.password_file, machine, findings)?;
        let login = login(self.username, password)?;
        if login.is_some() && endpoints.iter().any(|(scheme, _)| *scheme == Scheme::Http) {
            let text = "the password goes to etcd without TLS";
            findings.remark(LogLevel::Warn, text.to_owned());
        }
        Ok(Access {
            endpoints: endpoints.into_iter().map(|(_, url)| url).collect(),
            prefix: self.prefix.map_or_else(|| Ok(PREFIX.to_owned()), prefix)?,
            login,
            tls: speaks_tls.then_some(tls),
        })
    }
}

/// The URLs of `etcd_host`. `tls_key` is a key that requires TLS.
fn endpoints(
    node: Option<Node>,
    tls_key: Option<&Text>,
) -> Result<Vec<(Scheme, String)>, RequestError> {
    let node = node.ok_or_else(|| RequestError::MissingKey {
        key: "ipam.etcd_host".to_owned(),
        reason: "it names the endpoints of etcd".to_owned(),
    })?;
    let key = node.key().to_owned();
    let texts = node.text_or_texts()?;
    // This check precedes the split, because a password may have a comma.
    if texts.iter().any(|text| text.text.contains('@')) {
        return Err(user_in_endpoint(key));
    }
    let items = texts.iter().flat_map(|text| {
        let items = text.text.split(',').map(str::trim);
        items.map(|item| Text {
            key: text.key.clone(),
            text: item.to_owned(),
        })
    });
    let urls: Vec<_> = items
        .map(|item| url(&item, tls_key))
        .collect::<Result<_, _>>()?;
    match urls.len() {
        0 => Err(RequestError::MissingKey {
            key,
            reason: "the list is empty".to_owned(),
        }),
        count if count > limits::ENDPOINTS => Err(RequestError::TooMany {
            key,
            count,
            most: limits::ENDPOINTS,
        }),
        _ => Ok(urls),
    }
}

fn url(item: &Text, tls_key: Option<&Text>) -> Result<(Scheme, String), RequestError> {
    let endpoint = Endpoint::parse(&item.text, ETCD_PORT).map_err(|error| match error {
        EndpointError::UserInfo => user_in_endpoint(item.key.clone()),
        EndpointError::Scheme | EndpointError::Path | EndpointError::Host | EndpointError::Port => {
            item.wrong(error)
        }
    })?;
    let scheme = match (endpoint.scheme, tls_key) {
        (Some(Scheme::Http), Some(other)) => {
            return Err(item.wrong(format_args!("is not TLS, but {} is given", other.key)));
        }
        (Some(Scheme::Http) | None, None) => Scheme::Http,
        (Some(Scheme::Https), _) | (None, Some(_)) => Scheme::Https,
    };
    Ok((
        scheme,
        format!("{}://{}", scheme.as_str(), endpoint.authority),
    ))
}

fn user_in_endpoint(key: String) -> RequestError {
    let reason =
        "an endpoint has a user or a password, which belong into etcd_username and etcd_password"
            .to_owned();
    RequestError::HiddenValue { key, reason }
}

fn identity(
    certificate: Option<Text>,
    key: Option<Text>,
    machine: &dyn Machine,
    findings: &mut Findings,
) -> Result<Option<(Vec<u8>, Secret)>, RequestError> {
    let (certificate, key) = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(certificate), None) => return Err(missing("etcd_key_file", &certificate.key)),
        (None, Some(key)) => return Err(missing("etcd_cert_file", &key.key)),
    };
    let certificate = pem(&certificate, machine)?;
    let file = pem(&key, machine)?;
    Ok(Some((certificate.bytes, secret(&key, file, findings)?)))
}

fn password(
    password: Option<Node>,
    file: Option<Node>,
    machine: &dyn Machine,
    findings: &mut Findings,
) -> Result<Option<(String, Secret)>, RequestError> {
    let (key, secret) = match (password, file) {
        (None, None) => return Ok(None),
        (Some(password), Some(file)) => {
            return Err(RequestError::Exclusive {
                key: password.key().to_owned(),
                other: file.key().to_owned(),
            });
        }
        (Some(password), None) => (password.key().to_owned(), password.secret()?),
        (None, Some(file)) => {
            let path = file.text()?;
            let read = secret(&path, file::read(&path, machine)?, findings)?;
            let line = read.reveal().trim_end_matches(['\r', '\n']).to_owned();
            // Keys, configurations and other secrets of a node have several lines.
            if line.chars().any(char::is_control) {
                let reason = "the password has more than one line".to_owned();
                return Err(RequestError::HiddenValue {
                    key: path.key,
                    reason,
                });
            }
            (path.key, Secret::new(line))
        }
    };
    if secret.reveal().is_empty() {
        let reason = "the password is empty".to_owned();
        return Err(RequestError::HiddenValue { key, reason });
    }
    Ok(Some((key, secret)))
}

fn login(
    username: Option<Node>,
    password: Option<(String, Secret)>,
) -> Result<Option<(String, Secret)>, RequestError> {
    match (username.map(Node::text).transpose()?, password) {
        (None, None) => Ok(None),
        (None, Some((key, _))) => Err(missing("etcd_username", &key)),
        (Some(name), None) => Err(missing("etcd_password", &name.key)),
        (Some(name), Some((_, password))) => Ok(Some((name.text, password))),
    }
}

fn missing(key: &str, needed_by: &str) -> RequestError {
    RequestError::MissingKey {
        key: format!("ipam.{key}"),
        reason: format!("it is needed with {needed_by}"),
    }
}

/// A file in PEM.
fn pem(text: &Text, machine: &dyn Machine) -> Result<File, RequestError> {
    let file = file::read(text, machine)?;
    let is_pem = file
        .bytes
        .windows(PEM.len())
        .any(|window| window == PEM.as_bytes());
    if is_pem {
        Ok(file)
    } else {
        Err(text.wrong("is not a PEM file"))
    }
}

/// The content of a file as a secret. If other users than its owner can read it, a remark says so.
fn secret(text: &Text, file: File, findings: &mut Findings) -> Result<Secret, RequestError> {
    if file::is_open_to_others(&file) {
        let reason = "is secret, and readable by others than its owner";
        findings.remark(LogLevel::Warn, text.wrong(reason).to_string());
    }
    match String::from_utf8(file.bytes) {
        Ok(content) => Ok(Secret::new(content)),
        Err(_) => Err(text.wrong("is not UTF-8")),
    }
}

fn prefix(node: Node) -> Result<String, RequestError> {
    let text = node.text()?;
    let reason = match text.text.as_str() {
        prefix if !prefix.starts_with('/') => "does not begin with '/'",
        prefix if prefix.trim_matches('/').is_empty() => "is all of etcd, not a part of it",
        prefix if prefix.len() > limits::NAME_BYTES => "has more than 253 bytes",
        prefix if prefix.chars().any(char::is_control) => "has control characters",
        _ => return Ok(text.text),
    };
    Err(text.wrong(reason))
}

#[cfg(test)]
mod tests;
