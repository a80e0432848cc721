//! The access of a pod to its API server: the address of the Service `kubernetes` in variables, and the credentials of its account
//! in a folder.

use std::io::ErrorKind;
use std::path::Path;

use whereabouts_apiserver::{Access, Files, Server};
use whereabouts_cni::invocation::read_file;
use whereabouts_core::limits;
use whereabouts_core::secret::Secret;

/// The folder in which a pod finds the credentials of its account.
pub(crate) const CREDENTIALS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const HOST: &str = "KUBERNETES_SERVICE_HOST";
const PORT: &str = "KUBERNETES_SERVICE_PORT";

/// A variable of the environment.
pub(crate) type Variable<'v> = &'v dyn Fn(&str) -> Option<String>;

/// The URL of the Service. The error names the variable that is not set.
pub(crate) fn service_url(variable: Variable<'_>) -> Result<String, &'static str> {
    let host = variable(HOST).ok_or(HOST)?;
    let port = variable(PORT).ok_or(PORT)?;
    Ok(if host.contains(':') {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    })
}

/// The access of this process, if it is one of a pod with the credentials of an account in `folder`.
pub(crate) fn access(variable: Variable<'_>, folder: &Path) -> Result<Option<Access>, String> {
    let Ok(url) = service_url(variable) else {
        return Ok(None);
    };
    let (ca_file, token_file) = (folder.join("ca.crt"), folder.join("token"));
    let Some(token) = content(&token_file)? else {
        return Ok(None);
    };
    let token = String::from_utf8(token).unwrap_or_default();
    let ca = content(&ca_file)?;
    Ok(Some(Access {
        server: Server::at(&url).map_err(|reason| format!("{url} {reason}"))?,
        files: Files {
            ca: ca.is_some().then_some(ca_file),
            token: Some(token_file),
        },
        ca,
        token: Some(Secret::new(token.trim().to_owned())),
        identity: None,
    }))
}

fn content(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match read_file(path, limits::DOCUMENT_BYTES) {
        Ok(file) => Ok(Some(file.bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn of_pod(name: &str) -> Option<String> {
        match name {
            HOST => Some("fd00::1".to_owned()),
            PORT => Some("443".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_pod_finds_its_api_server_by_variables_and_a_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let found = |variable: Variable<'_>| access(variable, folder.path()).expect("an access");
        assert!(found(&of_pod).is_none(), "the pod has no credentials");
        fs::write(folder.path().join("token"), "a token\n").expect("the folder can be written");
        fs::write(folder.path().join("ca.crt"), "a CA").expect("the folder can be written");
        assert!(found(&|_| None).is_none(), "this is no pod");
        let access = found(&of_pod).expect("an access");
        assert_eq!(Ok(access.server), Server::at("https://[fd00::1]:443"));
        assert_eq!(access.token, Some(Secret::new("a token".to_owned())));
        assert_eq!(access.ca.as_deref(), Some(&b"a CA"[..]));
    }
}
