#!/usr/bin/env bash
# Makes a certificate authority, and certificates for etcd and for its users.
#
#   deploy/make-certificates.sh DIRECTORY NAME_OR_ADDRESS ...      by which etcd is reached
#
# DIRECTORY then has a .crt and a .key of each of these. Keep ca.key and root.key away from the cluster.
#
#   ca         the authority
#   server     of etcd, for the names and addresses
#   client     of the user whereabouts: plugin and tool
#   read       of the user whereabouts-read: the page
#   root       of the user root
#
# A complete pair of DIRECTORY is kept, so the script can be run again. A pair that cannot be used is an error. All new
# files appear at the end; after an error there are none.
set -euo pipefail

main() {
    (($# >= 2)) || fail "usage: make-certificates.sh DIRECTORY NAME_OR_ADDRESS ..."
    directory=$1
    shift
    names=("$@" 127.0.0.1 localhost)
    check_names
    umask 077
    mkdir -p -- "$directory" || fail "the directory $directory cannot be made"
    new=$(mktemp -d -- "$directory/.new-XXXXXX") || fail "the directory $directory cannot be written"
    trap 'rm -rf -- "$new"' EXIT

    local pair
    for pair in ca server client read root; do
        is_there "$pair" || make "$pair"
        check "$pair"
    done
    # Within one directory a move is a rename.
    find "$new" -type f -exec mv -t "$directory" -- {} + || fail "the files cannot be moved into $directory"
}

check_names() {
    local name
    for name in "${names[@]}"; do
        [[ $name =~ ^[A-Za-z0-9.:*-]+$ ]] || fail "it is neither a name nor an address: $name"
    done
}

is_there() { # PAIR
    local pair=$directory/$1
    [[ -e $pair.key || -e $pair.crt ]] || return 1
    [[ -e $pair.key && -e $pair.crt ]] || fail "of $pair.key and $pair.crt only one exists; remove it, or add the other"
}

make() { # PAIR
    case $1 in
        ca) openssl_or_fail req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
            -subj "/CN=whereabouts etcd authority" -keyout "$new/ca.key" -out "$new/ca.crt" ;;
        # etcd 3.4 and 3.5 show the server's certificate to themselves as a client, for their gateway.
        server) certify server server serverAuth,clientAuth "$(alternative_names)" ;;
        client) certify client whereabouts clientAuth DNS:whereabouts ;;
        read) certify read whereabouts-read clientAuth DNS:whereabouts-read ;;
        root) certify root root clientAuth DNS:root ;;
    esac
}

certify() { # PAIR COMMON_NAME USAGES ALTERNATIVE_NAMES: etcd takes the common name for the user's
    openssl_or_fail req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" \
        -keyout "$new/$1.key" -out "$new/request"
    printf 'subjectAltName=%s\nextendedKeyUsage=%s\nkeyUsage=critical,digitalSignature\n' "$4" "$3" >"$new/extensions"
    openssl_or_fail x509 -req -days 365 -in "$new/request" -CA "$(path_of ca.crt)" -CAkey "$(path_of ca.key)" \
        -set_serial "0x$(openssl rand -hex 16)" -out "$new/$1.crt" -extfile "$new/extensions"
    rm -- "$new/request" "$new/extensions"
}

alternative_names() {
    local name list=()
    for name in "${names[@]}"; do
        if is_address "$name"; then
            list+=("IP:$name")
        else
            list+=("DNS:$name")
        fi
    done
    local IFS=,
    echo "${list[*]}"
}

# Whether a pair, old or new, does its work: a pair that does not is found here instead of on every node.
check() { # PAIR
    local crt key name
    crt=$(path_of "$1.crt") key=$(path_of "$1.key")
    openssl_or_fail verify -CAfile "$(path_of ca.crt)" "$crt"
    [[ $(openssl x509 -in "$crt" -noout -pubkey) == "$(openssl pkey -in "$key" -pubout)" ]] ||
        fail "$key is not the key of $crt"
    [[ $1 == server ]] || return 0
    for name in "${names[@]}"; do
        if is_address "$name"; then
            set -- -checkip "$name"
        else
            set -- -checkhost "$name"
        fi
        openssl x509 -in "$crt" -noout "$@" | grep -q 'does match' ||
            fail "$crt is not for $name; remove it and its key, then run this again"
    done
}

path_of() { # FILE
    if [[ -e $new/$1 ]]; then
        echo "$new/$1"
    else
        echo "$directory/$1"
    fi
}

is_address() { # NAME_OR_ADDRESS
    [[ $1 == *:* || $1 =~ ^[0-9.]+$ ]]
}

openssl_or_fail() { # ARGUMENT ...
    local said
    said=$(openssl "$@" 2>&1) || fail "openssl $1:" "$said"
}

fail() {
    printf 'make-certificates: %s\n' "$*" >&2
    exit 1
}

main "$@"
