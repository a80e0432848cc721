#!/usr/bin/env bash
# Installs Rotel, a collector of traces, and prints where its program is.
#
#   deploy/install-collector.sh FOLDER      needs pip3
#
# PyPI has it built, for this platform whatever Python there is, and the hash says that it is this one.
set -euo pipefail

package=rotel==0.0.1a15
hash=sha256:2f4117e58410c933e0dc042a268ef738dab2e3a5d63b5831209acdac2a6ddcb7
pip3 install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --require-hashes \
    --platform manylinux_2_34_x86_64 --python-version 3.11 --only-binary :all: \
    --target "$1" --requirement <(echo "$package --hash=$hash")
echo "$1/rotel/rotel-agent"
