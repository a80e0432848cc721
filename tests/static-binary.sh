#!/usr/bin/env bash
# Builds the plugin as a static binary and checks what it may cost a node: its size, and the memory of
# an ADD.
#
#   tests/static-binary.sh      as root where packages are missing
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=x86_64-unknown-linux-musl
most_bytes=8000000
most_resident_kb=12000

main() {
    deploy/install-packages.sh file:file musl-tools:musl-gcc time:/usr/bin/time
    build
    check_file
    work=$(mktemp -d)
    trap clean_up EXIT
    start_etcd
    check_add
}

# The C parts of TLS (ring) need a compiler for musl. The tool is built along, as the image wants both: each is optimized
# over all crates by one thread, so both take hardly longer than one.
build() {
    if ! rustc --print target-libdir --target "$target" | xargs test -d; then
        rustup target add "$target"
    fi
    plugin=$(CC_x86_64_unknown_linux_musl=musl-gcc cargo build --release --locked --package whereabouts-cni --package whereabouts-ctl \
        --bins --target "$target" --message-format json-render-diagnostics |
        jq -r 'select(.target.name == "whereabouts" and .executable).executable')
    [[ -x $plugin ]] || fail "cargo does not say where the plugin is"
}

check_file() {
    local kind bytes
    kind=$(file --brief "$plugin")
    [[ $kind == *"static-pie linked"* || $kind == *"statically linked"* ]] || fail "not static: $kind"
    [[ $kind == *", stripped"* ]] || fail "not stripped: $kind"
    bytes=$(stat --format=%s "$plugin")
    echo "size of the static binary: $bytes bytes (less than $most_bytes are allowed)"
    ((bytes < most_bytes)) || fail "the binary is too large"
}

start_etcd() {
    local try peer
    for try in 1 2 3 4 5; do
        client=http://127.0.0.1:$(free_port)
        peer=http://127.0.0.1:$(free_port)
        etcd --data-dir "$work/etcd-$try" --initial-cluster "default=$peer" \
            --listen-client-urls "$client" --advertise-client-urls "$client" \
            --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" >"$work/etcd.log" 2>&1 &
        etcd=$!
        if becomes_healthy; then
            return
        fi
        end_etcd
    done
    fail "etcd does not start:" "$(tail "$work/etcd.log")"
}

# Another process may take a port that was free a moment ago; then etcd ends.
becomes_healthy() {
    local _
    for _ in {1..300}; do
        kill -0 "$etcd" 2>/dev/null || return 1
        if ETCDCTL_API=3 etcdctl --endpoints "$client" endpoint health >/dev/null 2>&1; then
            return
        fi
        sleep 0.1
    done
    return 1
}

free_port() {
    local port
    while true; do
        port=$((RANDOM % 20000 + 40000))
        if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

check_add() {
    local answer resident_kb
    answer=$(execute ADD) || fail "ADD failed: $answer"
    [[ $answer == *'"address":"10.0.0.1/16"'* ]] || fail "ADD gave another address: $answer"
    resident_kb=$(<"$work/resident")
    echo "resident memory of an ADD: $resident_kb kB (less than $most_resident_kb are allowed)"
    ((resident_kb < most_resident_kb)) || fail "an ADD needs too much memory"
    answer=$(execute DEL) || fail "DEL failed: $answer"
}

execute() {
    local config="{\"cniVersion\": \"1.0.0\", \"name\": \"net\", \"type\": \"bridge\", \"ipam\": {
        \"type\": \"whereabouts\", \"etcd_host\": \"$client\", \"range\": \"10.0.0.0/16\"}}"
    env --ignore-environment CNI_COMMAND="$1" CNI_CONTAINERID=c1 CNI_NETNS=/var/run/netns/c1 CNI_IFNAME=eth0 \
        CNI_PATH=/opt/cni/bin /usr/bin/time --quiet --format %M --output "$work/resident" "$plugin" <<<"$config"
}

clean_up() {
    end_etcd
    rm -rf "$work"
}

end_etcd() {
    [[ -n ${etcd:-} ]] || return 0
    kill -KILL "$etcd" 2>/dev/null || true
    wait "$etcd" 2>/dev/null || true
    etcd=
}

fail() {
    printf 'static-binary: %s\n' "$*" >&2
    exit 1
}

main
