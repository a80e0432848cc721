#!/usr/bin/env bash
# Checks what is deployed: every overlay renders and fits Kubernetes' schemas, and the image can be built and
# what is in it executed.
#
#   deploy/render-check.sh      as root where packages are missing
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The oldest and the newest that the schemas have and that people run.
kubernetes_versions=(1.28 1.37)
image=localhost/whereabouts-check:latest

main() {
    deploy/install-packages.sh buildah:buildah kubernetes-client:kubectl openssl:openssl python3-pip:pip3
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
    check_that_it_can_fail
    check_image
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
    echo "$name: $(grep -c '^kind:' "$rendered") objects fit Kubernetes ${kubernetes_versions[*]}"
}

validate() { # VERSION FILE
    PYTHONPATH=$work/python python3 -W ignore -m kubernetes_validate --strict --no-warn -k "$1" "$2" 2>&1
}

# A validator that takes everything would say nothing.
check_that_it_can_fail() {
    sed 's/readOnlyRootFilesystem:/readOnlyRootFileSystem:/' "$work/lab.yaml" >"$work/wrong.yaml"
    ! validate "${kubernetes_versions[0]}" "$work/wrong.yaml" >/dev/null ||
        fail "a misspelt key was not found"
}

check_image() {
    local root
    deploy/build-image.sh "$image" >"$work/build.log" 2>&1 || fail "no image:" "$(tail "$work/build.log")"
    container=$(buildah --storage-driver vfs from "$image")
    root=$(buildah --storage-driver vfs mount "$container")
    echo "in the image: $(cd "$root" && find . -type f | sort | tr '\n' ' ')"
    # It installs the plugin that is beside it.
    inside --version
    inside install --bin-dir /node/bin --config-dir /node/config --node-name node-1
    CNI_COMMAND=VERSION chroot "$root" /node/bin/whereabouts <<<'{"cniVersion": "1.0.0"}' | jq -e .cniVersion
    inside uninstall --bin-dir /node/bin --config-dir /node/config
    [[ -z $(find "$root/node" -type f) ]] || fail "something is left of the installation"
    buildah --storage-driver vfs rm "$container" >/dev/null
}

inside() { # ARGUMENT ...: of the tool, in the container
    buildah --storage-driver vfs run --isolation chroot "$container" -- /whereaboutsctl "$@"
}

clean_up() {
    buildah --storage-driver vfs rmi --force "$image" >/dev/null 2>&1 || true
    rm -rf "$work"
}

fail() {
    printf 'render-check: %s\n' "$*" >&2
    exit 1
}

main
