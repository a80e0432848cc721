//! `CNI_ARGS`: `key=value;key=value`. Keys are case-sensitive.

use super::error::RequestError;
use super::json::Text;
use super::notation;
use super::stated::Stated;
use whereabouts_core::address::Address;
use whereabouts_core::identity::check_plain;
use whereabouts_core::limits;

/// The content of `CNI_ARGS`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Arguments {
    /// `IP`, a comma list.
    pub(super) addresses: Vec<Stated>,
    /// `GATEWAY`, a comma list.
    pub(super) gateways: Vec<Address>,
    /// `K8S_POD_NAMESPACE`.
    pub(super) pod_namespace: Option<String>,
    /// `K8S_POD_NAME`.
    pub(super) pod_name: Option<String>,
    /// `K8S_POD_UID`.
    pub(super) pod_uid: Option<String>,
}

/// The pod that `CNI_ARGS` names, for people: `namespace/name`, as far as it is there. It fails for no text.
pub(crate) fn pod_of(text: &str) -> Option<String> {
    let value = |key: &str| {
        let mut pieces = text.rsplit(';').filter_map(|piece| piece.split_once('='));
        let (_, value) = pieces.find(|(of, _)| *of == key)?;
        (!value.is_empty()).then_some(value)
    };
    let name = value("K8S_POD_NAME")?;
    Some(match value("K8S_POD_NAMESPACE") {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    })
}

/// The names of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
}

impl Arguments {
    /// The names of the pod, if both are there.
    pub(super) fn pod(&self) -> Option<PodName> {
        Some(PodName {
            namespace: self.pod_namespace.clone()?,
            name: self.pod_name.clone()?,
        })
    }

    /// The content of `text`. If a key is repeated, its last value counts, as in libcni.
    pub(super) fn parse(text: &str) -> Result<Self, RequestError> {
        if text.len() > limits::CNI_ARGS_BYTES {
            let reason = format!("is longer than {} bytes", limits::CNI_ARGS_BYTES);
            return Err(RequestError::variable("CNI_ARGS", text, reason));
        }
        let mut arguments = Self::default();
        let mut unknown = Vec::new();
        let mut ignore_unknown = false;
        for piece in text.split(';').filter(|piece| !piece.is_empty()) {
            let Some((key, value)) = piece.split_once('=') else {
                return Err(RequestError::variable("CNI_ARGS", piece, "has no '='"));
            };
            match key {
                "IP" => arguments.addresses = addresses(value)?,
                "GATEWAY" => arguments.gateways = gateways(value)?,
                "IgnoreUnknown" => {
                    ignore_unknown = value == "1" || value.eq_ignore_ascii_case("true");
                }
                "K8S_POD_NAMESPACE" => arguments.pod_namespace = name(key, value)?,
                "K8S_POD_NAME" => arguments.pod_name = name(key, value)?,
                "K8S_POD_UID" => arguments.pod_uid = name(key, value)?,
                "K8S_POD_INFRA_CONTAINER_ID" => {}
                _ => unknown.push(key),
            }
        }
        if unknown.is_empty() || ignore_unknown {
            return Ok(arguments);
        }
        let reason = "has unknown keys, and IgnoreUnknown is not set";
        Err(RequestError::variable(
            "CNI_ARGS",
            &unknown.join(", "),
            reason,
        ))
    }
}

fn addresses(list: &str) -> Result<Vec<Stated>, RequestError> {
    let key = "CNI_ARGS IP";
    let stated = |item: &str| {
        let text = Text {
            key: key.to_owned(),
            text: item.to_owned(),
        };
        let host =
            notation::host(item).map_err(|error| RequestError::variable(key, item, error))?;
        Ok(Stated::new(text, host))
    };
    items(list).map(stated).collect()
}

fn gateways(list: &str) -> Result<Vec<Address>, RequestError> {
    let address = |item| {
        notation::address(item)
            .map_err(|error| RequestError::variable("CNI_ARGS GATEWAY", item, error))
    };
    items(list).map(address).collect()
}

/// The items of a comma list. An empty text is an empty list.
fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(move |_| !list.is_empty())
}

