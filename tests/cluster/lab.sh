#!/usr/bin/env bash
# A Kubernetes cluster of two nodes on one machine, of real parts. A hub has etcd, API server, controller manager and
# scheduler. Each node has kubelet, kube-proxy, containerd and runc, and its own network, mounts, host name and
# processes.
#
#   lab.sh up    FOLDER      starts it; FOLDER/bin has the programs, FOLDER/images the images that nodes have from the start
#   lab.sh down  FOLDER      ends every process by its pid, and removes namespaces and cgroups
#   lab.sh crash FOLDER NODE the node loses power: all of its processes end at once, and its /run is gone
#   lab.sh boot  FOLDER NODE the node starts again
#   lab.sh cut   FOLDER NODE the node's cable is pulled; its pods live on
#   lab.sh mend  FOLDER NODE and is plugged in again
#   lab.sh kill_server  FOLDER  the API server is killed
#   lab.sh start_server FOLDER  and starts again
#
# The nodes are node-a and node-b. FOLDER/kubectl, FOLDER/helm and `FOLDER/administer COMMAND` have the rights of an administrator.
# FOLDER/NODE/enter runs a command on a node.
# The exports of FOLDER/environment are in the environment of every process of a node.
# The labs of several FOLDERs do not meet: every name outside of FOLDER has the folder's random part in it.
set -euo pipefail

nodes=(node-a node-b)
hub_address=10.200.0.1
etcd_url=http://$hub_address:2379
declare -A address=([node-a]=10.200.0.2 [node-b]=10.200.0.3)

main() {
    (($# >= 2)) || fail "usage: lab.sh up|down|crash|boot|cut|mend|kill_server|start_server FOLDER [NODE]"
    local verb=$1
    lab=$(cd "$2" && pwd)
    id=lab-$(basename "$lab" | tr -dc '[:alnum:]' | tail -c 8)
    shift 2
    case $verb in
        up | down | crash | boot | cut | mend | kill_server | start_server) "$verb" "$@" ;;
        *) fail "no command is called $verb" ;;
    esac
}

up() {
    mkdir -p "$lab"/{certs,log}
    make_hub
    start_control_plane
    local node
    for node in "${nodes[@]}"; do
        make_node "$node"
        boot "$node"
    done
}

make_hub() {
    ip netns add "$id-hub"
    ip -n "$id-hub" link add hub type bridge
    ip -n "$id-hub" link set lo up
    ip -n "$id-hub" addr add "$hub_address/24" dev hub
    ip -n "$id-hub" link set hub up
    # No kube-proxy runs here, so the API server reaches services over the first node.
    ip -n "$id-hub" route add 10.96.0.0/16 via "${address[node-a]}"
    # So do its proxies reach the pods of that node.
    ip -n "$id-hub" route add 10.10.0.0/16 via "${address[node-a]}"
}

start_control_plane() {
    openssl genrsa -out "$lab/certs/sa.key" 2048 2>/dev/null
    openssl rsa -in "$lab/certs/sa.key" -pubout -out "$lab/certs/sa.pub" 2>/dev/null
    echo 'administrator,admin,admin,"system:masters"' >"$lab/certs/tokens.csv"
    cat >"$lab/kubeconfig" <<END
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://$hub_address:6443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: administrator}}]
contexts: [{name: lab, context: {cluster: lab, user: admin}}]
current-context: lab
END
    local program
    for program in kubectl helm; do
        printf '#!/bin/sh\nexec nsenter --net=/run/netns/%s %s --kubeconfig=%s "$@"\n' \
            "$id-hub" "$lab/bin/$program" "$lab/kubeconfig" >"$lab/$program"
        chmod +x "$lab/$program"
    done
    # Anything else as an administrator: kubectl takes no option before the name of a plugin.
    printf '#!/bin/sh\nPATH=%s KUBECONFIG=%s exec nsenter --net=/run/netns/%s "$@"\n' \
        "$lab/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$lab/kubeconfig" "$id-hub" >"$lab/administer"
    chmod +x "$lab/administer"
    local client=$etcd_url peer=http://$hub_address:2380
    on_hub etcd "$lab/bin/etcd" --name=hub --data-dir="$lab/etcd" --initial-cluster="hub=$peer" \
        --listen-client-urls="$client" --advertise-client-urls="$client" \
        --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer"
    # The rights of the manifests are compared with what their users ask for.
    cat >"$lab/audit-policy.yaml" <<END
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: Metadata
    users: ["system:serviceaccount:kube-system:whereabouts-reconcile"]
  - level: None
END
    start_server
    on_hub kube-controller-manager "$lab/bin/kube-controller-manager" --kubeconfig="$lab/kubeconfig" --leader-elect=false \
        --service-account-private-key-file="$lab/certs/sa.key" --root-ca-file="$lab/certs/apiserver.crt" \
        --use-service-account-credentials --bind-address=127.0.0.1 --cert-dir="$lab/certs/controller-manager" \
        --node-monitor-period=2s --node-monitor-grace-period=12s
    on_hub kube-scheduler "$lab/bin/kube-scheduler" --kubeconfig="$lab/kubeconfig" --leader-elect=false \
        --bind-address=127.0.0.1 --cert-dir="$lab/certs/scheduler"
}

