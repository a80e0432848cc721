#!/usr/bin/env bash
# Checks the deployment: every overlay renders, fits Kubernetes' schemas and can stand beside the original whereabouts;
# the Helm chart gives the same objects; the image can be built, and the programs in it can be executed.
#
#   deploy/render-check.sh [manifests]      as root where packages are missing; `manifests` leaves the image out
#
# Helm is built by tests/parts.sh: 2 minutes with Go 1.26 on a new machine, and seconds later.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The oldest and the newest that the schemas have and that people run.
kubernetes_versions=(1.29 1.37)
# The same for the datastore `kubernetes`, which needs the node's name in each token.
datastore_versions=(1.32 1.37)
image=localhost/whereabouts-check-$$
package=$(cargo pkgid --package whereabouts-cni)
# Names of objects in the manifests of the original: daemonset-install.yaml, the chart, node-slice-controller.yaml and
# OpenShift's operator.
original_names='[
    "whereabouts", "whereabouts-cni", "whereabouts-config", "whereabouts-controller", "whereabouts-token",
    "whereabouts-reconciler", "whereabouts-flatfile-config", "whereabouts-shim", "node-slice-controller",
    "whereabouts.cni.cncf.io", "ippools.whereabouts.cni.cncf.io", "nodeslicepools.whereabouts.cni.cncf.io",
    "overlappingrangeipreservations.whereabouts.cni.cncf.io"
]'

main() {
    local packages=(kubernetes-client:kubectl openssl:openssl python3-pip:pip3)
    [[ ${1:-} == manifests ]] || packages+=(buildah:buildah)
    deploy/install-packages.sh "${packages[@]}"
    work=$(mktemp -d)
    trap 'clean_up' EXIT
    pip3 install --quiet --disable-pip-version-check --root-user-action ignore --require-hashes \
        --target "$work/python" --requirement deploy/render-requirements.txt
    # A copy: certificates are made for it, and nobody's are touched.
    cp -r deploy/kubernetes "$work/kubernetes"
    local overlay
    for overlay in "$work"/kubernetes/overlays/*/; do
        check_overlay "${overlay%/}"
    done
    # Its kind of policy is newer than the oldest Kubernetes.
    validate "${kubernetes_versions[-1]}" deploy/kubernetes/fence.yaml >"$work/said" || fail "fence.yaml:" "$(<"$work/said")"
    check_component
    check_with admission
    check_with admission admission-pods
    check_with admission admission-cert-manager
    check_with kubectl
    check_with network-policies
    check_with k3s
    check_with openshift
    check_with monitoring
    check_on kubernetes kubernetes-all admission network-policies monitoring k3s
    check_on kubernetes kubernetes-openshift openshift
    check_that_it_can_fail
    check_chart
    [[ ${1:-} == manifests ]] || check_image
}

check_overlay() { # DIRECTORY
    local name=${1##*/} rendered
    local versions=("${kubernetes_versions[@]}")
    if [[ $name == kubernetes ]]; then
        versions=("${datastore_versions[@]}")
    else
        rm -rf "$1/certificates"
        deploy/make-certificates.sh "$1/certificates" 10.96.0.79
    fi
    rendered=$work/$name.yaml
    if ! kubectl kustomize "$1" >"$rendered" 2>"$work/said"; then
        # Debian 12's kubectl is of before 1.21, which wants directories to be named elsewhere.
        sed -i '/^  - \.\.\/\.\.\/base$/d' "$1/kustomization.yaml"
        echo 'bases: [../../base]' >>"$1/kustomization.yaml"
        sed -i '/^resources:$/{N;s/^resources:\n\(generatorOptions\)/\1/}' "$1/kustomization.yaml"
        kubectl kustomize "$1" >"$rendered"
    fi
    check_rendered "$name" "$rendered" "${versions[@]}"
}

check_rendered() { # NAME FILE VERSION ...
    local version
    for version in "${@:3}"; do
        validate "$version" "$2" >"$work/said" || fail "$1:" "$(<"$work/said")"
    done
    faults "$2" >"$work/said"
    [[ ! -s $work/said ]] || fail "$1:" "$(<"$work/said")"
    echo "$1: $(grep -c '^kind:' "$2") objects fit Kubernetes ${*:3}"
}

