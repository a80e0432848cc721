//! Which source wins, what it gives, and the errors.

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// The chosen keys, or the error, with these variables and this file of contexts.
fn chosen(
    flags: &Value,
    context: Option<&str>,
    variables: &[(&str, &str)],
    file: Option<&str>,
    has_flat_file: bool,
) -> Result<Value, String> {
    let home = TempDir::new().expect("a folder");
    if let Some(text) = file {
        let folder = home.path().join(".config/whereabouts");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("config.yaml"), text).expect("a file");
    }
    let home_path = home.path().display().to_string();
    let variable = |name: &str| match name {
        "HOME" => Some(home_path.clone()),
        name => {
            let found = variables.iter().find(|(of, _)| *of == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    };
    let around = Surroundings {
        variable: &variable,
        folder: PathBuf::from("/folder"),
        has_flat_file: &|| Ok(has_flat_file),
    };
    let flags = flags.as_object().expect("an object").clone();
    let strip = |text: String| text.replace(&home_path, "~");
    let keys = choose(flags, context, &around).map_err(strip)?;
    let text = Value::Object(keys).to_string().replace(&home_path, "~");
    Ok(serde_json::from_str(&text).expect("JSON"))
}

const TWO: &str = "\
current-context: one
contexts:
  one:
    etcd_host: one:2379
    etcd_ca_cert_file: ca.crt
  two: {etcd_host: 'two:2379', etcd_username: reader, etcd_password_file: /run/secret}
";

#[test]
fn the_first_source_that_names_a_datastore_gives_place_and_secrets() {
    let own = [
        ("WHEREABOUTS_ETCD_HOST", "own:2379"),
        ("WHEREABOUTS_ETCD_PASSWORD", "p"),
        ("WHEREABOUTS_ETCD_USERNAME", "u"),
        ("ETCDCTL_ENDPOINTS", "ctl:2379"),
    ];
    let etcdctl = [
        ("ETCDCTL_ENDPOINTS", "ctl:2379"),
        ("ETCDCTL_CERT", "pki/c.crt"),
        ("ETCDCTL_USER", "root:secret"),
    ];
    let own_keys = json!({"etcd_host": "own:2379", "etcd_password": "p", "etcd_username": "u"});
    let one = json!({"etcd_host": "one:2379", "etcd_ca_cert_file": "~/.config/whereabouts/ca.crt"});
    let flags = json!({"etcd_host": "f:2379"});
    let of_etcdctl = json!({
        "etcd_host": "ctl:2379",
        "etcd_cert_file": "/folder/pki/c.crt",
        "etcd_username": "root",
        "etcd_password": "secret",
    });
    for (flags, context, variables, file, has_flat_file, expected) in [
        (
            flags.clone(),
            None,
            &own[..],
            Some(TWO),
            true,
            flags.clone(),
        ),
        (json!({}), None, &own[..], Some(TWO), true, own_keys),
        (json!({}), None, &etcdctl[..], Some(TWO), true, one.clone()),
        (json!({}), None, &etcdctl[..], None, true, json!({})),
        (json!({}), None, &etcdctl[..], None, false, of_etcdctl),
        // A context that is named on the command line comes before variables.
        (json!({}), Some("one"), &own[..], Some(TWO), true, one),
    ] {
        let found = chosen(&flags, context, variables, file, has_flat_file);
        assert_eq!(found, Ok(expected));
    }
}

#[test]
fn flags_that_name_no_datastore_count_beside_the_source() {
    let flags = json!({"etcd_prefix": "/other", "etcd_key_file": "k"});
    let expected = json!({
        "etcd_prefix": "/other",
        "etcd_key_file": "/folder/k",
        "etcd_host": "two:2379",
        "etcd_username": "reader",
        "etcd_password_file": "/run/secret",
    });
    assert_eq!(
        chosen(&flags, Some("two"), &[], Some(TWO), false),
        Ok(expected)
    );
    let by_variable = [("WHEREABOUTS_CONTEXT", "two")];
    let found = chosen(&json!({}), None, &by_variable, Some(TWO), false).expect("it is there");
    assert_eq!(found["etcd_host"], "two:2379");
}

#[test]
fn the_first_error_names_all_ways_and_others_the_file_and_the_key() {
    let nowhere = chosen(&json!({}), None, &[], None, false).expect_err("nothing is said");
    for way in [
        "--etcd-host",
        "--datastore kubernetes",
        "--local-path",
        "WHEREABOUTS_ETCD_HOST",
        "WHEREABOUTS_KUBECONFIG",
        "~/.config/whereabouts/config.yaml",
        "--context",
        "--configuration-path",
        "ETCDCTL_ENDPOINTS",
    ] {
        assert!(nowhere.contains(way), "no {way} in {nowhere}");
    }
    let check = |file: Option<&str>, part: &str| {
        let error = chosen(&json!({}), Some("three"), &[], file, true).expect_err("it is wrong");
        assert!(
            error.contains("config.yaml") && error.contains(part),
            "{error}"
        );
    };
    check(None, "No such file");
    check(Some(TWO), "no context three; there is one, two");
    check(Some("contexts: {}"), "no context three; there is none");
    check(
        Some("contexts: {three: {etcd_hots: a}}"),
        "contexts.three.etcd_hots",
    );
    check(
        Some("contexts: {three: {etcd_prefix: a}}"),
        "contexts.three.etcd_host is missing",
    );
    check(Some("contexts: ["), "");
    check(Some("context: {}"), "context");
}

#[test]
fn a_variable_about_a_datastore_that_no_variable_names_is_an_error() {
    for name in [
        "WHEREABOUTS_ETCD_PREFIX",
        "WHEREABOUTS_CLUSTER_ID",
        "WHEREABOUTS_ETCD_PASSWORD",
    ] {
        let alone = [(name, "x"), ("ETCDCTL_ENDPOINTS", "ctl:2379")];
        let error = chosen(&json!({}), None, &alone, Some(TWO), true).expect_err(name);
        assert!(
            error.starts_with(&format!("{name} is set, and no variable names")),
            "{error}"
        );
        assert!(chosen(&json!({}), Some("two"), &alone, Some(TWO), true).is_ok());
        assert!(
            chosen(
                &json!({"etcd_host": "f:2379"}),
                None,
                &alone,
                Some(TWO),
                true
            )
            .is_ok()
        );
    }
}

/// The keys of a config with these flags, this kubeconfig of the command line, and these variables.
fn config(
    flags: &Value,
    kubeconfig: Option<&str>,
    variables: &[(&str, &str)],
) -> Result<Value, String> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(of, _)| *of == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let around = Surroundings {
        variable: &variable,
        folder: PathBuf::from("/folder"),
        has_flat_file: &|| Ok(false),
    };
    let flags = flags.as_object().expect("an object").clone();
    let keys = choose(flags, None, &around)?;
    of_config(keys, kubeconfig.map(Path::new), &around).map(Value::Object)
}

