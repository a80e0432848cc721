#!/usr/bin/env bash
# Pushes a release's image and chart to a registry, and prints what was pushed as NAME=VALUE lines.
#
#   deploy/release/push.sh ASSETS REPOSITORY      the image to REPOSITORY, the chart below REPOSITORY/charts
#
# Needs skopeo and helm, logged in to the registry as Docker is. First the checksums are verified.
#
#   PLAIN_HTTP=yes     for a registry of a test
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
helm=${HELM:-helm}

main() {
    (($# == 2)) || fail "usage: deploy/release/push.sh ASSETS REPOSITORY"
    local assets=$1 repository=$2 digest
    (cd "$assets" && sha256sum --check --quiet --strict SHA256SUMS) || fail "the checksums of $assets are wrong"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    push_image "$assets/whereabouts-$version-image.oci.tar" "$repository"
    push_chart "$assets/whereabouts-chart-$version.tgz" "$repository"
}

# All of the index: both architectures, with the digest that the archive has.
push_image() { # ARCHIVE REPOSITORY
    local options=()
    [[ -z ${PLAIN_HTTP:-} ]] || options=(--dest-tls-verify=false)
    skopeo copy --quiet --all --preserve-digests --digestfile "$work/digest" "${options[@]}" "oci-archive:$1:$version" "docker://$2:$version" >&2
    echo "image=$2"
    echo "image-digest=$(<"$work/digest")"
}

push_chart() { # FILE REPOSITORY
    local options=() digest
    [[ -z ${PLAIN_HTTP:-} ]] || options=(--plain-http)
    "$helm" push "$1" "oci://$2/charts" "${options[@]}" >"$work/said" 2>&1 || fail "helm push:" "$(<"$work/said")"
    digest=$(sed -n 's/^Digest: //p' "$work/said")
    [[ $digest == sha256:* ]] || fail "helm does not say the chart's digest:" "$(<"$work/said")"
    echo "chart=$2/charts/whereabouts"
    echo "chart-digest=$digest"
}

fail() {
    printf 'push: %s\n' "$*" >&2
    exit 1
}

main "$@"
