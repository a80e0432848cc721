#!/usr/bin/env bash
# Runs whereabouts in a real Kubernetes cluster of two nodes, installed as docs/OPERATIONS.md or docs/KUBERNETES.md tells. Every
# scenario is judged by the addresses in the pods' network namespaces.
#
#   tests/cluster.sh [SCENARIO ...]      as root; without a name the scenarios of .ci/run
#   tests/cluster.sh --all               all scenarios
#   tests/cluster.sh --datastore kubernetes [--all | SCENARIO ...]      the same without an etcd of one's own.
#   tests/cluster.sh --check             only reports what the machine lacks
#   tests/cluster.sh --sabotage NAME     puts the cause of an old fault back: its scenario must fail. The causes are listed below.
#
# Builds the real parts first (tests/parts.sh: 10 to 15 minutes on a new machine, seconds later) and the image that
# deploy/build-image.sh makes. KEEP_LAB=yes leaves the cluster running and says where it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

parts=(etcd-3.7 kubernetes containerd runc cni multus helm)

main() {
    check_machine
    [[ ${1:-} != --check ]] || return 0
    lab=$(mktemp -d "${TMPDIR:-/tmp}/whereabouts-lab-XXXXXXXX")
    trap clean_up EXIT
    mkdir -p "$lab"/{bin,images}
    collect_programs
    prepare_manifests
    use_images_of_the_lab_alone
    if [[ ${1:-} == --sabotage ]]; then
        make_images "${2:-}"
    else
        make_images ""
    fi
    tests/cluster/lab.sh up "$lab"
    # In the background, so that a signal is heard at once.
    cargo run --quiet --locked --package whereabouts-cluster -- --lab "$lab" "$@" &
    wait $!
}

# Everything that is missing is told before minutes of building.
check_machine() {
    ((EUID == 0)) || fail "run this as root: a cluster of nodes needs namespaces and cgroups"
    unshare --mount --net --uts --pid --fork true 2>/dev/null || fail "this root may not make namespaces; a container needs all privileges"
    [[ -w /sys/fs/cgroup ]] || fail "this root may not make cgroups in /sys/fs/cgroup; a container needs all privileges"
    deploy/install-packages.sh buildah:buildah iptables:iptables libseccomp-dev:/usr/include/seccomp.h openssl:openssl \
        pkg-config:pkg-config procps:pgrep
    tests/parts.sh --check "${parts[@]}"
}

collect_programs() {
    local line
    tests/parts.sh "${parts[@]}" >"$lab/parts"
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

# Two lanes at a time build images of the same names.
use_images_of_the_lab_alone() {
    printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$lab/storage" "$lab/storage-run" >"$lab/storage.conf"
    export CONTAINERS_STORAGE_CONF=$lab/storage.conf
}

# The images that the rendered manifests name, so that nodes need no registry.
make_images() { # SABOTAGE
    local etcd source=.
    plugin=$(image_named whereabouts)
    etcd=$(image_named etcd)
    [[ $("$lab/bin/etcd" --version) == *" ${etcd##*:v}"$'\n'* ]] || fail "the lab overlay has $etcd, and tests/parts another version"
    if [[ $1 == ErrorAsAbsence ]]; then
        source=$lab/source
        copy_with_a_credulous_reaper
    fi
    # The plugin without optimization over all crates takes half the time to build, and behaves the same.
    (cd "$source" && quickly_built deploy/build-image.sh "$plugin")
    put_sabotage "$1"
    save "$plugin" whereabouts
    # The next version: the same program with other bytes behind its end.
    copy_from_image whereabouts
    echo "the next version" >>"$lab/next/whereabouts"
    image lab.example/whereabouts:next "$plugin" "$lab/next/whereabouts" /whereabouts
    save lab.example/whereabouts:next next
    gcc -static -Os -o "$lab/bin/pause" tests/cluster/pause.c
    image lab.example/pause:1 scratch "$lab/bin/pause" /pause 'ENTRYPOINT ["/pause"]'
    save lab.example/pause:1 pause
    image "$etcd" scratch "$lab/bin/etcd-3.7" /usr/local/bin/etcd 'ENV PATH=/usr/local/bin'
    save "$etcd" etcd
}

# NAME                  the cause that is put back
#
# PrimaryRoutedTwice    the sample of a primary network asks for the default route a second time (the scenarios' installation)
# NullListAbsent        GC takes a list that is null for an absent one
# ReleaseNotSent        DEL answers success without a commit
# BitsUnseen            ADD gives the lowest address without a look at the bits
# ErrorAsAbsence        the reaper takes any error, EACCES for example, for the absence of a network namespace
put_sabotage() { # NAME
    case $1 in
        "" | PrimaryRoutedTwice | ErrorAsAbsence) ;;
        NullListAbsent | ReleaseNotSent | BitsUnseen)
            quickly_built cargo build --quiet --release --locked --package whereabouts-chaos --bin sabotaged
            image "$plugin" "$plugin" target/release/sabotaged /whereabouts
            echo "export SABOTAGE=$1" >"$lab/environment"
            ;;
        *) fail "no sabotage is called $1" ;;
    esac
}

copy_with_a_credulous_reaper() {
    local judges='fn is_gone(&self, path: &str) -> bool {' file
    mkdir "$source"
    git ls-files -z | xargs -0 cp --parents --target-directory="$source"
    file=$(grep -rlF "$judges" "$source/src") || fail "the reaper has no longer: $judges"
    sed -i "s#$judges#& if !std::path::Path::new(path).exists() { return true; }#" "$file"
    export CARGO_TARGET_DIR=$PWD/target
}

image_named() { # NAME: the image whose last part is NAME
    sed -n "s#^ *image: \(.*[/]\)\?\($1:.*\)#\1\2#p" "$lab/rendered.yaml" | sort --unique | head -n 1
}

image() { # TAG BASE PROGRAM TARGET [LINE]: an image with one static program more
    local context
    context=$(mktemp -d -p "$lab")
    cp --dereference "$3" "$context/program"
    printf 'FROM %s\nCOPY program %s\n%s\n' "$2" "$4" "${5:-}" >"$context/Dockerfile"
    deploy/buildah.sh bud --quiet --isolation chroot --pull-never --tag "$1" "$context" >/dev/null
}

save() { # TAG NAME: where nodes find it
    deploy/buildah.sh push --quiet "$1" "docker-archive:$lab/images/$2.tar:$1" >/dev/null
}

copy_from_image() { # NAME: a program of the plugin's image
    local container
    container=$(deploy/buildah.sh from --pull-never "$plugin")
    mkdir -p "$lab/next"
    cp "$(deploy/buildah.sh mount "$container")/$1" "$lab/next/$1"
    deploy/buildah.sh rm "$container" >/dev/null
}

quickly_built() { # COMMAND ARGUMENT ...
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 "$@"
}

clean_up() {
    local status=$?
    # A signal may find it in the middle of a build.
    local child
    for child in $(descendants $$); do
        kill "$child" 2>/dev/null || true
    done
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

descendants() { # PID: the last ones first
    local child
    for child in $(pgrep --parent "$1"); do
        descendants "$child"
        echo "$child"
    done
}

fail() {
    echo "cluster.sh: $*" >&2
    exit 2
}

main "$@"
