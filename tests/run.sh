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
        python3-pip:pip3
    [[ -n ${ROTEL_AGENT:-} ]] || install_collector
    cargo test --workspace --locked "$@"
}

# Rotel, the collector that the tests of traces send to. PyPI has it built, for this platform whatever
# Python there is, and the hash says that it is this one.
install_collector() {
    tools=$(mktemp -d)
    trap 'rm -rf "$tools"' EXIT
    local package=rotel==0.0.1a15
    local hash=sha256:2f4117e58410c933e0dc042a268ef738dab2e3a5d63b5831209acdac2a6ddcb7
    pip3 install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --require-hashes \
        --platform manylinux_2_34_x86_64 --python-version 3.11 --only-binary :all: \
        --target "$tools" --requirement <(echo "$package --hash=$hash")
    export ROTEL_AGENT=$tools/rotel/rotel-agent
}

main "$@"
