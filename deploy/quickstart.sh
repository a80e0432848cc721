#!/usr/bin/env bash
# Shows whereabouts at work on one machine: three nodes, a three-member etcd, real CNI plugins.
#
#   deploy/quickstart.sh [--traces PICTURE | --local]      as root, on Debian with a Rust toolchain
#
# With --local there is one node and no etcd: the datastore is a file of that node.
#
# With --traces, an agent on each node sends a trace of each verb to a collector beside etcd; the slowest
# ADD's is drawn, as SVG, from what the collector received.
#
#   network: a bridge
#     |-- etcd    three members, 10.88.0.11 to .13
#     |-- node1   10.88.0.1, its bridge cni0 -- pods
#     |-- node2   10.88.0.2, its bridge cni0 -- pods
#     `-- node3   10.88.0.3, its bridge cni0 -- pods
#
# The network, etcd, each node and each pod have a network namespace made for this run: nothing of the
# machine's own network changes. Whatever was started is stopped and removed at the end, also after a
# failure or Ctrl-C. Ends with 0 only if all of it was seen to hold.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cni_plugins=/usr/lib/cni
run=whereabouts-$$
nodes=(node1 node2 node3)
endpoints=10.88.0.11:2379,10.88.0.12:2379,10.88.0.13:2379
collector=10.88.0.11:4317

work=           # a folder for the data, logs and results of this run
etcd_pids=()    # by member: 1, 2, 3
attached=()     # the pods that have addresses now
calls_made=0    # of CNI
picture=        # of a trace, if one is wanted
datastore=etcd  # or local

main() {
    case $#:${1-} in
    0:) ;;
    1:--local) datastore=local nodes=(node1) ;;
    2:--traces) picture=$(realpath "$2") ;;
    *) fail "usage: $0 [--traces PICTURE | --local]" ;;
    esac
    ((EUID == 0)) || fail "run this as root: it makes network namespaces."
    command -v cargo >/dev/null ||
        fail "no cargo in PATH. With a Rust toolchain of your own: sudo env PATH=\"\$PATH\" $0"
    [[ -d /proc/sys/net/ipv6 ]] || fail "this kernel has no IPv6, which the dual-stack pods need."

    step "Installing what is missing, building the plugin and whereaboutsctl"
    local more=()
    [[ -z $picture ]] || more=(python3:python3 python3-pip:pip3)
    [[ $datastore == etcd ]] || more=(--without-etcd)
    "$top/deploy/install-packages.sh" "${more[@]}"
    work=$(mktemp -d /tmp/whereabouts-XXXXXX)
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    build
    "show_$datastore"
}

show_etcd() {
    step "Making three nodes on one network, and etcd with three members"
    make_network
    start_etcd
    [[ -z $picture ]] || start_tracing

    step "Attaching four pods on each node, all twelve at once"
    local node first=() more=()
    for node in "${nodes[@]}"; do
        first+=("$node"-pod{1,2,3,4})
        more+=("$node"-pod{5,6})
    done
    attach_pods "${first[@]}"
    show_pods
    check_addresses
    check_store
    ping_between_pods

    step "Deleting node1's pods, killing etcd's leader (kill -9), attaching two more pods on each node at once"
    detach_pods node1-pod{1,2,3,4}
    kill_etcd_leader
    attach_pods "${more[@]}"
    show_pods
    check_addresses
    check_store
    ping_between_pods

    step "Deleting all pods"
    detach_pods "${attached[@]}"
    check_store
    [[ -z $picture ]] || draw_trace

    step "Shown: unique, lowest-free addresses over three nodes, with one etcd member lost; nothing left behind."
}

show_local() { # the plugin makes /var/lib/whereabouts/local.db, below a /var/lib of this run
    step "Making one node without etcd"
    mkdir "$work/lib"
    make_network

    step "Attaching twelve pods at once"
    attach_pods node1-pod{1..12}
    show_pods
    check_addresses
    check_store
    ping_between_pods

    step "Deleting four pods, killing two ADDs (kill -9), attaching six pods at once"
    detach_pods node1-pod{1..4}
    kill_adds node1-pod{13,14}
    attach_pods node1-pod{15..20}
    show_pods
    check_addresses
    check_store

    step "What the tool sees of the file"
    on_node node1 "$work/bin/whereaboutsctl" ranges --datastore local | sed 's/^/  /'
    on_node node1 "$work/bin/whereaboutsctl" backup --datastore local "$work/backup" | sed 's/^/  /'

    step "Deleting all pods"
    detach_pods "${attached[@]}"
    check_store

    step "Shown: unique, lowest-free addresses on one host, from one file; nothing left behind."
}

