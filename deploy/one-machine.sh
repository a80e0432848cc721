# What the demonstrations on one machine share, to be sourced: a folder for what they make, the built
# programs, an etcd, and an end that leaves nothing behind. What was started is ended, whatever happens.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work= # a folder for the data, logs and programs of this run
etcd= # its address, once it is started

make_work() {
    work=$(mktemp -d)
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

build() {
    mkdir "$work/bin"
    (cd "$top" && cargo build --release --locked --bin whereabouts --bin whereaboutsctl \
        --message-format json-render-diagnostics) |
        jq -r '.executable // empty' | xargs -r -d '\n' install -t "$work/bin"
}

start_etcd() {
    local peer
    etcd=127.0.0.1:$(free_port)
    peer=http://127.0.0.1:$(free_port)
    etcd --data-dir "$work/data" --initial-cluster "default=$peer" \
        --listen-client-urls "http://$etcd" --advertise-client-urls "http://$etcd" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" >"$work/etcd.log" 2>&1 &
    await "etcd answers" curl --silent --fail --output /dev/null "http://$etcd/health"
}

await() { # WHAT COMMAND...: until the command succeeds
    local what=$1 give_up=$((SECONDS + 30))
    shift
    until "$@"; do
        ((SECONDS < give_up)) || fail "$what: not within 30 s:" "$(tail -n 5 "$work"/*.log)"
        sleep 0.1
    done
}

is_open() { # ADDRESS:PORT
    (: <"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null
}

free_port() {
    local port
    while true; do
        port=$((RANDOM % 12000 + 20000)) # below those of outgoing connections
        if ! is_open "127.0.0.1:$port"; then
            echo "$port"
            return
        fi
    done
}

clean_up() {
    local status=$? job
    trap '' INT TERM
    for job in $(jobs -p); do
        kill -9 "$job" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$work"
    exit "$status"
}

fail() {
    printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2
    exit 1
}