check_component() {
    local overlay=$work/kubernetes/overlays/lab
    echo 'components: [../../replace-foreign]' >>"$overlay/kustomization.yaml"
    kubectl kustomize "$overlay" >"$work/replacing.yaml"
    [[ $(diff "$work/lab.yaml" "$work/replacing.yaml" | grep '^[<>]') == ">"*"- --replace-foreign" ]] ||
        fail "the component replace-foreign does something else"
}

check_with() { # COMPONENT ...: on the lab. The last one gives the result its name
    check_on lab "${*: -1}" "$@"
}

check_on() { # OVERLAY RESULT COMPONENT ...
    local overlay=$work/kubernetes/overlays/with-$2 rendered=$work/$2.yaml version list
    local versions=("${kubernetes_versions[@]}")
    [[ $1 != kubernetes ]] || versions=("${datastore_versions[@]}")
    cp -r "$work/kubernetes/overlays/$1" "$overlay"
    printf -v list ', ../../%s' "${@:3}"
    sed -i '/^components:/d' "$overlay/kustomization.yaml"
    echo "components: [${list#, }]" >>"$overlay/kustomization.yaml"
    kubectl kustomize "$overlay" >"$rendered"
    # The schemas do not have the kinds of cert-manager and of the Prometheus Operator.
    PYTHONPATH=$work/python python3 -c 'import sys, yaml; yaml.safe_dump_all((one for one in yaml.safe_load_all(sys.stdin)
        if not one["apiVersion"].startswith(("cert-manager.io/", "monitoring.coreos.com/"))), sys.stdout)' <"$rendered" >"$work/known.yaml"
    for version in "${versions[@]}"; do
        validate "$version" "$work/known.yaml" >"$work/said" || fail "$*:" "$(<"$work/said")"
    done
    faults "$rendered" >"$work/said"
    [[ ! -s $work/said ]] || fail "$*:" "$(<"$work/said")"
    echo "$1 with ${*:3}: $(grep -c '^kind:' "$rendered") objects fit Kubernetes ${versions[*]}"
}

validate() { # VERSION FILE
    PYTHONPATH=$work/python python3 -W ignore -m kubernetes_validate --strict --no-warn -k "$1" "$2" 2>&1
}

