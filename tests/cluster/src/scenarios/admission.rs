//! Networks that the webhook judges when they are made, changed and deleted; and what happens without it.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{LIMIT, Site, expect};
use crate::install::{apply_overlay, kubectl};
use crate::lab::{Lab, NODES, wait_until};
use crate::objects::pod;

const DEPLOYMENT: &str = "deployment/whereabouts-reconcile";
const CONFIGURATIONS: [&str; 2] = ["whereabouts-networks", "whereabouts-pods"];
const COMPONENTS: &str = "components: [../../admission, ../../admission-pods]\n";

/// How long the controllers may need to agree on a new certificate: each looks every 30 seconds.
const AGREEMENT: Duration = Duration::from_secs(90);

/// Good networks pass, bad ones are denied in the plugin's words, doubtful ones are warned of; without the webhook all pass.
pub(super) fn admission(lab: &Lab) -> Result<(), String> {
    let before = start(lab)?;
    let site = Site::open(lab, "admission")?;
    good_networks_pass(&site)?;
    bad_networks_are_denied(&site)?;
    networks_of_others_pass(&site)?;
    doubtful_networks_are_warned_of(&site)?;
    stranded_claims_are_counted(&site)?;
    a_pod_of_a_full_range_is_warned_of(&site)?;
    answers_are_quick(lab)?;
    both_replicas_take_a_new_certificate(lab)?;
    without_the_webhook_networks_pass(&site)?;
    site.close()?;
    end(lab, &before)
}

/// Includes the components, and waits until a bad network is denied. Returns the overlay as it was.
fn start(lab: &Lab) -> Result<String, String> {
    let file = lab.path(&format!("{}/kustomization.yaml", lab.datastore().overlay()));
    let wrong = |error: std::io::Error| format!("{file}: {error}");
    let before = fs::read_to_string(&file).map_err(wrong)?;
    fs::write(&file, format!("{before}{COMPONENTS}")).map_err(wrong)?;
    apply_overlay(lab)?;
    // The API server's way to services leads over the first node, and from there to no pod of another node.
    let local = r#"{"spec": {"internalTrafficPolicy": "Local"}}"#;
    kubectl(
        lab,
        &["patch", "service", "whereabouts-webhook", "--patch", local],
    )?;
    kubectl(lab, &["rollout", "status", DEPLOYMENT, "--timeout=180s"])?;
    spread(lab)?;
    wait_until_denied(lab)?;
    Ok(before)
}

/// Sees that each node has a replica: this is what the scheduler prefers, and no more. A node that has come back a moment
/// ago may have none.
fn spread(lab: &Lab) -> Result<(), String> {
    for _ in 0..5 {
        let replicas = replicas(lab)?;
        let on = |node: &str| replicas.iter().any(|pod| pod["spec"]["nodeName"] == node);
        if NODES.iter().all(|node| on(node)) {
            return Ok(());
        }
        let surplus = replicas
            .first()
            .and_then(|pod| pod["metadata"]["name"].as_str());
        kubectl(
            lab,
            &["delete", "pod", surplus.ok_or("there is no replica")?],
        )?;
        kubectl(lab, &["rollout", "status", DEPLOYMENT, "--timeout=180s"])?;
    }
    Err("the replicas stay on one node".to_owned())
}

/// The pods of the Deployment that are not being deleted.
fn replicas(lab: &Lab) -> Result<Vec<Value>, String> {
    let pods = lab.get(&[
        "pods",
        "--namespace=kube-system",
        "--selector=app.kubernetes.io/name=whereabouts-reconcile",
    ])?;
    let pods = pods["items"].as_array().into_iter().flatten();
    let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    Ok(pods.filter(stays).cloned().collect())
}

fn wait_until_denied(lab: &Lab) -> Result<(), String> {
    let bad = network(
        "default",
        "bad",
        &json!({"type": "whereabouts", "range": "x"}),
    );
    wait_until(AGREEMENT, || {
        let (is_done, told) = lab.create(&bad, &["--dry-run=server"]);
        Ok(is_done.then(|| format!("a bad network passes: {told}")))
    })
}

