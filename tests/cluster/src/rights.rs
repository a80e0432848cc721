//! The rights of the manifests against the API server's audit log: each one is used, and none is missing.

use std::collections::BTreeSet;
use std::fs;

use serde::Deserialize;
use serde_json::Value;

use crate::lab::Lab;

/// The user of the controller and the webhook.
const USER: &str = "system:serviceaccount:kube-system:whereabouts-reconcile";

/// All components that have rights, together.
const ALL: &str = "resources: [../lab]\ncomponents: [../../admission, ../../admission-pods]\n";

/// One verb on one resource, by the role that grants it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    role: String,
    verb: String,
    group: String,
    resource: String,
}

/// A line of the audit log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    object_ref: Option<Object>,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(default)]
    api_group: String,
    resource: String,
    subresource: Option<String>,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(default, rename = "authorization.k8s.io/decision")]
    decision: String,
    /// Names the binding and the role.
    #[serde(default, rename = "authorization.k8s.io/reason")]
    reason: String,
}

/// Compares all rights with the requests of all scenarios so far.
pub(crate) fn rights(lab: &Lab) -> Result<(), String> {
    let granted = granted(lab)?;
    let (used, denied) = asked(lab)?;
    let extra: Vec<_> = granted.difference(&used).collect();
    println!(
        "  {} rights, {} of them used",
        granted.len(),
        granted.len() - extra.len()
    );
    if granted.is_empty() || !extra.is_empty() || !denied.is_empty() {
        return Err(format!("never used: {extra:?}\ndenied: {denied:?}"));
    }
    Ok(())
}

/// The rights that the manifests grant with all components.
fn granted(lab: &Lab) -> Result<BTreeSet<Right>, String> {
    let folder = lab.path("deploy/kubernetes/overlays/rights");
    let file = format!("{folder}/kustomization.yaml");
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, ALL));
    written.map_err(|error| format!("{file}: {error}"))?;
    let rendered = lab.kubectl(&["kustomize", &folder])?;
    let file = lab.path("rights.yaml");
    fs::write(&file, rendered).map_err(|error| format!("{file}: {error}"))?;
    let objects = lab.kubectl(&[
        "create",
        "--dry-run=client",
        "--output=json",
        "--filename",
        &file,
    ])?;
    let mut granted = BTreeSet::new();
    for object in serde_json::Deserializer::from_str(&objects).into_iter::<Value>() {
        let object = object.map_err(|error| format!("{file}: {error}"))?;
        let items = object["items"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![object]);
        granted.extend(
            items
                .iter()
                .filter(|item| is_role(item))
                .flat_map(rights_of),
        );
    }
    Ok(granted)
}

fn is_role(object: &Value) -> bool {
    object["kind"] == "ClusterRole" || object["kind"] == "Role"
}

fn rights_of(role: &Value) -> BTreeSet<Right> {
    let texts = |value: &Value| -> Vec<String> {
        let texts = value.as_array().into_iter().flatten();
        texts
            .filter_map(|text| Some(text.as_str()?.to_owned()))
            .collect()
    };
    let name = format!(
        "{} \"{}\"",
        text(&role["kind"]),
        text(&role["metadata"]["name"])
    );
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.insert(Right {
                        role: name.clone(),
                        verb,
                        group: group.clone(),
                        resource: resource.clone(),
                    });
                }
            }
        }
    }
    rights
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The rights by which the API server has let requests pass, and the requests that it has always denied.
fn asked(lab: &Lab) -> Result<(BTreeSet<Right>, BTreeSet<String>), String> {
    let file = lab.path("log/audit.json");
    let log = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let (mut used, mut denied) = (
        BTreeSet::<Right>::new(),
        BTreeSet::<(String, String, String)>::new(),
    );
    for line in log.lines() {
        let event: Event =
            serde_json::from_str(line).map_err(|error| format!("{file}: {error}: {line}"))?;
        let Some(object) = event.object_ref.filter(|_| event.user.username == USER) else {
            continue;
        };
        let subresource = object
            .subresource
            .map(|name| format!("/{name}"))
            .unwrap_or_default();
        let resource = object.resource + &subresource;
        if event.annotations.decision != "allow" {
            denied.insert((event.verb, object.api_group, resource));
            continue;
        }
        used.insert(Right {
            role: role_in(&event.annotations.reason).to_owned(),
            verb: event.verb,
            group: object.api_group,
            resource,
        });
    }
    // While the manifests are deleted and applied anew, the roles are away for a moment.
    denied.retain(|(verb, group, resource)| {
        let is_same =
            |right: &Right| (&right.verb, &right.group, &right.resource) == (verb, group, resource);
        !used.iter().any(is_same)
    });
    let shown = |(verb, group, resource)| format!("{verb} {resource} {group:?}");
    Ok((used, denied.into_iter().map(shown).collect()))
}

/// The role in a reason such as `RBAC: allowed by RoleBinding "b/ns" of Role "r" to ServiceAccount "s/ns"`.
fn role_in(reason: &str) -> &str {
    let role = reason.split(" of ").nth(1).unwrap_or_default();
    role.split(" to ").next().unwrap_or_default()
}
