#!/usr/bin/env bash
# Runs whereabouts in a real Kubernetes cluster of two nodes, installed as docs/OPERATIONS.md tells. Every scenario is judged by
# the addresses in the pods' network namespaces.
#
#   tests/cluster.sh [SCENARIO ...]      as root; all scenarios by default
#
# Builds the real parts first (tests/parts.sh: 10 to 15 minutes on a new machine, seconds later) and the image that
# deploy/build-image.sh makes. KEEP_LAB=yes leaves the cluster running and says where it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    ((EUID == 0)) || fail "run this as root: a cluster of nodes needs namespaces and cgroups"
    deploy/install-packages.sh buildah:buildah iptables:iptables libseccomp-dev:/usr/include/seccomp.h openssl:openssl \
        pkg-config:pkg-config procps:pgrep
    lab=$(mktemp -d "${TMPDIR:-/tmp}/whereabouts-lab-XXXXXXXX")
    trap clean_up EXIT
    mkdir -p "$lab"/{bin,images}
    collect_programs
    prepare_manifests
    make_images
    tests/cluster/lab.sh up "$lab"
    cargo run --quiet --locked --package whereabouts-cluster -- --lab "$lab" "$@"
}

collect_programs() {
    local line
    tests/parts.sh etcd-3.7 kubernetes containerd runc cni multus >"$lab/parts"
    while read -r line; do
        ln -s "${line#*=}" "$lab/bin/${line%%=*}"
    done <"$lab/parts"
    ln -s etcd-3.7 "$lab/bin/etcd"
    cargo build --quiet --locked --package whereabouts-cni --package whereabouts-ctl --bins
    ln -s "$PWD/target/debug/whereaboutsctl" "$lab/bin/"
}

# The manifests as a user has them after the first steps of docs/OPERATIONS.md: with certificates.
prepare_manifests() {
    cp -r deploy "$lab/deploy"
    deploy/make-certificates.sh "$lab/deploy/kubernetes/overlays/lab/certificates" 10.96.0.79
    "$lab/bin/kubectl" kustomize "$lab/deploy/kubernetes/overlays/lab" >"$lab/rendered.yaml"
}

# The images that the rendered manifests name, so that nodes need no registry.
make_images() {
    local plugin etcd
    plugin=$(image_named whereabouts)
    etcd=$(image_named etcd)
    quickly_built deploy/build-image.sh "$plugin"
    deploy/buildah.sh push "$plugin" "docker-archive:$lab/images/whereabouts.tar:$plugin" >/dev/null
    gcc -static -Os -o "$lab/bin/pause" tests/cluster/pause.c
    image lab.example/pause:1 pause pause /pause
    image "$etcd" etcd "$lab/bin/etcd-3.7" /usr/local/bin/etcd
}

image_named() { # NAME: the image whose last part is NAME
    sed -n "s#^ *image: \(.*[/]\)\?\($1:.*\)#\1\2#p" "$lab/rendered.yaml" | sort --unique | head -n 1
}

image() { # TAG FILE PROGRAM TARGET: an image of one static program
    local context program=$3
    [[ $program == /* ]] || program=$lab/bin/$program
    context=$(mktemp -d -p "$lab")
    cp --dereference "$program" "$context/program"
    printf 'FROM scratch\nENV PATH=/usr/local/bin\nCOPY program %s\nENTRYPOINT ["%s"]\n' "$4" "$4" >"$context/Dockerfile"
    deploy/buildah.sh bud --quiet --isolation chroot --tag "$1" "$context" >/dev/null
    deploy/buildah.sh push "$1" "docker-archive:$lab/images/$2.tar:$1" >/dev/null
}

# The plugin without optimization over all crates takes half the time to build, and behaves the same.
quickly_built() { # COMMAND ARGUMENT ...
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 "$@"
}

clean_up() {
    local status=$?
    if [[ ${KEEP_LAB:-} == yes ]]; then
        echo "The cluster is in $lab; end it with: tests/cluster/lab.sh down $lab"
        return
    fi
    if ((status != 0)); then
        echo "== the ends of the logs"
        tail -n 20 "$lab"/log/*.log 2>/dev/null || true
    fi
    tests/cluster/lab.sh down "$lab"
    rm -rf "$lab"
}

fail() {
    echo "cluster.sh: $*" >&2
    exit 2
}

main "$@"
