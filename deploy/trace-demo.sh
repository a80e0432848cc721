#!/usr/bin/env bash
# Shows traces at work on one machine: an etcd, a collector, a node's agent, and 24 pods at once on one
# range. Draws the trace of a pod that waited above that of the pod whose process allocated for it, from
# what the collector received.
#
#   deploy/trace-demo.sh [PICTURE]      as root where packages are missing; the picture is an SVG
#
# What was started is ended, whatever happens. Ends with 0 only if all traces arrived.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
picture=$(realpath "${1:-trace.svg}")
pods=24

main() {
    "$top/deploy/install-packages.sh" curl:curl python3:python3 python3-pip:pip3
    work=$(mktemp -d)
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    echo "Building the plugin and whereaboutsctl"
    build
    [[ -n ${ROTEL_AGENT:-} ]] || install_collector

    echo "Starting etcd, a collector, and the agent"
    start_etcd
    start_collector
    start_agent

    echo "Attaching $pods pods at once"
    attach_pods
    await_spans
    "$top/deploy/draw-traces.py" "$work/collector.log" "$picture"
    curl --silent --fail "$agent/metrics" | grep '^whereabouts_agent_spans'
}

build() {
    mkdir "$work/bin"
    (cd "$top" && cargo build --release --locked --bin whereabouts --bin whereaboutsctl \
        --message-format json-render-diagnostics) |
        jq -r '.executable // empty' | xargs -r -d '\n' install -t "$work/bin"
}

install_collector() { # the same as for the tests
    local package=rotel==0.0.1a15
    local hash=sha256:2f4117e58410c933e0dc042a268ef738dab2e3a5d63b5831209acdac2a6ddcb7
    pip3 install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --require-hashes \
        --platform manylinux_2_34_x86_64 --python-version 3.11 --only-binary :all: \
        --target "$work/tools" --requirement <(echo "$package --hash=$hash")
    ROTEL_AGENT=$work/tools/rotel/rotel-agent
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

start_collector() {
    collector=127.0.0.1:$(free_port)
    local http
    http=127.0.0.1:$(free_port)
    "$ROTEL_AGENT" start --exporter blackhole --disable-batching --debug-log traces \
        --debug-log-verbosity detailed --otlp-grpc-endpoint "$collector" --otlp-http-endpoint "$http" \
        >"$work/collector.log" 2>&1 &
    await "the collector listens" is_open "$http"
}

start_agent() {
    agent=http://127.0.0.1:$(free_port)
    "$work/bin/whereaboutsctl" serve --trace-socket "$work/trace.sock" --otlp-endpoint "$collector" \
        --listen "${agent#http://}" >"$work/agent.log" 2>&1 &
    await "the agent answers" curl --silent --fail --output /dev/null "$agent/healthz"
}

attach_pods() {
    local number calls=()
    for ((number = 1; number <= pods; number++)); do
        attach_pod "pod-$number" "node-$((number % 3 + 1))" &
        calls+=($!)
    done
    wait "${calls[@]}" || fail "an ADD has failed"
}

attach_pod() { # POD NODE
    CNI_COMMAND=ADD CNI_CONTAINERID="$1" CNI_NETNS="/run/netns/$1" CNI_IFNAME=eth0 CNI_PATH="$work/bin" \
        CNI_ARGS="K8S_POD_NAMESPACE=default;K8S_POD_NAME=$1" "$work/bin/whereabouts" >"$work/$1.answer" <<CONFIG
{
  "cniVersion": "1.0.0", "name": "demo", "type": "bridge",
  "ipam": {
    "type": "whereabouts", "etcd_host": "$etcd", "range": "10.66.0.0/24", "node_name": "$2",
    "trace_socket": "$work/trace.sock", "otlp_endpoint": "$collector", "trace_flush_ms": 5000
  }
}
CONFIG
}

# Each verb's own span is the last of its trace.
await_spans() {
    await "all traces arrive" all_arrived
}

all_arrived() {
    (($(grep --count 'SPAN_KIND_SERVER' "$work/collector.log") >= pods))
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
        port=$((RANDOM % 20000 + 40000))
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
    printf 'trace-demo: %s\n' "$*" >&2
    exit 1
}

main
