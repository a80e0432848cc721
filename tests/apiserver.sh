#!/usr/bin/env bash
# Tests the datastore `kubernetes` on a real kube-apiserver: its kinds of objects, the rights of nodes, their tokens.
#
#   tests/apiserver.sh [FILTER]      as root; builds kube-apiserver and etcd first (tests/parts.sh: 6 to 12 minutes on a
#                                    new machine, seconds later)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deploy/install-packages.sh
parts=$(tests/parts.sh kubernetes etcd-3.7)
program() { sed -n "s/^$1=//p" <<<"$parts"; }
KUBE_APISERVER=$(program kube-apiserver)
KUBECTL=$(program kubectl)
ETCD_3_7=$(program etcd-3.7)
export KUBE_APISERVER KUBECTL ETCD_3_7
cargo test --locked --package whereabouts-tests --features kubernetes --test it -- "kubernetes::${1:-}"
