#!/usr/bin/env bash
# Runs the long judges for a given time: fresh seeds of the simulation, the small worlds, chaos on each etcd and on API
# servers, and the real parts: all scenarios in a cluster, each version of etcd with an upgrade under load, Jaeger, and causes of old faults put back.
#
#   tests/long.sh MINUTES [RECORD.jsonl]      as root
#
# The judges take turns until the time is up. Each turn appends one line of JSON to the record (by default
# target/long.jsonl): what ran, for how long, on which commit, with which seeds, and its exit status. The command ends with
# status 1 if a judge found something.
#
#   ETCDS="etcd /opt/etcd-3.6/etcd"   the programs that chaos runs on in turn; by default the etcd on the PATH
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# One turn of each kind: long enough to find something, short enough for every kind to have many turns.
seeds_per_turn=20000
chaos_minutes_per_turn=5

# Each round has one of them.
real_parts=(
    "cluster.sh --all"
    "cluster.sh --datastore kubernetes --all"
    "etcd-versions.sh upgrade"
    "etcd-versions.sh 3.4 3.5 3.6 3.7"
    "jaeger.sh"
    "release.sh --full"
    "cluster.sh --sabotage PrimaryRoutedTwice"
    "cluster.sh --sabotage NullListAbsent"
    "cluster.sh --sabotage ReleaseNotSent"
    "cluster.sh --sabotage BitsUnseen"
    "cluster.sh --sabotage ErrorAsAbsence"
)

main() {
    local minutes=${1:-}
    [[ $minutes =~ ^[1-9][0-9]*$ ]] || fail "usage: tests/long.sh MINUTES [RECORD.jsonl]"
    ((EUID == 0)) || fail "run this as root: chaos makes network namespaces"
    record=${2:-target/long.jsonl}
    read -ra etcds <<< "${ETCDS:-etcd}"

    tests/cluster.sh --check
    cargo build --release --locked --package whereabouts-sim --package whereabouts-chaos
    mkdir -p "$(dirname "$record")"
    logs=$(mktemp -d)
    trap 'rm -rf "$logs"' EXIT

    ends=$((SECONDS + 60 * minutes))
    found=0
    turn exhaustive "" target/release/whereabouts-sim exhaustive
    local round etcd
    for ((round = 0; SECONDS < ends; round++)); do
        simulate
        etcd=${etcds[round % ${#etcds[@]}]}
        ((SECONDS >= ends)) || torment "chaos on $("$etcd" --version | head -n 1)" --etcd "$etcd"
        ((SECONDS >= ends)) || torment "chaos on API servers" --datastore kubernetes
        ((SECONDS >= ends)) || try "${real_parts[round % ${#real_parts[@]}]}"
    done
    echo "$round rounds, $found turns with a finding; the record is $record"
    ((found == 0))
}

# A start between 2^32 and 2^48: no other run of anybody has had these seeds.
simulate() {
    local from=$(((RANDOM << 33) + (RANDOM << 18) + (RANDOM << 3) + (1 << 32)))
    local seeds="$from..$((from + seeds_per_turn))"
    turn simulation "$seeds" target/release/whereabouts-sim run --seeds "$seeds"
}

torment() { # KIND ARGUMENT ...
    local minutes=$(((ends - SECONDS + 59) / 60)) seed=$(((RANDOM << 15) + RANDOM))
    ((minutes <= chaos_minutes_per_turn)) || minutes=$chaos_minutes_per_turn
    turn "$1" "$seed" target/release/whereabouts-chaos --minutes "$minutes" --seed "$seed" "${@:2}"
}

try() { # SCRIPT WITH ARGUMENTS
    local command
    read -ra command <<< "$1"
    turn "$1" "" "tests/${command[0]}" "${command[@]:1}"
}

# Runs one judge and appends what came of it to the record.
turn() { # KIND SEEDS COMMAND ARGUMENT ...
    local kind=$1 seeds=$2 started=$SECONDS status=0
    shift 2
    echo "== $kind $seeds ($SECONDS s)"
    "$@" > "$logs/output" 2>&1 || status=$?
    if ((status != 0)); then
        found=$((found + 1))
        cat "$logs/output"
    fi
    jq --null-input --compact-output --arg at "$(date --utc +%FT%TZ)" --arg commit "$(git rev-parse HEAD)" --arg kind "$kind" \
        --arg seeds "$seeds" --argjson seconds $((SECONDS - started)) --argjson status $status --rawfile output "$logs/output" \
        '{at: $at, commit: $commit, kind: $kind, seeds: $seeds, seconds: $seconds, status: $status}
         + if $status == 0 then {} else {output: $output[-20000:]} end' >> "$record"
}

fail() {
    echo "long.sh: $*" >&2
    exit 2
}

main "$@"
