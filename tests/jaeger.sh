#!/usr/bin/env bash
# Tests what a user of Jaeger sees of traces: a real Jaeger, etcd and the plugin, read back through Jaeger's query API.
#
#   tests/jaeger.sh      as root; builds Jaeger first (tests/parts.sh: 3 to 6 minutes on a new machine, seconds later)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deploy/install-packages.sh
part=$(tests/parts.sh jaeger)
export JAEGER=${part#jaeger=}
cargo test --locked --package whereabouts-tests --features jaeger --test it -- traces::jaeger