# Faults that the schemas allow, a line each.
faults() { # FILE
    PYTHONPATH=$work/python python3 -c 'import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))' \
        <"$1" | jq --raw-output --arg version "${package##*[#@]}" --argjson original "$original_names" '
        def pod: .spec.template.spec // empty;
        def containers: pod | .containers[];
        def mounts: containers | .volumeMounts[]?;
        def own: startswith("localhost/whereabouts");
        # https://kubernetes.io/docs/concepts/security/pod-security-standards: what the checks below do not have.
        def is_restricted: .securityContext as $pod | (.hostNetwork or .hostPID or .hostIPC | not)
            and all(.volumes[]?; has("configMap") or has("secret") or has("projected") or has("emptyDir"))
            and all(.containers[]; (.securityContext.seccompProfile // $pod.seccompProfile).type == "RuntimeDefault")
            and all(.containers[].ports[]?; has("hostPort") | not);
        def serves($monitor): (.spec.template.metadata.labels // {}) as $labels | [containers | .ports[]?.name] as $ports |
            ($monitor.spec.selector.matchLabels | to_entries | all($labels[.key] == .value)) and
            ([$monitor.spec.podMetricsEndpoints[].port] - $ports == []);
        . as $all | .[] | "\(.kind) \(.metadata.name)" as $object | (
            (.metadata.name | select(IN($original[])) | "has a name of the original"),
            (pod.serviceAccountName // empty | select(IN($original[])) | "has the ServiceAccount of the original"),
            (.spec.selector.matchLabels // empty | .[] | select(IN($original[])) | "selects a label of the original"),
            (containers | select(.imagePullPolicy != "IfNotPresent") | "\(.name): pulls an image that is loaded"),
            (containers | .image | select(own and . != "localhost/whereabouts:\($version)") |
                "has the image \(.), and Cargo.toml the version \($version)"),
            (containers | select(.securityContext | (.readOnlyRootFilesystem and .capabilities.drop == ["ALL"] and
                .allowPrivilegeEscalation == false) | not) | "\(.name): has more rights than it needs"),
            (select(.kind != "DaemonSet") | pod | select(
                .securityContext.runAsNonRoot or .containers[0].securityContext.runAsNonRoot | not) | "runs as root"),
            (select(.kind == "Deployment") | select(pod | is_restricted | not) | "does not fit Pod Security restricted"),
            (.rules[]? | select([.apiGroups, .resources, .verbs] | flatten | index("*")) | "has every right to something"),
            (mounts.mountPath | select(. == "/etc/cni/net.d") | "mounts the configurations of other plugins"),
            (.rules[]? | select((.resources // []) == ["secrets"] and (.resourceNames | not)) | "may use every Secret"),
            (.webhooks[]? | select(.failurePolicy != "Ignore" or .timeoutSeconds > 3 or .sideEffects != "None") |
                "\(.name): stands in the way"),
            (select(.kind == "NetworkPolicy" and .metadata.name == "whereabouts-page") | .spec.ingress[] |
                select(.from | not) | "lets everybody read the page"),
            (.rules[]? | select((.resources // []) == ["services/proxy"] and (.resourceNames | not)) | "may reach every Service"),
            (.webhooks[]? | select(.matchConditions | not) | "\(.name): is asked about objects of others"),
            (select(.kind == "PodMonitor") | . as $monitor | select(any($all[]; serves($monitor)) | not) |
                "scrapes a port that no pod has")
        ) | "\($object): \(.)"'
}

# A check that accepts everything would say nothing.
check_that_it_can_fail() {
    ! validate "${kubernetes_versions[0]}" <(sed "s|readOnlyRootFilesystem:|readOnlyRootFileSystem:|" "$work/admission.yaml") \
        >/dev/null ||
        fail "a misspelt key was not found"
    local right wrong fault
    while IFS='|' read -r right wrong fault; do
        grep -qF "$fault" <<<"$(faults <(wrong "$right" "$wrong"))" || fail "it was not found that an object $fault"
    done <<'FAULTS'
name: whereabouts-node|name: whereabouts|has a name of the original
serviceAccountName: whereabouts-page|serviceAccountName: whereabouts|has the ServiceAccount of the original
app.kubernetes.io/name: whereabouts-node|app: whereabouts|selects a label of the original
imagePullPolicy: IfNotPresent|imagePullPolicy: Always|pulls an image that is loaded
image: localhost/whereabouts:.*|image: localhost/whereabouts:latest|has the image localhost/whereabouts:latest
readOnlyRootFilesystem: true|readOnlyRootFilesystem: false|has more rights than it needs
runAsNonRoot: true|runAsNonRoot: false|runs as root
type: RuntimeDefault|type: Unconfined|does not fit Pod Security restricted
projected:|hostPath:|does not fit Pod Security restricted
- watch|- '*'|has every right to something
mountPath: /etc/cni/net.d/whereabouts.d|mountPath: /etc/cni/net.d|mounts the configurations of other plugins
failurePolicy: Ignore|failurePolicy: Fail|stands in the way
matchConditions:|x-conditions:|is asked about objects of others
- whereabouts-webhook$|&\n  resourceNames:|may use every Secret
name: whereabouts-networks|name: whereabouts-cni|has a name of the original
- from:|- x-from:|lets everybody read the page
- whereabouts-page:http$|&\n  resourceNames:|may reach every Service
- port: metrics|- port: metric|scrapes a port that no pod has
FAULTS
}

wrong() { # RIGHT WRONG: the lab's objects, with those of the webhook, of kubectl and of monitoring, and with one fault
    sed "s|$1|$2|" "$work/admission.yaml" <(echo ---) "$work/kubectl.yaml" <(echo ---) "$work/monitoring.yaml"
}

check_chart() {
    local values name
    helm=$(tests/parts.sh helm)
    helm=${helm#helm=}
    for values in deploy/chart/values.yaml deploy/chart/examples/*.yaml; do
        name=$(basename "$values" .yaml)
        "$helm" lint --strict deploy/chart --values "$values" >"$work/said" 2>&1 || fail "chart, $name:" "$(<"$work/said")"
        chart --values "$values" >"$work/chart-$name.yaml"
        check_rendered "chart, $name" "$work/chart-$name.yaml" "${kubernetes_versions[@]}"
    done
    for name in version appVersion; do
        grep -qx "$name: ${package##*[#@]}" deploy/chart/Chart.yaml || fail "the chart has another $name than Cargo.toml"
    done
    check_same_objects
    check_values
    echo "chart: same objects as the kustomization"
}

chart() { # ARGUMENT ...: the chart's objects. No name depends on the release's.
    # Some of its files are links into deploy/kubernetes, which Helm says each time.
    "$helm" template some-release deploy/chart --namespace kube-system "$@" 2> >(grep -v "found symbolic link" >&2)
}

# An operator gets the same objects from kustomize and from Helm.
check_same_objects() {
    local overlay=$work/existing-etcd.yaml endpoints component values
    # The chart makes neither the secrets of certificates nor the lab's etcd, and without endpoints no flat file.
    local charted='select(.metadata.name | test("-certificates$|-flat-file$|-etcd$") | not)'
    same "$charted" "$overlay" "$work/chart-values.yaml"
    endpoints=$(jq -c '.etcd_host | split(",")' deploy/kubernetes/overlays/existing-etcd/whereabouts.conf)
    chart --set-json "etcd.endpoints=$endpoints" >"$work/chart-endpoints.yaml"
    same 'select(.metadata.name | endswith("-certificates") | not) | del(.spec.template.metadata.annotations["checksum/flat-file"]?)' \
        "$overlay" "$work/chart-endpoints.yaml"
    chart --set datastore=kubernetes >"$work/chart-kubernetes.yaml"
    same 'del(.spec.template.metadata.annotations["checksum/flat-file"]?)' "$work/kubernetes.yaml" "$work/chart-kubernetes.yaml"
    while read -r component values; do
        chart --set "$values" >"$work/chart-$component.yaml"
        same "$charted"' | del(.spec.template.metadata.annotations["checksum/flat-file"]?)' \
            "$work/$component.yaml" "$work/chart-$component.yaml"
    done <<'COMPONENTS'
replacing node.replaceForeign=true
admission webhook.enabled=true
admission-pods webhook.enabled=true,webhook.pods=true
admission-cert-manager webhook.enabled=true,webhook.certManager=true
kubectl page.kubectl.apiServers={192.0.2.1/32}
network-policies networkPolicies.enabled=true
k3s node.binDir=/var/lib/rancher/k3s/data/cni
openshift openshift.enabled=true,node.binDir=/var/lib/cni/bin,node.configDir=/etc/kubernetes/cni/net.d/whereabouts.d
monitoring monitoring.enabled=true
kubernetes-all datastore=kubernetes,webhook.enabled=true,networkPolicies.enabled=true,monitoring.enabled=true,node.binDir=/var/lib/rancher/k3s/data/cni
kubernetes-openshift datastore=kubernetes,openshift.enabled=true,node.binDir=/var/lib/cni/bin,node.configDir=/etc/kubernetes/cni/net.d/whereabouts.d
COMPONENTS

    # Each fault in what the chart gives is a difference.
    local right wrong
    objects "$charted" "$overlay" >"$work/right.json"
    while IFS='|' read -r right wrong; do
        sed "s|$right|$wrong|" "$work/chart-values.yaml" >"$work/chart-wrong.yaml"
        objects "$charted" "$work/chart-wrong.yaml" >"$work/wrong.json"
        ! diff --brief "$work/right.json" "$work/wrong.json" >/dev/null ||
            fail "it was not found that the chart has '$wrong' for '$right'"
    done <<'FAULTS'
maxUnavailable: 10%|maxUnavailable: 20%
verbs: \[create\]|verbs: [create, delete]
app.kubernetes.io/name: whereabouts-page|app.kubernetes.io/name: page
defaultMode: 0400|defaultMode: 0440
^kind: PodDisruptionBudget|kind: Unknown
FAULTS
}

same() { # FILTER KUSTOMIZED RENDERED: the objects that the filter leaves
    objects "$1" "$2" >"$work/kustomized.json"
    objects "$1" "$3" >"$work/charted.json"
    diff --unified=9 "$work/kustomized.json" "$work/charted.json" >"$work/said" ||
        fail "the chart differs from the kustomization:" "$(<"$work/said")"
}

# FILTER FILE: without the labels that Helm adds, and the namespace that kustomize gives to a kind that it takes for a
# namespaced one. The API server drops that namespace.
objects() {
    PYTHONPATH=$work/python python3 -c 'import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))' \
        <"$2" | jq --sort-keys '
        def without_empty: if . == {} then null else . end;
        def helms: ["helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "app.kubernetes.io/version"];
        map(select(. != null) | '"$1"'
            | .metadata.labels |= ((. // {}) | with_entries(select(.key | IN(helms[]) | not)) | without_empty)
            | if .kind | IN("FlowSchema", "PriorityLevelConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding") then del(.metadata.namespace) else . end
            | if .spec.template then .spec.template.metadata.annotations |= ((. // {}) | without_empty) else . end
            | if .data["whereabouts.conf"] then .data["whereabouts.conf"] |= (gsub("\\s"; "") | @base64d | fromjson) else . end)
        | sort_by(.kind, .metadata.namespace, .metadata.name)'
}

# Each value is documented and changes what it says. A wrong one is refused.
check_values() {
    local value expected names
    names=$(PYTHONPATH=$work/python python3 -c 'import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))' \
        <deploy/chart/values.yaml | jq --raw-output '
        def values($path): if type == "object" and . != {} and ($path | last | IN("resources", "keys") | not)
            then to_entries[] | .key as $key | .value | values($path + [$key]) else $path | join(".") end;
        values([])')
    while IFS='|' read -r value expected; do
        chart --set-json "etcd.endpoints=[\"https://etcd:2379\"]" --set-json "$value" >"$work/chart-value.yaml" 2>"$work/said" ||
            fail "chart, $value:" "$(<"$work/said")"
        objects 'select(.kind == "Secret")' "$work/chart-value.yaml" >"$work/chart-flat-file.json"
        if [[ $expected == "!"* ]]; then
            ! grep -qF -- "${expected#!}" "$work/chart-value.yaml" || fail "chart, $value: there is '${expected#!}'"
        else
            grep -qF -- "$expected" "$work/chart-value.yaml" "$work/chart-flat-file.json" ||
                fail "chart, $value: there is no '$expected'"
        fi
        grep -qF "| \`${value%%=*}\` |" deploy/chart/README.md || fail "the chart's README has no value ${value%%=*}"
        names=$(grep -vxF "${value%%=*}" <<<"$names" || true)
    done < <(grep -v "^#" deploy/chart/effects)
    [[ -z $names ]] || fail "deploy/chart/effects does not say what these values change:" "$names"
    while read -r value; do
        ! chart --set-json "$value" >/dev/null 2>&1 || fail "the chart takes $value"
    done <<'REFUSED'
node.bindir="/opt/cni/bin"
node.configDir="/etc/cni/net.d"
node.binDir="opt/cni/bin"
etcd.endpoints="https://etcd:2379"
etcd.endpoints=["https://user:word@etcd:2379"]
flatFile.keys.etcd_password="word"
flatFile.keys.etcd_host="etcd:2379"
flatFile.keys.datastore="local"
datastore="local"
node.apiServer="192.0.2.1:6443"
flatFile.keys.ipam={"etcd_prefix": "x"}
image.digest="sha256:0"
controller.replicas="two"
page.listen="9469"
page.kubectl.apiServers=["10.0.0.1"]
page.kubectl.apiServers=["10.0.0.1/32"],page.enabled=false
webhook.enabled=true,controller.enabled=false
REFUSED
}

check_image() {
    local root
    deploy/build-image.sh "$image" >"$work/build.log" 2>&1 || fail "no image:" "$(tail "$work/build.log")"
    container=$(deploy/buildah.sh from "$image")
    root=$(deploy/buildah.sh mount "$container")
    echo "in the image: $(cd "$root" && find . -type f | sort | tr '\n' ' ')"
    # It installs the plugin that is beside it.
    inside --version
    inside install --bin-dir /node/bin --config-dir /node/config --node-name node-1
    CNI_COMMAND=VERSION chroot "$root" /node/bin/whereabouts <<<'{"cniVersion": "1.0.0"}' | jq -e .cniVersion
    inside uninstall --bin-dir /node/bin --config-dir /node/config
    [[ -z $(find "$root/node" -type f) ]] || fail "something is left of the installation"
    deploy/buildah.sh rm "$container" >/dev/null
}

inside() { # ARGUMENT ...: of the tool, in the container
    deploy/buildah.sh run --isolation chroot "$container" -- /whereaboutsctl "$@"
}

clean_up() {
    deploy/buildah.sh rmi --force "$image" >/dev/null 2>&1 || true
    rm -rf "$work"
}

fail() {
    printf 'render-check: %s\n' "$*" >&2
    exit 1
}

main "$@"