kill_server() {
    kill -KILL "$(<"$lab/kube-apiserver.pid")"
}

start_server() {
    on_hub kube-apiserver "$lab/bin/kube-apiserver" --etcd-servers="$etcd_url" --service-cluster-ip-range=10.96.0.0/16 \
        --bind-address=$hub_address --advertise-address=$hub_address --cert-dir="$lab/certs" --allow-privileged \
        --authorization-mode=Node,RBAC --token-auth-file="$lab/certs/tokens.csv" \
        --audit-policy-file="$lab/audit-policy.yaml" --audit-log-path="$lab/log/audit.json" \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-account-key-file="$lab/certs/sa.pub" --service-account-signing-key-file="$lab/certs/sa.key"
    tail -n 1 "$lab/pids" >"$lab/kube-apiserver.pid"
    await "the API server is ready" "$lab/kubectl" get --raw /readyz
}

make_node() { # NODE
    local node=$1 home=$lab/$1
    mkdir -p "$home"/{cni-bin,cni-conf,cni-cache,log,manifests}
    ip netns add "$id-$node"
    ip -n "$id-$node" link set lo up
    ip -n "$id-hub" link add "to-$node" type veth peer name eth0 netns "$id-$node"
    ip -n "$id-hub" link set "to-$node" master hub up
    ip -n "$id-$node" link set eth0 up
    ip -n "$id-$node" addr add "${address[$node]}/24" dev eth0
    ip -n "$id-$node" route add default via $hub_address
    # The second network of the nodes, which NetworkAttachmentDefinitions call eth1: a wire between them.
    ip -n "$id-hub" link add "wire-$node" type veth peer name eth1 netns "$id-$node"
    ip -n "$id-hub" link set "wire-$node" up
    ip -n "$id-$node" link set eth1 up
    local name
    for name in bridge host-local loopback macvlan multus portmap ptp; do
        cp "$lab/bin/$name" "$home/cni-bin/"
    done
    make_cgroups "$node"
    write_configs "$node"
}

