#!/usr/bin/env bash
# Makes a certificate authority, and certificates for etcd, for the plugin and for etcd's root user.
#
#   deploy/make-certificates.sh DIRECTORY NAME_OR_ADDRESS ...      by which etcd is reached
#
# In DIRECTORY are then ca, server, client (user whereabouts) and root, .crt and .key each. Keep ca.key and
# root.key away from the cluster. What is there already is kept, so that this can be run again.
set -euo pipefail

main() {
    (($# >= 2)) || fail "usage: make-certificates.sh DIRECTORY NAME_OR_ADDRESS ..."
    directory=$1
    shift
    mkdir -p "$directory"
    umask 077
    if [[ ! -e $directory/ca.key ]]; then
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
            -subj "/CN=whereabouts etcd authority" -keyout "$directory/ca.key" -out "$directory/ca.crt" 2>/dev/null
    fi
    certify server server "subjectAltName=$(alternative_names "$@" 127.0.0.1 localhost)"
    certify client whereabouts "subjectAltName=DNS:whereabouts"
    certify root root "subjectAltName=DNS:root"
}

alternative_names() {
    local name names=()
    for name in "$@"; do
        if [[ $name == *:* || $name =~ ^[0-9.]+$ ]]; then
            names+=("IP:$name")
        else
            names+=("DNS:$name")
        fi
    done
    local IFS=,
    echo "${names[*]}"
}

certify() { # FILE COMMON_NAME ALTERNATIVE_NAMES: etcd takes the common name for the user's
    [[ ! -e $directory/$1.crt ]] || return 0
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" \
        -keyout "$directory/$1.key" -out "$directory/$1.csr" 2>/dev/null
    openssl x509 -req -days 365 -in "$directory/$1.csr" -CA "$directory/ca.crt" -CAkey "$directory/ca.key" \
        -CAcreateserial -out "$directory/$1.crt" \
        -extfile <(printf '%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3") 2>/dev/null
    rm "$directory/$1.csr"
}

fail() {
    printf 'make-certificates: %s\n' "$*" >&2
    exit 1
}

main "$@"