/// Takes the components out again.
fn end(lab: &Lab, before: &str) -> Result<(), String> {
    let file = lab.path(&format!("{}/kustomization.yaml", lab.datastore().overlay()));
    fs::write(&file, before).map_err(|error| format!("{file}: {error}"))?;
    apply_overlay(lab)?;
    for name in CONFIGURATIONS {
        kubectl(lab, &["delete", "validatingwebhookconfiguration", name])?;
    }
    for kind in ["service", "secret"] {
        kubectl(lab, &["delete", kind, "whereabouts-webhook"])?;
    }
    for kind in ["clusterrole", "clusterrolebinding", "role", "rolebinding"] {
        kubectl(lab, &["delete", kind, "whereabouts-admission"])?;
    }
    kubectl(lab, &["delete", "networkpolicy", "whereabouts-reconcile"])?;
    kubectl(lab, &["rollout", "status", DEPLOYMENT, "--timeout=180s"]).map(drop)
}

fn config(name: &str, ipam: &Value) -> Value {
    json!({"cniVersion": "1.0.0", "name": name, "type": "macvlan", "master": "eth1", "mode": "bridge", "ipam": ipam})
}

fn network(namespace: &str, name: &str, ipam: &Value) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"config": config(name, ipam).to_string()},
    })
}

fn ours(keys: &Value) -> Value {
    let mut ipam = keys.clone();
    ipam["type"] = json!("whereabouts");
    ipam
}

/// Applies an object that passes, and returns the warnings that kubectl prints.
fn warnings(lab: &Lab, object: &Value) -> Result<String, String> {
    let (is_done, told) = lab.create(object, &[]);
    if !is_done {
        return Err(format!("it does not pass: {told}"));
    }
    Ok(only_warnings(&told))
}

fn only_warnings(told: &str) -> String {
    let lines = told.lines().filter(|line| line.starts_with("Warning: "));
    lines.collect::<Vec<_>>().join("\n")
}

fn expect_part(what: &str, told: &str, part: &str) -> Result<(), String> {
    let is_there = told.contains(part);
    is_there
        .then_some(())
        .ok_or_else(|| format!("{what}: {part:?} is not in {told:?}"))
}

fn good_networks_pass(site: &Site<'_>) -> Result<(), String> {
    let both = json!({"ipRanges": [{"range": "10.70.1.0/24"}, {"range": "fd00:70::/64"}]});
    for (name, ipam) in [("good", json!({"range": "10.70.0.0/24"})), ("both", both)] {
        let object = network(site.namespace, name, &ours(&ipam));
        let told = warnings(site.lab, &object)?;
        expect(&format!("warnings of {name}"), told.as_str(), "")?;
    }
    Ok(())
}

/// Each is denied, and the plugin itself answers the same words to an ADD.
fn bad_networks_are_denied(site: &Site<'_>) -> Result<(), String> {
    for ipam in [
        json!({"range": "10.71.0.0/33"}),
        json!({"range": "10.71.0.0/24", "rangeStart": "10.71.0.9"}),
        json!({"range": "10.71.0.0/24", "range_start": "10.72.0.1"}),
        json!({"range": "10.71.0.0/24", "exclude": ["x"]}),
        json!({"range": "10.71.0.0/24", "rnage": "10.71.0.0/24"}),
        json!({"ipRanges": [{"range": "10.71.0.0/24"}, {"range": "y"}]}),
        // The node's flat file says where etcd is, and a network may not.
        json!({"range": "10.71.0.0/24", "etcd_host": "10.9.9.9:2379"}),
        json!({}),
    ] {
        let ipam = ours(&ipam);
        let (is_done, told) = site.lab.create(&network(site.namespace, "bad", &ipam), &[]);
        expect(&format!("{ipam} passes: {told}"), is_done, false)?;
        expect_part(
            "the denial",
            &told,
            r#"admission webhook "networks.webhook.whereabouts" denied the request"#,
        )?;
        let words = words_of_add(site.lab, &config("bad", &ipam))?;
        expect_part(&format!("the plugin's words on {ipam}"), &told, &words)?;
    }
    Ok(())
}

/// The details of the plugin's answer to an ADD on a node.
fn words_of_add(lab: &Lab, config: &Value) -> Result<String, String> {
    let config = config.to_string().replace('\'', "");
    let variables = "CNI_COMMAND=ADD CNI_CONTAINERID=c CNI_NETNS=/run/netns/n CNI_IFNAME=net1 CNI_PATH=/opt/cni/bin";
    let answer = lab.script(
        NODES[0],
        &format!("{variables} /opt/cni/bin/whereabouts <<<'{config}' || true"),
    )?;
    let answer: Value =
        serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))?;
    let details = answer["details"]
        .as_str()
        .filter(|details| !details.is_empty());
    let words = details.or(answer["msg"].as_str());
    words
        .map(str::to_owned)
        .ok_or_else(|| format!("ADD of {config} has answered {answer}"))
}

