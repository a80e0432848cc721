#!/usr/bin/env bash
# Installs what the tests need and runs them all.
#
#   tests/run.sh [ARGUMENT ...]      as root; the arguments go to cargo test
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ((EUID != 0)); then
    echo "run.sh: run this as root: the tests make network namespaces." >&2
    exit 1
fi
deploy/install-packages.sh musl-tools:musl-gcc openssl:openssl
cargo test --workspace --locked "$@"
