//! The runtime's knowledge of earlier calls: `prevResult`, and the attachments in use.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::error::RequestError;
use super::json::{Node, Object};
use super::notation;
use whereabouts_core::verbs::ValidAttachment;

/// The addresses of a `prevResult` of any version.
pub(super) fn addresses(result: Option<Node>) -> Result<Vec<IpNet>, RequestError> {
    let result = result.ok_or_else(|| RequestError::MissingKey {
        key: "prevResult".to_owned(),
        reason: "CHECK compares the claim with it".to_owned(),
    })?;
    let mut result = result.object()?;
    let mut found = Vec::new();
    for node in result
        .take("ips")
        .map(Node::list)
        .transpose()?
        .unwrap_or_default()
    {
        found.push(address(&mut node.object()?, "address")?);
    }
    // Before version 0.3.0, a result had one address of each family.
    for node in [result.take("ip4"), result.take("ip6")]
        .into_iter()
        .flatten()
    {
        found.push(address(&mut node.object()?, "ip")?);
    }
    Ok(found)
}

fn address(object: &mut Object, key: &'static str) -> Result<IpNet, RequestError> {
    let text = object.needed_text(key)?;
    text.read(notation::cidr)
}

/// The keys of the attachments in use, not yet read.
pub(super) struct Valid([Option<Node>; 2]);

impl Valid {
    /// The two keys of the list. libcni writes both.
    const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

    /// Takes the keys out. `null` is an empty list, because libcni writes an empty list this way.
    pub(super) fn take(config: &mut Object) -> Self {
        Self(Self::KEYS.map(|key| config.take_present(key)))
    }

    /// The list; `None` without a key. No verb tolerates an entry that cannot be read: GC would
    /// collect the claim of a live attachment.
    pub(super) fn read(self) -> Result<Option<BTreeSet<ValidAttachment>>, RequestError> {
        let [first, second] = self.0.map(|node| node.map(valid_attachments).transpose());
        match (first?, second?) {
            (Some(first), Some(second)) if first != second => Err(RequestError::Differ {
                key: Self::KEYS[0].to_owned(),
                other: Self::KEYS[1].to_owned(),
            }),
            (first, second) => Ok(first.or(second)),
        }
    }
}

fn valid_attachments(list: Node) -> Result<BTreeSet<ValidAttachment>, RequestError> {
    let entry = |node: Node| {
        let mut object = node.object()?;
        Ok(ValidAttachment {
            container: object.needed_text("containerID")?.text,
            interface: object.needed_text("ifname")?.text,
        })
    };
    list.list_or_null()?.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;

    fn members(text: &str) -> Object {
        json::object(text.as_bytes(), "stdin", "").expect("an object")
    }

    fn check(config: &str, expected: Result<&str, &str>) {
        let found = addresses(members(config).take("prevResult"));
        let found = found.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.join(" "), expected),
            (Err(error), Err(part)) => {
                assert_eq!(error.code(), 7);
                assert!(error.to_string().contains(part), "{error}");
            }
            (found, _) => panic!("{config}: {found:?}"),
        }
    }

    #[test]
    fn check_needs_a_prev_result() {
        check("{}", Err("prevResult is missing"));
        check(r#"{"prevResult": null}"#, Err("prevResult is missing"));
        check(
            r#"{"prevResult": []}"#,
            Err("prevResult: expected an object, found a list"),
        );
    }

    #[test]
    fn prev_results_of_all_versions_are_read() {
        check(r#"{"prevResult": {}}"#, Ok(""));
        check(r#"{"prevResult": {"ips": null}}"#, Ok(""));
        check(
            r#"{"prevResult": {"ips": [{"version": "4", "address": "10.0.0.5/24"},
                {"address": "fd00::5/64", "interface": 0}], "interfaces": []}}"#,
            Ok("10.0.0.5/24 fd00::5/64"),
        );
        check(
            r#"{"prevResult": {"ip4": {"ip": "10.0.0.5/24"}, "ip6": {"ip": "fd00::5/64"}}}"#,
            Ok("10.0.0.5/24 fd00::5/64"),
        );
    }

    #[test]
    fn an_address_of_prev_result_that_is_none_names_its_key() {
        let missing = "prevResult.ips[1].address is missing";
        check(
            r#"{"prevResult": {"ips": [{"address": "10.0.0.5/24"}, {}]}}"#,
            Err(missing),
        );
        let no_length = "prevResult.ip4.ip: \"10.0.0.5\" has no prefix length";
        check(
            r#"{"prevResult": {"ip4": {"ip": "10.0.0.5"}}}"#,
            Err(no_length),
        );
    }

    fn check_valid(config: &str, expected: Result<Option<usize>, &str>) {
        match (Valid::take(&mut members(config)).read(), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.map(|list| list.len()), expected),
            (Err(error), Err(part)) => {
                assert_eq!(error.code(), 7, "{config}");
                assert!(error.to_string().contains(part), "{error}");
            }
            (found, _) => panic!("{config}: {found:?}"),
        }
    }

    /// Checks the list under either of the two keys.
    fn check_list(list: &str, expected: Result<Option<usize>, &str>) {
        for key in Valid::KEYS {
            let expected = expected.map_err(|part| format!("{key}{part}"));
            let expected = expected.as_ref().map(|count| *count);
            check_valid(
                &format!(r#"{{"{key}": {list}}}"#),
                expected.map_err(String::as_str),
            );
        }
    }

    #[test]
    fn an_absent_list_of_valid_attachments_is_not_an_empty_one_but_null_is() {
        check_valid("{}", Ok(None));
        check_list("null", Ok(Some(0)));
        check_list("[]", Ok(Some(0)));
        check_list(r#"[{"containerID": "a", "ifname": "eth0"}]"#, Ok(Some(1)));
    }

    #[test]
    fn a_valid_attachment_that_cannot_be_read_is_never_tolerated() {
        check_list(r#"[{"containerID": "a"}]"#, Err("[0].ifname is missing"));
        check_list(r#"["a"]"#, Err("[0]: expected an object"));
        check_list("[null]", Err("[0]: expected an object, found null"));
        check_list("{}", Err(": expected a list, found an object"));
        check_list(r#""""#, Err(": expected a list, found a string"));
        check_list("false", Err(": expected a list, found false"));
    }

    #[test]
    fn both_lists_of_valid_attachments_say_the_same() {
        let [a, b] = ["a", "b"].map(|id| format!(r#"{{"containerID": "{id}", "ifname": "e"}}"#));
        let both = |first: &str, second: &str| {
            format!(r#"{{"cni.dev/valid-attachments": {first}, "cni.dev/attachments": {second}}}"#)
        };
        check_valid(&both("null", "[]"), Ok(Some(0)));
        let (ordered, mixed) = (format!("[{a}, {b}]"), format!("[{b}, {a}, {b}]"));
        check_valid(&both(&ordered, &mixed), Ok(Some(2)));
        let differ = "cni.dev/valid-attachments and cni.dev/attachments differ";
        check_valid(&both(&ordered, "null"), Err(differ));
        check_valid(&both("[]", &mixed), Err(differ));
    }
}
