#!/usr/bin/env bash
# Builds the image of deploy/Dockerfile from static binaries.
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
target=x86_64-unknown-linux-musl

main() {
    deploy/install-packages.sh buildah:buildah musl-tools:musl-gcc
    if ! rustc --print target-libdir --target "$target" | xargs test -d; then
        rustup target add "$target"
    fi
    context=$(mktemp -d)
    trap 'rm -rf "$context"' EXIT
    # The C parts of TLS (ring) need a compiler for musl.
    CC_x86_64_unknown_linux_musl=musl-gcc cargo build --release --locked --bins \
        --package whereabouts-cni --package whereabouts-ctl \
        --target "$target" --message-format json-render-diagnostics |
        jq -r '.executable // empty' | xargs -I{} cp {} "$context"
    deploy/buildah.sh bud --isolation chroot --tag "$tag" --file deploy/Dockerfile "$context"
}

main
