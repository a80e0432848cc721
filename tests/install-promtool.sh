#!/usr/bin/env bash
# Unpacks promtool, Prometheus' judge of rules and of metrics, and prints where it is.
#
#   tests/install-promtool.sh FOLDER      on Debian
#
# Debian's package would start a Prometheus, so it is only unpacked.
set -euo pipefail

mkdir -p "$1"
cd "$1"
output=$(apt-get download -qq prometheus 2>&1) || {
    apt-get -qq -o DPkg::Lock::Timeout=300 update >&2
    apt-get download -qq prometheus >&2 || {
        printf 'install-promtool: %s\n' "$output" >&2
        exit 1
    }
}
dpkg-deb --fsys-tarfile prometheus_*.deb | tar --extract ./usr/bin/promtool
rm prometheus_*.deb
echo "$PWD/usr/bin/promtool"
