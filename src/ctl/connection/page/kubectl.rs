//! kubectl as a client of the API server's proxy. It knows every way to log in.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread;

use crate::output::{relayed, say};

/// The name of the program by which kubectl finds a plugin.
const PLUGIN: &str = "kubectl-whereabouts";

/// How kubectl's last word begins when it fails. It is told with the error, and everything else at once: a login may be
/// asking something.
const VERDICTS: [&str; 5] = [
    "Error from server",
    "error:",
    "Error in configuration",
    "Unable to connect to the server",
    "The connection to the server",
];

/// Whether the tool was called as a plugin of kubectl.
pub(crate) fn is_plugin() -> bool {
    let called = std::env::args_os().next();
    called.is_some_and(|path| {
        Path::new(&path)
            .file_name()
            .is_some_and(|name| name == PLUGIN)
    })
}

/// The name of an object, which is one part of a path.
pub(super) fn label(text: &str) -> Result<String, &'static str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || !text.chars().all(is_part) {
        return Err("it is no name of an object: lowercase letters, digits and hyphens");
    }
    Ok(text.to_owned())
}

/// A Service as the proxy names it: a protocol, a name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service(String);

impl Default for Service {
    fn default() -> Self {
        Self("http:whereabouts-page:http".to_owned())
    }
}

impl FromStr for Service {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            ["http" | "https", name, ""] | [name] => label(name)?,
            ["http" | "https", name, port] | [name, port] => {
                label(port)?;
                label(name)?
            }
            _ => return Err("it is none of NAME, NAME:PORT and PROTOCOL:NAME:PORT"),
        };
        Ok(Self(text.to_owned()))
    }
}

/// kubectl, and the page that it reaches.
#[derive(Debug)]
pub(in crate::connection) struct Kubectl {
    flags: Vec<String>,
    /// The path of the page at the API server.
    proxy: String,
    /// The page, to a person.
    place: String,
}

impl Kubectl {
    /// With these flags, for the page of a Service.
    pub(super) fn new(flags: Vec<String>, namespace: &str, service: &Service) -> Self {
        let Service(service) = service;
        Self {
            flags,
            proxy: format!("/api/v1/namespaces/{namespace}/services/{service}/proxy"),
            place: format!("Service {service} in namespace {namespace}"),
        }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The body of the page's answer to `path`. It waits for as long as kubectl does: a person may be logging in.
    pub(super) fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        let url = format!("{}/{path}", self.proxy);
        let child = Command::new("kubectl")
            .args(&self.flags)
            .args(["get", "--raw", &url])
            .stdin(Stdio::inherit())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let child = child.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                "kubectl is not on PATH, and the tool reads through it".to_owned()
            }
            _ => format!("kubectl: {error}"),
        })?;
        self.finish(child)
    }

    fn finish(&self, mut child: Child) -> Result<Vec<u8>, String> {
        let stderr = child.stderr.take().expect("it is piped");
        let said = thread::spawn(move || relayed::all_but_the_last_word(stderr, is_verdict));
        let ended = child.wait_with_output();
        let verdict = said.join().expect("the thread does not panic");
        let ended = ended.map_err(|error| format!("kubectl: {error}"))?;
        if ended.status.success() {
            for line in verdict.lines() {
                say!("{line}");
            }
            return Ok(ended.stdout);
        }
        let place = &self.place;
        let verdict = match verdict.trim() {
            "" => ended.status.to_string(),
            verdict => verdict.to_owned(),
        };
        let advice = advice(&verdict).map_or_else(String::new, |advice| format!(". {advice}"));
        Err(format!("kubectl does not reach {place}: {verdict}{advice}"))
    }
}

/// What to do about kubectl's last word.
fn advice(verdict: &str) -> Option<&'static str> {
    let advices: [(&[&str], &str); 6] = [
        (
            &["(Forbidden)", "services/proxy"],
            "A RoleBinding to the Role whereabouts-reader in that namespace gives the right",
        ),
        (
            &["(NotFound)", "services \""],
            "deploy/kubernetes/kubectl has the Service; --service and --service-namespace name another one",
        ),
        (
            &["(NotFound)"],
            "The page has no such API: it is of another version, or follows no etcd. Objects are read with --datastore kubernetes",
        ),
        (&["no endpoints available"], "No pod of the page is ready"),
        (
            &["i/o timeout"],
            "If it is the page that does not answer: a NetworkPolicy may keep the API server out",
        ),
        (
            &["connection refused"],
            "If it is the page that refuses: it may listen on loopback alone",
        ),
    ];
    let found = advices
        .into_iter()
        .find(|(parts, _)| parts.iter().all(|part| verdict.contains(part)));
    found.map(|(_, advice)| advice)
}

fn is_verdict(line: &str) -> bool {
    VERDICTS.iter().any(|begin| line.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_one_part_of_a_path() {
        for well in [
            "page",
            "page:http",
            "page:9469",
            "http:page:http",
            "https:page:9469",
            "http:page:",
        ] {
            assert_eq!(well.parse(), Ok(Service(well.to_owned())));
        }
        for wrong in [
            "",
            ":",
            "page:",
            "ftp:page:http",
            "http::http",
            "page/../../x",
            "page?x",
            "http:page:http:x",
            "Page",
            "page%2f",
        ] {
            assert!(wrong.parse::<Service>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_advice_fits_the_error() {
        let said = |verdict| advice(verdict).unwrap_or_default();
        let forbidden = r#"Error from server (Forbidden): services "http:whereabouts-page:http" is forbidden: User "eve" cannot get resource "services/proxy" in API group "" in the namespace "kube-system""#;
        assert!(said(forbidden).contains("whereabouts-reader"));
        let missing = r#"Error from server (NotFound): services "whereabouts-page" not found"#;
        assert!(said(missing).contains("--service"));
        let old = "Error from server (NotFound): the server could not find the requested resource";
        assert!(said(old).contains("another version"));
        let nobody = "Error from server (ServiceUnavailable): no endpoints available for service \"whereabouts-page\"";
        assert!(said(nobody).contains("No pod"));
        assert_eq!(
            advice("error: You must be logged in to the server (Unauthorized)"),
            None
        );
    }
}
