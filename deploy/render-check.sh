#!/usr/bin/env bash
# Checks the deployment: every overlay renders, fits Kubernetes' schemas and can stand beside the original whereabouts;
# the image can be built, and the programs in it can be executed.
#
#   deploy/render-check.sh [manifests]      as root where packages are missing; `manifests` leaves the image out
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The oldest and the newest that the schemas have and that people run.
kubernetes_versions=(1.28 1.37)
image=localhost/whereabouts-check:latest
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
    check_webhook admission
    check_webhook admission admission-pods
    check_webhook admission admission-cert-manager
    check_that_it_can_fail
    [[ ${1:-} == manifests ]] || check_image
}

check_overlay() { # DIRECTORY
    local name=${1##*/} version rendered
    rm -rf "$1/certificates"
    deploy/make-certificates.sh "$1/certificates" 10.96.0.79
    rendered=$work/$name.yaml
    if ! kubectl kustomize "$1" >"$rendered" 2>"$work/said"; then
        # Debian 12's kubectl is of before 1.21, which wants directories to be named elsewhere.
        sed -i '/^  - \.\.\/\.\.\/base$/d' "$1/kustomization.yaml"
        echo 'bases: [../../base]' >>"$1/kustomization.yaml"
        sed -i '/^resources:$/{N;s/^resources:\n\(generatorOptions\)/\1/}' "$1/kustomization.yaml"
        kubectl kustomize "$1" >"$rendered"
    fi
    for version in "${kubernetes_versions[@]}"; do
        validate "$version" "$rendered" >"$work/said" || fail "$name:" "$(<"$work/said")"
    done
    faults "$rendered" >"$work/said"
    [[ ! -s $work/said ]] || fail "$name:" "$(<"$work/said")"
    echo "$name: $(grep -c '^kind:' "$rendered") objects fit Kubernetes ${kubernetes_versions[*]}"
}

check_component() {
    local overlay=$work/kubernetes/overlays/lab
    echo 'components: [../../replace-foreign]' >>"$overlay/kustomization.yaml"
    kubectl kustomize "$overlay" >"$work/replacing.yaml"
    [[ $(diff "$work/lab.yaml" "$work/replacing.yaml" | grep '^[<>]') == ">"*"- --replace-foreign" ]] ||
        fail "the component replace-foreign does something else"
}

check_webhook() { # COMPONENT ...: the last one gives the result its name
    local overlay=$work/kubernetes/overlays/webhook-${*: -1} rendered=$work/${*: -1}.yaml version list
    cp -r "$work/kubernetes/overlays/lab" "$overlay"
    printf -v list ', ../../%s' "$@"
    sed -i '/^components:/d' "$overlay/kustomization.yaml"
    echo "components: [${list#, }]" >>"$overlay/kustomization.yaml"
    kubectl kustomize "$overlay" >"$rendered"
    # The schemas do not have the kinds of cert-manager.
    PYTHONPATH=$work/python python3 -c 'import sys, yaml; yaml.safe_dump_all((one for one in yaml.safe_load_all(sys.stdin)
        if not one["apiVersion"].startswith("cert-manager.io/")), sys.stdout)' <"$rendered" >"$work/known.yaml"
    for version in "${kubernetes_versions[@]}"; do
        validate "$version" "$work/known.yaml" >"$work/said" || fail "$*:" "$(<"$work/said")"
    done
    faults "$rendered" >"$work/said"
    [[ ! -s $work/said ]] || fail "$*:" "$(<"$work/said")"
    echo "lab with $*: $(grep -c '^kind:' "$rendered") objects fit Kubernetes ${kubernetes_versions[*]}"
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
        .[] | "\(.kind) \(.metadata.name)" as $object | (
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
            (.rules[]? | select([.apiGroups, .resources, .verbs] | flatten | index("*")) | "has every right to something"),
            (mounts.mountPath | select(. == "/etc/cni/net.d") | "mounts the configurations of other plugins"),
            (.rules[]? | select((.resources // []) == ["secrets"] and (.resourceNames | not)) | "may use every Secret"),
            (.webhooks[]? | select(.failurePolicy != "Ignore" or .timeoutSeconds > 3 or .sideEffects != "None") |
                "\(.name): stands in the way"),
            (.webhooks[]? | select(.matchConditions | not) | "\(.name): is asked about objects of others")
        ) | "\($object): \(.)"'
}

# A check that accepts everything would say nothing.
check_that_it_can_fail() {
    ! validate "${kubernetes_versions[0]}" <(wrong readOnlyRootFilesystem: readOnlyRootFileSystem:) >/dev/null ||
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
- watch|- '*'|has every right to something
mountPath: /etc/cni/net.d/whereabouts.d|mountPath: /etc/cni/net.d|mounts the configurations of other plugins
failurePolicy: Ignore|failurePolicy: Fail|stands in the way
matchConditions:|x-conditions:|is asked about objects of others
- whereabouts-webhook$|&\n  resourceNames:|may use every Secret
name: whereabouts-networks|name: whereabouts-cni|has a name of the original
FAULTS
}

wrong() { # RIGHT WRONG: the lab's objects, with those of the webhook, and with one fault
    sed "s|$1|$2|" "$work/admission.yaml"
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