/// The name of a part of a pod; `None` if it is empty.
fn name(key: &str, value: &str) -> Result<Option<String>, RequestError> {
    if value.is_empty() {
        return Ok(None);
    }
    check_plain(value)
        .map_err(|reason| RequestError::variable(&format!("CNI_ARGS {key}"), value, reason))?;
    Ok(Some(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let found = Arguments::parse(text).map(|arguments| {
            let mut said: Vec<String> = Vec::new();
            said.extend(
                arguments
                    .addresses
                    .iter()
                    .map(|stated| stated.text.text.clone()),
            );
            said.extend(arguments.gateways.iter().map(ToString::to_string));
            let pod = [
                arguments.pod_namespace,
                arguments.pod_name,
                arguments.pod_uid,
            ];
            said.extend(pod.into_iter().flatten());
            said.join(" ")
        });
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
            (Err(error), Err(part)) => {
                assert_eq!(error.code(), 4, "{text}");
                assert!(error.to_string().contains(part), "{error}");
            }
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn known_keys_are_taken_and_empty_pieces_are_tolerated() {
        check("", Ok(""));
        check(";;", Ok(""));
        check(
            "K8S_POD_NAME=pod;K8S_POD_NAMESPACE=ns;K8S_POD_UID=u-1;",
            Ok("ns pod u-1"),
        );
        check("K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_NAME=", Ok(""));
        check("IP=10.0.0.5/24, fd00::5;GATEWAY=10.0.0.1,fd00::1", {
            Ok("10.0.0.5/24 fd00::5 10.0.0.1 fd00::1")
        });
        check("IP=;GATEWAY=", Ok(""));
        check("K8S_POD_NAME=a;K8S_POD_NAME=b=c", Ok("b=c"));
    }

    #[test]
    fn a_piece_without_an_equals_sign_is_code_4() {
        check("K8S_POD_NAME", Err("CNI_ARGS: \"K8S_POD_NAME\" has no '='"));
        check("IgnoreUnknown=1;x", Err("\"x\" has no '='"));
    }

    #[test]
    fn an_unknown_key_is_code_4_unless_ignore_unknown_is_1_or_true() {
        check("FOO=1;ip=10.0.0.5", Err("\"FOO, ip\" has unknown keys"));
        for value in ["1", "true", "True", "TRUE"] {
            check(&format!("FOO=1;IgnoreUnknown={value}"), Ok(""));
            check(&format!("IgnoreUnknown={value};FOO=1"), Ok(""));
        }
        for value in ["0", "false", "yes", ""] {
            check(&format!("FOO=1;IgnoreUnknown={value}"), Err("\"FOO\""));
        }
        check("ignoreunknown=1", Err("\"ignoreunknown\""));
    }

    #[test]
    fn a_value_that_cannot_be_is_code_4_and_names_its_key() {
        check(
            "IP=10.0.0.5/33",
            Err("CNI_ARGS IP: \"10.0.0.5/33\" has no prefix length"),
        );
        check(
            "IP=10.0.0.5,,10.0.0.6",
            Err("CNI_ARGS IP: \"\" is not an address"),
        );
        check(
            "GATEWAY=10.0.0.1/24",
            Err("CNI_ARGS GATEWAY: \"10.0.0.1/24\""),
        );
        check("K8S_POD_NAME=a\nb", Err("CNI_ARGS K8S_POD_NAME: \"a\\nb\""));
        check(
            &format!("K8S_POD_UID={}", "a".repeat(9999)),
            Err("CNI_ARGS K8S_POD_UID"),
        );
        check(&"A=1;".repeat(100_000), Err("is longer than"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "([A-Z_a-z]{0,5}[=;,./:0-9\u{0}-\u{ff}]{0,9}){0,20}") {
            let _ = Arguments::parse(&text);
        }

        #[test]
        fn any_value_of_a_known_key_is_read_without_panic(
            key in "IP|GATEWAY|IgnoreUnknown|K8S_POD_NAME",
            value in ".*",
        ) {
            let _ = Arguments::parse(&format!("{key}={value}"));
        }
    }
}
