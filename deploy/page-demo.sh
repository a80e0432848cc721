#!/usr/bin/env bash
# Shows the page at work on one machine: an etcd, pods of three networks on four nodes, `whereaboutsctl serve`,
# and a picture of its page taken by a real browser.
#
#   deploy/page-demo.sh [PICTURE]      as root where packages are missing; the picture is a PNG
#
# What was started is ended, whatever happens.
set -euo pipefail

# shellcheck source=deploy/one-machine.sh
source "$(dirname "${BASH_SOURCE[0]}")/one-machine.sh"
picture=$(realpath "${1:-page.png}")

main() {
    "$top/deploy/install-packages.sh" curl:curl chromium-headless-shell:chromium-headless-shell \
        fonts-dejavu-core:/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf python3:python3
    make_work

    echo "Building the plugin and whereaboutsctl"
    build
    echo "Starting etcd, attaching pods"
    start_etcd
    attach_pods
    echo "Serving the page"
    start_server
    take_picture
    curl --silent --fail "$server/metrics" | grep '^whereabouts_range_taken'
}

attach_pods() {
    local number
    for ((number = 1; number <= 96; number++)); do
        call ADD storage 10.66.0.0/24 "db-$number" "node-$((number % 4 + 1))"
    done
    for ((number = 1; number <= 12; number++)); do
        call ADD video 10.66.0.0/16 "cam-$number" "node-$((number % 4 + 1))"
        call ADD lab fd00:66::/64 "probe-$number" "node-$((number % 4 + 1))"
        call ADD edge 10.80.0.0/28 "gateway-$number" "node-$((number % 4 + 1))"
    done
    call ADD edge 10.80.0.0/28 gateway-13 node-1
    for ((number = 5; number <= 90; number += 7)); do
        call DEL storage 10.66.0.0/24 "db-$number" node-1
    done
}

call() { # VERB NETWORK RANGE POD NODE
    CNI_COMMAND=$1 CNI_CONTAINERID=$4 CNI_NETNS=/run/netns/$4 CNI_IFNAME=net1 CNI_PATH=$work/bin \
        CNI_ARGS="K8S_POD_NAMESPACE=default;K8S_POD_NAME=$4" "$work/bin/whereabouts" >/dev/null <<CONFIG
{
  "cniVersion": "1.0.0", "name": "$2", "type": "macvlan",
  "ipam": { "type": "whereabouts", "etcd_host": "$etcd", "range": "$3", "node_name": "$5" }
}
CONFIG
}

start_server() {
    server=http://127.0.0.1:$(free_port)
    "$work/bin/whereaboutsctl" serve --etcd-host "$etcd" --listen "${server#http://}" >"$work/serve.log" 2>&1 &
    await "etcd is followed" is_live
}

is_live() {
    curl --silent --fail "$server/metrics" | grep -qx 'whereabouts_etcd_up 1'
}

take_picture() {
    "$top/deploy/take-picture.py" "$server/#range=10.66.0.0%2F16&pool=&own=false&at=10.66.0.0%2F24&address=10.66.0.103" \
        "document.querySelectorAll('.map .held').length > 0 && document.querySelectorAll('#claims tr').length > 1 &&
            document.querySelectorAll('#drawer .commands li').length > 1" \
        "$picture"
    echo "$picture: $(stat --format=%s "$picture") bytes"
}

main