fn networks_of_others_pass(site: &Site<'_>) -> Result<(), String> {
    let host_local =
        json!({"type": "host-local", "ranges": [[{"subnet": "no range of whereabouts"}]]});
    let mut empty = network(site.namespace, "empty", &json!({}));
    empty["spec"] = json!({});
    for object in [network(site.namespace, "host-local", &host_local), empty] {
        let told = warnings(site.lab, &object)?;
        expect("warnings of a network of others", told.as_str(), "")?;
    }
    Ok(())
}

fn doubtful_networks_are_warned_of(site: &Site<'_>) -> Result<(), String> {
    for (name, ipam, part) in [
        (
            "wide",
            json!({"range": "10.70.0.0/20", "network_name": "own"}),
            "overlap in different pools: an address can be given twice",
        ),
        (
            "gateway",
            json!({"range": "10.70.0.0/25", "gateway": "10.70.0.7"}),
            "range 10.70.0.0/24 of pool (shared) (NetworkAttachmentDefinition admission/good) share addresses",
        ),
        (
            "service",
            json!({"range": "10.96.3.0/24"}),
            "range 10.96.3.0/24 of pool (shared) overlaps 10.96.0.0/16, the Service range of ServiceCIDR kubernetes",
        ),
        (
            "outside",
            json!({"range": "10.73.0.0/24", "exclude": ["10.9.0.0/24"]}),
            "ipam.exclude[0]: \"10.9.0.0/24\" is outside",
        ),
    ] {
        let object = network(site.namespace, name, &ours(&ipam));
        // The webhook hears of other networks a moment later than kubectl.
        wait_for_warning(site.lab, &object, part)?;
    }
    Ok(())
}

/// Tries an object until kubectl prints `part` as a warning, and then applies it.
fn wait_for_warning(lab: &Lab, object: &Value, part: &str) -> Result<String, String> {
    wait_until(LIMIT, || {
        let (is_done, told) = lab.create(object, &["--dry-run=server"]);
        let is_told = is_done && only_warnings(&told).contains(part);
        Ok((!is_told).then(|| format!("{part:?} is not in {told:?}")))
    })?;
    warnings(lab, object)
}

/// Three pods of a network; its range loses the addresses of two of them, and then it goes.
fn stranded_claims_are_counted(site: &Site<'_>) -> Result<(), String> {
    let object = |ipam: Value| network(site.namespace, "net", &ours(&ipam));
    let whole = object(json!({"range": "10.74.0.0/24"}));
    expect("warnings", warnings(site.lab, &whole)?.as_str(), "")?;
    let pods = ["one", "two", "three"].map(|name| pod(site.namespace, name, &["net"]));
    site.lab.apply(&pods)?;
    site.settles_at(3)?;
    let larger = object(json!({"range": "10.74.0.0/24", "gateway": "10.74.0.200"}));
    let told = warnings(site.lab, &larger)?;
    expect("a change that strands no claim", told.as_str(), "")?;
    let small = object(json!({"range": "10.74.0.0/24", "range_start": "10.74.0.3"}));
    let told = warnings(site.lab, &small)?;
    expect_part(
        "a change that strands two claims",
        &told,
        "2 claims of network net would be outside of its ranges, such as 10.74.0.",
    )?;
    let (_, told) = site.lab.delete(&small);
    expect_part(
        "a deletion",
        &told,
        "3 claims of network net would be outside",
    )?;
    warnings(site.lab, &whole)?;
    site.kubectl(&["delete", "pod", "one", "two", "three"])?;
    site.settles_at(0)
}

/// A range of two addresses, and a third pod.
fn a_pod_of_a_full_range_is_warned_of(site: &Site<'_>) -> Result<(), String> {
    let object = network(
        site.namespace,
        "tiny",
        &ours(&json!({"range": "10.75.0.0/30"})),
    );
    warnings(site.lab, &object)?;
    for name in ["first", "second"] {
        let told = warnings(site.lab, &pod(site.namespace, name, &["tiny"]))?;
        expect("warnings of a pod", told.as_str(), "")?;
    }
    site.settles_at(2)?;
    let third = pod(site.namespace, "third", &["tiny"]);
    let part = "range 10.75.0.0/30 of pool (shared) is full";
    wait_for_warning(site.lab, &third, part)?;
    site.kubectl(&["delete", "pod", "third", "--force", "--grace-period=0"])?;
    site.kubectl(&["delete", "pod", "first", "second"])?;
    site.settles_at(0)
}

