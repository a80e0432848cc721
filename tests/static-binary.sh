#!/usr/bin/env bash
# Builds the plugin as a static binary and checks what it may cost a node: its size, and the memory of
# an ADD.
#
#   tests/static-binary.sh      as root where packages are missing
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/one-etcd.sh

most_bytes=8800000
most_resident_kb=12000

main() {
    deploy/install-packages.sh file:file time:/usr/bin/time
    build
    check_file
    work=$(mktemp -d)
    trap clean_up EXIT
    start_etcd http || fail "no etcd"
    check_add
}

# The tool is built along, as the image wants both: each is optimized over all crates by one thread, so both take hardly
# longer than one.
build() {
    plugin=$(deploy/release/binaries.sh "$(uname -m)" | grep '/whereabouts$') || fail "the plugin was not built"
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

fail() {
    printf 'static-binary: %s\n' "$*" >&2
    exit 1
}

main