kill_adds() { # POD...: their ADDs end at some moment, and their DELs take what is left
    local pod pid
    for pod in "$@"; do
        ip netns add "$run-$pod"
        write_cni_input ADD "$pod" >"$work/$pod.stdin"
        start_cni ADD "$pod"
        pid=$!
        sleep 0.00"$((RANDOM % 10))"
        kill -9 "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null || true
        kill_all_inside "$run-node1"
        [[ -s $work/$pod.ADD ]] || echo null >"$work/$pod.ADD"
    done
    echo "  killed $# ADDs"
    detach_pods "$@"
}

build() {
    mkdir "$work/bin"
    (cd "$top" && cargo build --release --locked --bin whereabouts --bin whereaboutsctl \
        --message-format json-render-diagnostics) |
        jq -r '.executable // empty' | xargs -r -d '\n' install -t "$work/bin"
}

make_network() {
    ip netns add "$run-network" ||
        fail "cannot make a network namespace: this needs a machine, or a privileged container."
    ip -n "$run-network" link add bridge type bridge
    ip -n "$run-network" link set bridge up

    local number node
    if [[ $datastore == etcd ]]; then
        connect_to_network etcd
        for number in 1 2 3; do
            ip -n "$run-etcd" address add "10.88.0.1$number/24" dev eth0
        done
    fi
    for node in "${nodes[@]}"; do
        number=${node#node}
        connect_to_network "$node"
        ip -n "$run-$node" link add cni0 type bridge
        ip -n "$run-$node" link set eth0 master cni0
        ip -n "$run-$node" link set cni0 up
        ip -n "$run-$node" address add "10.88.0.$number/24" dev cni0
        write_network_config "$node" >"$work/$node.json"
    done
}

connect_to_network() { # NAME: makes that namespace, with an eth0 that leads to the bridge
    ip netns add "$run-$1"
    ip -n "$run-$1" link set lo up
    ip -n "$run-$1" link add eth0 type veth peer name "$1" netns "$run-network"
    ip -n "$run-$1" link set eth0 up
    ip -n "$run-network" link set "$1" master bridge up
}

write_network_config() { # NODE
    local tracing='' where="\"etcd_host\": \"$endpoints\","
    [[ $datastore == etcd ]] || where='"datastore": "local",'
    [[ -z $picture ]] || tracing="\"trace_socket\": \"$work/$1.sock\","
    cat <<CONFIG
{
  "cniVersion": "1.0.0",
  "name": "quickstart",
  "type": "bridge",
  "bridge": "cni0",
  "ipam": {
    "type": "whereabouts",
    $where
    "ipRanges": [{ "range": "10.66.0.0/24" }, { "range": "fd00:66::/112" }],
    "node_name": "$1",
    $tracing
    "log_file": "$work/$1.log",
    "log_level": "info"
  }
}
CONFIG
}

start_etcd() {
    local member address cluster=
    for member in 1 2 3; do
        cluster+=${cluster:+,}etcd$member=http://10.88.0.1$member:2380
    done
    for member in 1 2 3; do
        address=10.88.0.1$member
        ip netns exec "$run-etcd" etcd --name "etcd$member" --data-dir "$work/etcd$member" \
            --listen-client-urls "http://$address:2379" --advertise-client-urls "http://$address:2379" \
            --listen-peer-urls "http://$address:2380" --initial-advertise-peer-urls "http://$address:2380" \
            --initial-cluster "$cluster" --initial-cluster-token "$run" \
            >"$work/etcd$member.log" 2>&1 </dev/null &
        etcd_pids[member]=$!
    done
    local give_up=$((SECONDS + 30))
    until etcdctl_on_node1 endpoint health >/dev/null 2>&1; do
        ((SECONDS < give_up)) || fail "etcd is not healthy after 30 s:" "$(tail -n 10 "$work"/etcd?.log)"
        sleep 0.2
    done
}

start_tracing() { # Rotel, and on each node its agent
    local rotel=${ROTEL_AGENT:-} node give_up=$((SECONDS + 30))
    [[ -n $rotel ]] || rotel=$("$top/deploy/install-collector.sh" "$work/tools")
    inside etcd "$rotel" start --exporter blackhole --disable-batching --debug-log traces \
        --debug-log-verbosity detailed --otlp-grpc-endpoint "$collector" --otlp-http-endpoint 10.88.0.11:4318 \
        >"$work/collector.txt" 2>&1 </dev/null &
    for node in "${nodes[@]}"; do
        inside "$node" "$work/bin/whereaboutsctl" serve --trace-socket "$work/$node.sock" \
            --otlp-endpoint "$collector" >"$work/$node.agent" 2>&1 </dev/null &
        until [[ -S $work/$node.sock ]]; do
            ((SECONDS < give_up)) || fail "no agent on $node after 30 s:" "$(cat "$work/$node.agent")"
            sleep 0.1
        done
    done
}

draw_trace() { # when all have arrived: the last span of each trace is its verb's
    local give_up=$((SECONDS + 30))
    until (($(grep --count SPAN_KIND_SERVER "$work/collector.txt") >= calls_made)); do
        ((SECONDS < give_up)) || fail "not all traces arrived within 30 s:" "$(tail -n 5 "$work"/*.agent)"
        sleep 0.1
    done
    "$top/deploy/draw-traces.py" slowest "$work/collector.txt" "$picture"
}

etcdctl_on_node1() {
    inside node1 etcdctl --endpoints "$endpoints" "$@"
}

kill_etcd_leader() {
    local leader
    leader=$(etcdctl_on_node1 endpoint status --write-out json |
        jq -r '.[] | select(.Status.leader == .Status.header.member_id).Endpoint')
    local member=${leader%:*}
    member=${member#10.88.0.1}
    kill -9 "${etcd_pids[member]}"
    wait "${etcd_pids[member]}" 2>/dev/null || true
    echo "  killed etcd$member, at $leader"
}

attach_pods() { # POD...: a namespace for each, then ADD for all at once
    local pod
    for pod in "$@"; do
        ip netns add "$run-$pod"
    done
    call_cni_for_all ADD "$@"
    attached+=("$@")
}

detach_pods() { # POD...: DEL for all at once, then their namespaces go
    local pod gone=" $* " left=()
    call_cni_for_all DEL "$@"
    for pod in "$@"; do
        ip netns delete "$run-$pod"
    done
    for pod in "${attached[@]}"; do
        [[ $gone == *" $pod "* ]] || left+=("$pod")
    done
    attached=("${left[@]}")
}

call_cni_for_all() { # VERB POD...: what a container runtime does, on each pod's node
    local verb=$1 pod begin
    shift
    for pod in "$@"; do
        write_cni_input "$verb" "$pod" >"$work/$pod.stdin"
    done
    local -A calls=()
    begin=$(date +%s%N)
    for pod in "$@"; do
        start_cni "$verb" "$pod"
        calls[$pod]=$!
    done
    for pod in "$@"; do
        wait "${calls[$pod]}" || fail "$verb of $pod failed: $(cat "$work/$pod.$verb" "$work/$pod.stderr")"
    done
    calls_made=$((calls_made + $#))
    echo "  $verb: $# pods in $((($(date +%s%N) - begin) / 1000000)) ms"
}

start_cni() { # VERB POD: a call of the bridge plugin, in the background
    on_node "${2%%-*}" env \
        CNI_COMMAND="$1" CNI_CONTAINERID="$run-$2" CNI_NETNS="/var/run/netns/$run-$2" \
        CNI_IFNAME=eth0 CNI_PATH="$work/bin:$cni_plugins" \
        CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=$2" \
        timeout 90 "$cni_plugins/bridge" \
        <"$work/$2.stdin" >"$work/$2.$1" 2>"$work/$2.stderr" &
}

on_node() { # NODE COMMAND...: on that node; without etcd, with a /var/lib that is this run's
    if [[ $datastore == local ]]; then
        # shellcheck disable=SC2016 # that shell expands them
        inside "$1" sh -c 'mount --bind "$0" /var/lib && exec "$@"' "$work/lib" "${@:2}"
    else
        inside "$@"
    fi
}

write_cni_input() { # VERB POD: the node's network config; for DEL with what ADD answered
    local config=$work/${2%%-*}.json
    if [[ $1 == ADD ]]; then
        cat "$config"
    else
        jq --slurpfile added "$work/$2.ADD" '.prevResult = $added[0]' "$config"
    fi
}

show_pods() {
    local pod
    printf '  %-6s %-11s %-12s %s\n' node pod IPv4 IPv6
    for pod in "${attached[@]}"; do
        printf '  %-6s %-11s %-12s %s\n' "${pod%%-*}" "$pod" "$(address_of "$pod" .)" "$(address_of "$pod" :)"
    done | sort -b -V -k 3
}

address_of() { # POD, and what tells its family: . or :
    jq -r --arg mark "$2" '.ips[].address | select(contains($mark)) | split("/")[0]' "$work/$1.ADD"
}

check_addresses() { # the pods hold the lowest addresses of both ranges, each once
    local number pod expected held
    expected=$(for ((number = 1; number <= ${#attached[@]}; number++)); do
        printf '10.66.0.%d\nfd00:66::%x\n' "$number" "$number"
    done | sort)
    held=$(for pod in "${attached[@]}"; do
        address_of "$pod" .
        address_of "$pod" :
    done | sort)
    [[ $held == "$expected" ]] ||
        fail "not the lowest addresses, each once:" "$(diff <(echo "$expected") <(echo "$held"))"
    echo "  each address is held once, and they are the lowest ones"
}

check_store() { # the datastore holds a claim and two addresses for each pod that is attached, and nothing else
    local check=("$work/bin/whereaboutsctl" check) found
    case $datastore in
    etcd) check+=(--etcd-host "$endpoints") ;;
    local) check+=(--datastore local) ;;
    esac
    found=$(on_node node1 "${check[@]}" -o json) || fail "whereaboutsctl check is not content: $found"
    on_node node1 "${check[@]}" | sed 's/^/  /'
    jq -e --argjson pods "${#attached[@]}" '.claims == $pods and .addresses == 2 * $pods
        and .set_bits == 2 * $pods and .locks == 0 and .tickets == 0 and .findings == []' <<<"$found" >/dev/null ||
        fail "it should hold ${#attached[@]} claims, 2 addresses for each, neither lock nor ticket; it holds: $found"
}

ping_between_pods() { # once between any two pods of different nodes, or from pod to pod of one, over both families
    # The one attached later pings. Others may still know its address as that of a deleted pod: they
    # learn better when it first speaks to them, as anywhere where addresses are given again.
    local from to mark earlier=() count=0
    for from in "${attached[@]}"; do
        for to in "${earlier[@]}"; do
            [[ ${#nodes[@]} == 1 || ${from%%-*} != "${to%%-*}" ]] || continue
            for mark in . :; do
                inside "$from" ping -q -c 1 -w 5 "$(address_of "$to" "$mark")" >/dev/null ||
                    fail "$from cannot ping $to at $(address_of "$to" "$mark")."
                count=$((count + 1))
            done
        done
        [[ ${#nodes[@]} != 1 ]] || earlier=() # on one bridge, each reaches the one before it
        earlier+=("$from")
    done
    echo "  $count pings between pods, IPv4 and IPv6, were answered"
}

inside() { # NAME COMMAND...: in that network namespace of this run
    ip netns exec "$run-$1" "${@:2}"
}

clean_up() {
    local status=$?
    trap '' HUP INT TERM
    set +e # whatever fails here, the rest is still to be done
    ((status == 0)) || show_plugin_logs
    local job namespaces name
    mapfile -t namespaces < <(ip netns list | awk -v run="$run-" 'index($1, run) == 1 { print $1 }')
    for job in $(jobs -p); do
        kill -9 "$job"
    done 2>/dev/null
    wait 2>/dev/null
    for name in "${namespaces[@]}"; do
        kill_all_inside "$name"
        ip netns delete "$name"
    done
    rm -rf "$work"
    exit "$status"
}

kill_all_inside() { # NAMESPACE: the children of those jobs; again, as one may have started another
    local pids
    while mapfile -t pids < <(ip netns pids "$1") && ((${#pids[@]})); do
        kill -9 "${pids[@]}" 2>/dev/null
        sleep 0.1
    done
}

show_plugin_logs() {
    local log
    for log in "$work"/node?.log; do
        [[ ! -s $log ]] || { echo "--- ${log##*/}, its end:" && tail -n 15 "$log"; } >&2
    done
}

step() {
    printf '\n%s\n' "$*"
}

fail() {
    printf 'quickstart: %s\n' "$*" >&2
    exit 1
}

main "$@"
