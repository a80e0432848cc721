#!/usr/bin/env bash
# Gives etcd's user `whereabouts` the keys below one prefix and no others, lets the user `whereabouts-read` read them,
# and turns authentication on.
#
#   deploy/etcd-role.sh [PREFIX]      /whereabouts/v1/ by default
#
# It calls etcdctl, which is told by ETCDCTL_ENDPOINTS, ETCDCTL_CACERT, ETCDCTL_CERT and ETCDCTL_KEY how to
# reach etcd as root: with a certificate whose common name is `root` (deploy/make-certificates.sh makes one).
# Users have no passwords: certificates name them. It can be run again.
set -euo pipefail
export ETCDCTL_API=3

prefix=${1:-/whereabouts/v1/}

main() {
    [[ $prefix == /*/ ]] || fail "the prefix must begin and end with a slash: $prefix"
    exists role root || etcdctl role add root
    add_user root root
    exists role whereabouts || etcdctl role add whereabouts
    etcdctl role grant-permission --prefix whereabouts readwrite "$prefix"
    add_user whereabouts whereabouts
    exists role whereabouts-read || etcdctl role add whereabouts-read
    etcdctl role grant-permission --prefix whereabouts-read read "$prefix"
    add_user whereabouts-read whereabouts-read
    # Fails when it is on already; then everything above was done by a root that etcd has let in.
    etcdctl auth enable || etcdctl user get root >/dev/null
    etcdctl role get whereabouts
}

exists() { # KIND NAME
    # Not into `grep -q`: it ends at the first match, and pipefail would tell of a writer without a reader.
    grep -qx "$2" <<<"$(etcdctl "$1" list)"
}

add_user() { # NAME ROLE
    exists user "$1" || etcdctl user add "$1" --no-password
    etcdctl user grant-role "$1" "$2"
}

fail() {
    printf 'etcd-role: %s\n' "$*" >&2
    exit 1
}

main
