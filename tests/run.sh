#!/usr/bin/env bash
# Installs what the tests need and runs them all.
#
#   tests/run.sh [ARGUMENT ...]      as root; the arguments go to cargo test
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    if ((EUID != 0)); then
        echo "run.sh: run this as root: the tests make network namespaces." >&2
        exit 1
    fi
    deploy/install-packages.sh chromium-headless-shell:chromium-headless-shell musl-tools:musl-gcc openssl:openssl \
        python3-pip:pip3 strace:strace
    if [[ -z ${ROTEL_AGENT:-} ]]; then # the collector that the tests of traces send to
        tools=$(mktemp -d)
        trap 'rm -rf "$tools"' EXIT
        ROTEL_AGENT=$(deploy/install-collector.sh "$tools")
        export ROTEL_AGENT
    fi
    if [[ -z ${AXE_CORE:-} ]]; then # the judge of the page's accessibility
        tools=${tools:-$(mktemp -d)}
        trap 'rm -rf "$tools"' EXIT
        AXE_CORE=$(tests/install-axe.sh "$tools")
        export AXE_CORE
    fi
    # A test that finds them missing would build them while it measures.
    cargo build --workspace --bins --locked
    cargo test --workspace --locked "$@"
}

main "$@"