make_cgroups() { # NODE
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then # cgroups version 2: one tree
        mkdir -p "/sys/fs/cgroup/$id-$1"
        return
    fi
    local controller
    for controller in /sys/fs/cgroup/*/; do
        mkdir -p "$controller$id-$1"
    done
    # A new group of cpuset has no processor, and no process may enter it.
    if [[ -d /sys/fs/cgroup/cpuset ]]; then
        cat /sys/fs/cgroup/cpuset/cpuset.cpus >"/sys/fs/cgroup/cpuset/$id-$1/cpuset.cpus"
        cat /sys/fs/cgroup/cpuset/cpuset.mems >"/sys/fs/cgroup/cpuset/$id-$1/cpuset.mems"
    fi
}

write_configs() { # NODE
    local node=$1 home=$lab/$1
    cat >"$home/containerd.toml" <<END
version = 3
root = "$home/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "lab.example/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "$lab/bin/runc"
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/opt/cni/bin"]
  conf_dir = "/etc/cni/net.d"
END
    # A kubelet on cgroups of version 1 starts only if it is told to. Images are on the nodes, and come from no registry.
    cat >"$home/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: ${address[$node]}
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /$id-$node
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
evictionHard: {memory.available: 100Mi}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
imagePullCredentialsVerificationPolicy: NeverVerify
localStorageCapacityIsolation: false
podLogsDir: $home/pod-logs
staticPodPath: $home/manifests
END
    # The folders that pods of a node mount from their host are this node's own. The first process ends last: when it is
    # killed, the kernel kills all others, also a plugin in the middle of a verb.
    cat >"$home/first-process.sh" <<END
set -eu
[ ! -e $lab/environment ] || . $lab/environment
hostname $node
mount --make-rshared /
mount --types tmpfs none /run
for folder in etc opt var; do # whatever is written there stays the node's own
    mkdir -p $home/over/\$folder/upper $home/over/\$folder/work
    mount --types overlay none /\$folder \\
        --options lowerdir=/\$folder,upperdir=$home/over/\$folder/upper,workdir=$home/over/\$folder/work
done
mkdir -p /run/netns /opt/cni/bin /etc/cni/net.d /var/lib/cni
mount --bind $home/cni-bin /opt/cni/bin
mount --bind $home/cni-conf /etc/cni/net.d
mount --bind $home/cni-cache /var/lib/cni
mount --bind $home/log /var/log
export PATH=$lab/bin:\$PATH
containerd --config $home/containerd.toml >>$lab/log/$node-containerd.log 2>&1 &
echo \$! >/run/containerd.pid
until ctr version >/dev/null 2>&1; do sleep 0.1; done
for image in $lab/images/*.tar; do ctr --namespace k8s.io images import \$image; done >>$lab/log/$node-images.log 2>&1
# No other machine has a route to the pods of a node, so what they send to a service gets the node's address. kube-proxy ends
# when the Node object is deleted or made again, and counts on its DaemonSet to start it anew.
while true; do
    kube-proxy --kubeconfig=$lab/kubeconfig --hostname-override=$node --conntrack-max-per-core=0 --masquerade-all \\
        --metrics-bind-address=127.0.0.1 --healthz-bind-address=127.0.0.1 >>$lab/log/$node-kube-proxy.log 2>&1 || true
    sleep 1
done &
while true; do
    kubelet --config=$home/kubelet.yaml --kubeconfig=$lab/kubeconfig --hostname-override=$node --root-dir=$home/kubelet \\
        --cert-dir=$home/pki --node-ip=${address[$node]} >>$lab/log/$node-kubelet.log 2>&1 &
    echo \$! >/run/kubelet.pid
    wait \$! || true
    sleep 1
done
END
    cat >"$home/enter" <<END
#!/bin/sh
[ ! -e $lab/environment ] || . $lab/environment
exec nsenter --target "\$(cat $home/pid)" --mount --net --uts --pid "\$@"
END
    chmod +x "$home/enter"
}

boot() { # NODE
    start "$1" nsenter --net="/run/netns/$id-$1" unshare --mount --uts --pid --fork --mount-proc \
        bash "$lab/$1/first-process.sh"
    await "node $1 has its first process" first_process "$1"
}

first_process() { # NODE
    pgrep --parent "$(tail -n 1 "$lab/pids")" >"$lab/$1/pid"
}

crash() { # NODE
    kill -KILL "$(cat "$lab/$1/pid")"
    await "the processes of $1 have ended" gone "$(cat "$lab/$1/pid")"
    # The kernel forgets these links when the power fails.
    local link
    for link in $(ip -n "$id-$1" -json link show | jq -r '.[] | select(.ifname | IN("lo", "eth0", "eth1") | not).ifname'); do
        ip -n "$id-$1" link del "$link" 2>/dev/null || true
    done
    # And the cgroups of pods. The next kubelet would look at each of them for seconds before it is Ready.
    await "the cgroups of the pods of $1 are gone" remove_cgroups "$1" -mindepth 1
}

gone() { # PID
    ! kill -0 "$1" 2>/dev/null
}

cut() { # NODE
    ip -n "$id-hub" link set "to-$1" down
}

mend() { # NODE
    ip -n "$id-hub" link set "to-$1" up
}

down() {
    local node pid namespace
    for node in "${nodes[@]}"; do
        [[ ! -s $lab/$node/pid ]] || kill -KILL "$(cat "$lab/$node/pid")" 2>/dev/null || true
    done
    [[ ! -e $lab/pids ]] || for pid in $(tac "$lab/pids"); do
        kill -KILL "$pid" 2>/dev/null || true
    done
    for namespace in hub "${nodes[@]}"; do
        ip netns del "$id-$namespace" 2>/dev/null || true
    done
    for node in "${nodes[@]}"; do
        await "the cgroups of $node are gone" remove_cgroups "$node"
    done
}

# A cgroup can be removed when the last of its killed processes has been reaped.
remove_cgroups() { # NODE [OPTION ...]: with `-mindepth 1` those below the node's own
    local cgroup
    while read -r cgroup; do
        find "$cgroup" "${@:2}" -depth -type d -exec rmdir {} + 2>/dev/null || return
    done < <(find /sys/fs/cgroup -maxdepth 2 -type d -name "$id-$1")
}

on_hub() { # NAME COMMAND ...
    local name=$1
    shift
    start "$name" nsenter --net="/run/netns/$id-hub" "$@"
}

start() { # NAME COMMAND ...
    local name=$1
    shift
    "$@" >>"$lab/log/$name.log" 2>&1 </dev/null &
    echo $! >>"$lab/pids"
}

await() { # WHAT COMMAND ...
    local what=$1
    shift
    for _ in {1..300}; do
        "$@" >/dev/null 2>&1 && return
        sleep 0.2
    done
    fail "not within a minute: $what"
}

fail() {
    echo "lab.sh: $*" >&2
    exit 1
}

main "$@"