/// The mean time of all reviews so far, by the metrics of the replica that the API server asks.
fn answers_are_quick(lab: &Lab) -> Result<(), String> {
    let replicas = replicas(lab)?;
    let here = replicas
        .iter()
        .find(|pod| pod["spec"]["nodeName"] == NODES[0]);
    let address = here.and_then(|pod| pod["status"]["podIP"].as_str());
    let address = address.ok_or("no replica is on the first node")?;
    let text = lab.script(
        NODES[0],
        &format!("curl --silent --fail http://{address}:9470/metrics"),
    )?;
    let sum = |name: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    };
    let (reviews, seconds) = (
        sum("whereabouts_admission_reviews_total"),
        sum("whereabouts_admission_seconds_total"),
    );
    let mean = seconds / reviews * 1e3;
    println!("  {reviews} reviews, {mean:.1} ms each");
    if reviews < 10.0 || mean > 20.0 {
        return Err(format!("{reviews} reviews took {mean:.1} ms each"));
    }
    Ok(())
}

/// The Secret is emptied. Both replicas then show one new certificate, and the API server trusts it.
fn both_replicas_take_a_new_certificate(lab: &Lab) -> Result<(), String> {
    let authority = || -> Result<String, String> {
        let secret = lab.get(&["secret", "--namespace=kube-system", "whereabouts-webhook"])?;
        Ok(secret["data"]["ca.crt"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };
    let before = authority()?;
    let empty = r#"{"data": null}"#;
    kubectl(
        lab,
        &[
            "patch",
            "secret",
            "whereabouts-webhook",
            "--type=merge",
            "--patch",
            empty,
        ],
    )?;
    for node in NODES {
        wait_until(AGREEMENT, || {
            let now = authority()?;
            if now.is_empty() || now == before {
                return Ok(Some("there is no new certificate".to_owned()));
            }
            Ok(ask_by_hand(lab, node, &now).err())
        })?;
    }
    for name in CONFIGURATIONS {
        let configuration = lab.get(&["validatingwebhookconfiguration", name])?;
        let bundle = &configuration["webhooks"][0]["clientConfig"]["caBundle"];
        expect(name, bundle.as_str(), Some(authority()?.as_str()))?;
    }
    wait_until_denied(lab)
}

/// Asks the replica of a node as the API server does, and trusts only `authority`.
fn ask_by_hand(lab: &Lab, node: &str, authority: &str) -> Result<(), String> {
    let service = lab.get(&["service", "--namespace=kube-system", "whereabouts-webhook"])?;
    let address = service["spec"]["clusterIP"].as_str().unwrap_or_default();
    let name = "whereabouts-webhook.kube-system.svc";
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "by-hand", "operation": "CREATE", "namespace": "default", "name": "net",
        "resource": {"group": "k8s.cni.cncf.io", "version": "v1", "resource": "network-attachment-definitions"},
        "object": network("default", "net", &json!({"type": "whereabouts", "range": "x"})),
    }});
    let file = lab.path("review.json");
    fs::write(&file, review.to_string()).map_err(|error| format!("{file}: {error}"))?;
    let answer = lab.script(
        node,
        &format!(
            "curl --silent --show-error --fail --max-time 5 --resolve {name}:443:{address} \
             --cacert <(base64 --decode <<<'{authority}') --data @{file} https://{name}/validate"
        ),
    )?;
    expect_part("the answer", &answer, r#""allowed":false"#)
}

/// Without the webhook a bad network passes, and soon.
fn without_the_webhook_networks_pass(site: &Site<'_>) -> Result<(), String> {
    let scale = |replicas: &str| {
        kubectl(site.lab, &["scale", DEPLOYMENT, replicas])?;
        kubectl(
            site.lab,
            &["rollout", "status", DEPLOYMENT, "--timeout=180s"],
        )
    };
    scale("--replicas=0")?;
    let bad = network(site.namespace, "bad", &ours(&json!({"range": "x"})));
    wait_until(LIMIT, || {
        let (is_done, told) = site.lab.create(&bad, &[]);
        Ok((!is_done).then_some(told))
    })?;
    scale("--replicas=2")?;
    wait_until_denied(site.lab)
}
