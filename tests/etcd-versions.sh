#!/usr/bin/env bash
# Tests the store on each supported version of etcd. The tests cover conformance, the comparison with the
# model, requests and bytes, TLS and logins, errors that are told by their text, and the role. A short chaos run
# follows.
#
#   tests/etcd-versions.sh [VERSION ...]      as root; 3.4 (Debian's), 3.5, 3.6, 3.7 and upgrade by default
#
# `upgrade` is chaos on a cluster of three that goes from 3.5 to 3.6 to 3.7, one member after the other, under load.
#
#   CHAOS_MINUTES=N    how long chaos runs on each version; 1 by default, 0 for none
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    local versions=("${@:-}") version programs
    [[ -n ${versions[0]} ]] || versions=(3.4 3.5 3.6 3.7 upgrade)
    deploy/install-packages.sh
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    for version in "${versions[@]}"; do
        if [[ $version == upgrade ]]; then
            upgrade
            continue
        fi
        programs=$(programs_of "$version")
        echo "== etcd: $(PATH=$programs:$PATH etcd --version | head -n 1)"
        PATH=$programs:$PATH cargo test --locked --test it -- store:: counts:: outage:: corrupt:: ways:: orphans:: ctl::role
        if ((${CHAOS_MINUTES:-1} > 0)); then
            chaos --etcd "$(PATH=$programs:$PATH command -v etcd)"
        fi
    done
}

upgrade() {
    local version etcds=()
    for version in 3.5 3.6 3.7; do
        etcds+=("$(programs_of "$version")/etcd")
    done
    echo "== etcd: one member after the other from 3.5 to 3.6 to 3.7"
    chaos --etcd "${etcds[0]}" --upgrade-to "${etcds[1]}" --upgrade-to "${etcds[2]}"
}

chaos() { # ARGUMENT ...
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        cargo run --release --locked --package whereabouts-chaos -- --minutes "${CHAOS_MINUTES:-1}" "$@"
}

# A folder with the commands etcd and etcdctl of a version.
programs_of() { # VERSION
    local programs=$folder/$1 parts=()
    mkdir -p "$programs"
    case $1 in
        3.4) # Debian's, which is on the PATH already
            ;;
        3.5 | 3.6 | 3.7)
            mapfile -t parts < <(tests/parts.sh "etcd-$1" etcd-3.7)
            ((${#parts[@]})) || exit 1
            local part
            for part in "${parts[@]}"; do
                [[ $part != "etcd-$1="* ]] || ln -sf "${part#*=}" "$programs/etcd"
                [[ $part != etcdctl-3.7=* ]] || ln -sf "${part#*=}" "$programs/etcdctl"
            done
            ;;
        *)
            echo "etcd-versions.sh: no version $1 is known: 3.4, 3.5, 3.6 or 3.7" >&2
            exit 2
            ;;
    esac
    echo "$programs"
}

main "$@"
