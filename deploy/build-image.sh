#!/usr/bin/env bash
# Builds the image of deploy/Dockerfile from static binaries, for this machine's architecture.
#
#   deploy/build-image.sh [TAG]      as root where packages are missing; localhost/whereabouts:VERSION by default
#
# Needs no container daemon: buildah builds it in a chroot. The default TAG is the one of the manifests. So either load the
# image onto each node (`buildah push TAG docker-archive:FILE:TAG` and there `ctr -n k8s.io images import FILE`), or push it
# (`buildah push TAG REGISTRY/...`) and name the registry in an overlay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

package=$(cargo pkgid --package whereabouts-cni)
tag=${1:-localhost/whereabouts:${package##*[#@]}}

main() {
    deploy/install-packages.sh buildah:buildah
    context=$(mktemp -d)
    trap 'rm -rf "$context"' EXIT
    deploy/release/binaries.sh "$(uname -m)" "$context"
    deploy/release/licenses.py >"$context/THIRD-PARTY-LICENSES"
    cp LICENSE NOTICE "$context"
    deploy/buildah.sh bud --isolation chroot --tag "$tag" --file deploy/Dockerfile "$context"
}

main
