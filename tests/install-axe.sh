#!/usr/bin/env bash
# Installs axe-core, a judge of accessibility, and prints where its script is.
#
#   tests/install-axe.sh FOLDER      needs pip3
#
# A package of PyPI has the script, and the hash says that it is this one: axe-core 4.12.1.
set -euo pipefail

package=axe-playwright-python==0.1.8
hash=sha256:fdd263c998388f1a8e67cad02677e612d946248bd44d163be5e8650ea31f95f8
pip3 install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --require-hashes \
    --only-binary :all: --target "$1" --requirement <(echo "$package --hash=$hash")
echo "$1/axe_playwright_python/axe.min.js"
