#!/usr/bin/env bash
# Tests the alerts with promtool: each of them fires in one history of metrics, and does not in another.
#
#   tests/alerts.sh      on Debian; PROMTOOL names a promtool that is there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    deploy/install-packages.sh --without-etcd python3-yaml:/usr/lib/python3/dist-packages/yaml
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    promtool=${PROMTOOL:-$(tests/install-promtool.sh "$work/promtool")}
    cp tests/alerts.yaml "$work/"
    rules >"$work/rules.yaml"
    "$promtool" check rules "$work/rules.yaml" >"$work/said" || fail "$(<"$work/said")"
    fires_as_told || fail "$(<"$work/said")"
    local alert count=0
    while read -r alert; do
        rules "$alert" "vector(1) < 0" >"$work/rules.yaml"
        ! fires_as_told || fail "it was not found that $alert never fires"
        rules "$alert" "vector(1)" >"$work/rules.yaml"
        ! fires_as_told || fail "it was not found that $alert always fires"
        count=$((count + 1))
    done < <(rules | sed -n 's/^ *-\? *alert: //p')
    echo "alerts: $count, each of which fires and does not fire as tests/alerts.yaml tells"
}

fires_as_told() {
    "$promtool" test rules "$work/alerts.yaml" >"$work/said" 2>&1
}

rules() { # [ALERT EXPRESSION]: the rules in Prometheus' own form, perhaps with another expression of one alert
    python3 - "$@" <<'PYTHON'
import sys, yaml
with open("deploy/kubernetes/monitoring/prometheus-rule.yaml") as file:
    rules = yaml.safe_load(file)["spec"]
for group in rules["groups"]:
    for rule in group["rules"]:
        if rule["alert"] in sys.argv[1:2]:
            rule["expr"] = sys.argv[2]
yaml.safe_dump(rules, sys.stdout, sort_keys=False)
PYTHON
}

fail() {
    printf 'alerts: %s\n' "$*" >&2
    exit 1
}

main
