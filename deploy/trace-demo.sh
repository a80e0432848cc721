#!/usr/bin/env bash
# Shows traces at work on one machine: an etcd, a Jaeger, a node's agent, and 24 pods at once on one range. Draws the
# trace of a pod that waited above that of the pod whose process allocated for it, from what Jaeger's query API answers.
#
#   deploy/trace-demo.sh [PICTURE]      as root where packages are missing; the picture is an SVG
#
#   JAEGER=PATH      Jaeger 2; by default the command jaeger. tests/parts.sh jaeger builds one. Without a Jaeger the
#                    demonstration installs Rotel, a collector that prints what it receives, and draws from that.
#
# What was started is ended, whatever happens. Ends with 0 only if all traces arrived.
set -euo pipefail

# shellcheck source=deploy/one-machine.sh
source "$(dirname "${BASH_SOURCE[0]}")/one-machine.sh"
picture=$(realpath "${1:-trace.svg}")
pods=24

main() {
    "$top/deploy/install-packages.sh" curl:curl python3:python3 python3-pip:pip3
    make_work

    echo "Building the plugin and whereaboutsctl"
    build
    jaeger=${JAEGER:-$(command -v jaeger || true)}
    if [[ -z $jaeger && -z ${ROTEL_AGENT:-} ]]; then
        ROTEL_AGENT=$("$top/deploy/install-collector.sh" "$work/tools")
    fi

    echo "Starting etcd, ${jaeger:-a collector}, and the agent"
    start_etcd
    collector=127.0.0.1:$(free_port)
    if [[ -n $jaeger ]]; then
        start_jaeger
    else
        start_rotel
    fi
    start_agent

    echo "Attaching $pods pods at once"
    attach_pods
    await_spans
    "$top/deploy/draw-traces.py" served "$work/received" "$picture"
    curl --silent --fail "$agent/metrics" | grep '^whereabouts_agent_spans'
}

start_jaeger() {
    query=127.0.0.1:$(free_port)
    JAEGER_OTLP=$collector JAEGER_QUERY=$query JAEGER_QUERY_GRPC=127.0.0.1:$(free_port) \
        "$jaeger" --config "$top/deploy/jaeger.yaml" >"$work/jaeger.log" 2>&1 &
    await "Jaeger takes spans" is_open "$collector"
    await "Jaeger answers" curl --silent --fail --output /dev/null "http://$query/api/services"
}

start_rotel() {
    local http
    http=127.0.0.1:$(free_port)
    "$ROTEL_AGENT" start --exporter blackhole --disable-batching --debug-log traces \
        --debug-log-verbosity detailed --otlp-grpc-endpoint "$collector" --otlp-http-endpoint "$http" \
        >"$work/received" 2>&1 &
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
    [[ -z $jaeger ]] || ask_jaeger
    (($(grep --count "$(printf 'SPAN_KIND_SERVER\|"value":"server"')" "$work/received") >= pods))
}

# What Jaeger's page asks for when a person searches: the traces of the last hour. One span a line, to be counted.
ask_jaeger() {
    local now
    now=$(date +%s)
    curl --silent --fail "http://$query/api/traces?service=whereabouts&limit=1000&start=$((now - 3600))000000&end=${now}999999" |
        jq --compact-output '.data[] | .processes as $processes
            | .spans[] | .process = $processes[.processID]' >"$work/received"
}

main
