#!/usr/bin/env bash
# Runs containers of Debian's podman, with its CNI backend, on a network whose addresses are whereabouts'.
#
#   tests/podman.sh      as root; builds runc first (tests/parts.sh: a minute on a new machine, seconds later)
#
# All of it happens in namespaces of its own (mounts, network, processes) and in cgroups of its own, which go at the end.
# Ends with 0 only if all of it was seen to hold.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/sbin:/sbin" ETCDCTL_API=3

main() {
    if [[ ${1:-} == --inside ]]; then
        work=$2 runc=$3 cgroup=$4
        inside
        return
    fi
    ((EUID == 0)) || fail "run this as root: containers need namespaces"
    deploy/install-packages.sh libseccomp-dev:/usr/include/seccomp.h pkg-config:pkg-config podman:podman
    runc=$(tests/parts.sh runc)
    cargo build --quiet --locked --package whereabouts-cni --bin whereabouts
    work=$(mktemp -d "${TMPDIR:-/tmp}/whereabouts-podman-XXXXXXXX")
    cgroup=$(basename "$work")
    trap clean_up EXIT
    # The first process of the namespace ends last: the kernel ends etcd, conmon and all containers with it.
    unshare --mount --net --pid --fork --mount-proc --kill-child \
        "$0" --inside "$work" "${runc#runc=}" "$cgroup" &
    namespaces=$!
    wait "$namespaces"
    echo "podman.sh: every container had the address of its claim, and no claim is left"
}

inside() {
    ip link set lo up
    mount --make-rprivate /
    mount --types tmpfs none /run
    mount --types tmpfs none /dev/shm # podman keeps its locks there
    start_etcd
    configure
    make_image
    a_container_has_the_lowest_address
    an_address_that_is_asked_for
    a_full_range
    no_claim_is_left
}

# The network is its own, so the ports are free.
start_etcd() {
    local client=http://127.0.0.1:2379 peer=http://127.0.0.1:2380
    etcd --data-dir "$work/etcd" --initial-cluster "default=$peer" --listen-client-urls "$client" \
        --advertise-client-urls "$client" --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
        >"$work/etcd.log" 2>&1 &
    local _
    for _ in {1..300}; do
        etcdctl endpoint health >/dev/null 2>&1 && return
        sleep 0.1
    done
    fail "etcd does not start: $(tail "$work/etcd.log")"
}

# podman's default limits are higher than those that some machines allow.
configure() {
    mkdir -p "$work"/{plugins,networks,podman}
    cp /usr/lib/cni/* target/debug/whereabouts "$work/plugins/"
    cat >"$work/networks/pods.conflist" <<END
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
    "type": "bridge", "bridge": "pods0", "isGateway": true,
    "ipam": {"type": "whereabouts", "etcd_host": "http://127.0.0.1:2379", "range": "10.77.0.0/29", "gateway": "10.77.0.1"}
}]}
END
    cat >"$work/containers.conf" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[network]
network_backend = "cni"
cni_plugin_dirs = ["$work/plugins"]
network_config_dir = "$work/networks"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "$work/podman"
[engine.runtimes]
runc = ["$runc"]
END
    printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/storage" "$work/storage-run" \
        >"$work/storage.conf"
    export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
}

make_image() {
    mkdir "$work/root"
    gcc -static -Os -o "$work/root/pause" tests/cluster/pause.c
    tar --directory "$work/root" --create --file "$work/root.tar" .
    podman import --quiet "$work/root.tar" lab.example/pause:1 >/dev/null
}

a_container_has_the_lowest_address() {
    start one
    has one 10.77.0.2
    start two
    has two 10.77.0.3
}

an_address_that_is_asked_for() {
    start three --ip 10.77.0.5
    has three 10.77.0.5
    refused "an address that is taken" 10.77.0.5 run four --ip 10.77.0.5
    podman rm --force --time 0 four >/dev/null
    claims_are 3
}

# Five addresses: 10.77.0.2 to 10.77.0.6.
a_full_range() {
    start five
    has five 10.77.0.4
    start six
    has six 10.77.0.6
    refused "a container for a full range" "is full" run seven
    podman rm --force --time 0 seven two >/dev/null
    claims_are 4
    start eight
    has eight 10.77.0.3
}

no_claim_is_left() {
    claims_are 5
    podman rm --force --time 0 --all >/dev/null
    claims_are 0
}

start() { # NAME [OPTION ...]
    run "$@" || fail "$1 does not start: $(cat "$work/$1.out")"
}

run() { # NAME [OPTION ...]
    local name=$1
    shift
    podman run --detach --name "$name" --network pods --cgroup-parent "/$cgroup" "$@" lab.example/pause:1 /pause \
        >"$work/$name.out" 2>&1
}

# The address in the container's network namespace, what podman tells, and the claim in etcd are one.
has() { # NAME ADDRESS
    local pid id there told
    pid=$(podman inspect --format '{{.State.Pid}}' "$1") id=$(podman inspect --format '{{.Id}}' "$1")
    told=$(podman inspect --format '{{.NetworkSettings.Networks.pods.IPAddress}}' "$1")
    there=$(nsenter --net="/proc/$pid/ns/net" ip -json -4 address show dev eth0 | jq -r '.[].addr_info[].local')
    [[ $there == "$2" && $told == "$2" ]] || fail "$1 has $there, and podman tells $told; it should be $2"
    [[ $(etcdctl get --prefix "/whereabouts/v1/claim/pods/$id/" --keys-only | grep -c .) == 1 ]] ||
        fail "etcd has not one claim of $1"
}

refused() { # WHAT WORDS COMMAND NAME ...
    local what=$1 words=$2
    shift 2
    if "$@"; then
        fail "$what was given"
    fi
    grep -qF "$words" "$work/$2.out" || fail "podman does not tell \"$words\" of $what: $(cat "$work/$2.out")"
}

claims_are() { # COUNT
    local count
    count=$(etcdctl get --prefix /whereabouts/v1/claim/ --keys-only | grep -c . || true)
    [[ $count == "$1" ]] || fail "etcd has $count claims instead of $1"
}

clean_up() {
    local folder
    [[ -z ${namespaces:-} ]] || kill -KILL "$namespaces" 2>/dev/null || true
    # A cgroup can be removed when the last of its killed processes has been reaped.
    for _ in {1..100}; do
        find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -exec rmdir {} + 2>/dev/null || true
        folder=$(find /sys/fs/cgroup -type d -path "*/$cgroup*" -print -quit)
        [[ -n $folder ]] || break
        sleep 0.1
    done
    rm -rf "$work"
    [[ -z $folder ]] || fail "the cgroup $folder stays"
}

fail() {
    echo "podman.sh: $*" >&2
    exit 1
}

main "$@"
