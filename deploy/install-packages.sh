#!/usr/bin/env bash
# Installs the Debian packages that building and running whereabouts need, as far as they are missing.
#
#   deploy/install-packages.sh [--without-etcd] [PACKAGE:SIGN ...]      more packages, written as in `needed` below
#
# Debian's etcd-server starts an etcd on port 2379, at once and at every boot. Not here: nothing is
# started, and no service is left enabled. An etcd that is already there is left as it is.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

etcd=(etcd-client:etcdctl etcd-server:etcd)
if [[ ${1-} == --without-etcd ]]; then
    etcd=()
    shift
fi
# PACKAGE:SIGN, where SIGN is the command or file by which one sees that it is not missing.
needed=(
    containernetworking-plugins:/usr/lib/cni/bridge
    gcc:cc
    iproute2:ip
    iputils-ping:ping
    jq:jq
    libc6-dev:/usr/include/stdio.h
    libprotobuf-dev:/usr/include/google/protobuf/descriptor.proto
    protobuf-compiler:protoc
    "${etcd[@]}"
    "$@"
)
# Debian asks this file, where it exists, whether a package may start its service.
service_policy=/usr/sbin/policy-rc.d
policy_mark="# Made by whereabouts' install-packages.sh for the time of an installation."
policy_forbids=101

main() {
    wait_for_other_installations
    local missing=()
    list_missing_packages
    ((${#missing[@]})) || return 0
    ((EUID == 0)) || fail "missing packages: ${missing[*]}. Only root can install them: run this as root."

    if [[ " ${missing[*]} " == *" etcd-server "* ]]; then
        forbid_etcd_to_start
        install_packages
        update-rc.d etcd disable
    else
        install_packages
    fi
}

wait_for_other_installations() {
    exec {lock}</var/lib/dpkg
    flock "$lock"
}

list_missing_packages() {
    local entry sign
    for entry in "${needed[@]}"; do
        sign=${entry#*:}
        [[ -e $sign ]] || command -v "$sign" >/dev/null || missing+=("${entry%%:*}")
    done
}

forbid_etcd_to_start() {
    if [[ -e $service_policy ]] && ! grep -qF "$policy_mark" "$service_policy"; then
        local answer=0
        "$service_policy" etcd start || answer=$?
        ((answer == policy_forbids)) && return
        fail "this machine's $service_policy would let the package etcd-server start a service;" \
            "install etcd-server yourself, then run this again."
    fi
    trap 'rm -f "$service_policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    cat >"$service_policy" <<POLICY
#!/bin/sh
$policy_mark
case \$1 in etcd | etcd.service) exit $policy_forbids ;; esac
POLICY
    chmod 755 "$service_policy"
}

install_packages() {
    echo "Installing ${missing[*]}"
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
    "${apt[@]}" update || echo "apt-get update failed; going on with the lists that are there." >&2
    local output
    output=$(DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --yes --no-install-recommends \
        "${missing[@]}" 2>&1 </dev/null {lock}<&-) || fail "apt-get install failed:" "$output"
}

fail() {
    printf 'install-packages: %s\n' "$*" >&2
    exit 1
}

main