#[test]
fn a_kubeconfig_names_the_datastore_kubernetes_if_nothing_else_is_named() {
    let of = |path: &str| json!({"datastore": "kubernetes", "kubernetes": {"kubeconfig": path}});
    let variable = [("WHEREABOUTS_KUBECONFIG", "k"), ("KUBECONFIG", "other")];
    assert_eq!(config(&json!({}), None, &variable), Ok(of("/folder/k")));
    let flag = json!({"datastore": "kubernetes"});
    assert_eq!(config(&flag, Some("f"), &variable), Ok(of("/folder/f")));
    assert_eq!(config(&flag, None, &variable), Ok(of("/folder/other")));
    let several = [("KUBECONFIG", "/a:/b")];
    let error = config(&flag, None, &several).expect_err("there are two");
    assert!(error.contains("--kubeconfig"), "{error}");
    assert_eq!(config(&flag, None, &[]), Ok(flag));
}

#[test]
fn a_kubeconfig_beside_etcd_is_not_about_the_datastore() {
    let both = [
        ("WHEREABOUTS_ETCD_HOST", "e:2379"),
        ("WHEREABOUTS_KUBECONFIG", "/k"),
    ];
    let found = config(&json!({}), None, &both).expect("a place");
    assert_eq!(found["etcd_host"], "e:2379");
    assert_eq!(found.get("datastore"), None);
    let flags = json!({"datastore": "etcd", "etcd_host": "f:2379"});
    let found = config(&flags, None, &[("KUBECONFIG", "/k")]).expect("a place");
    assert_eq!(found, flags);
}
