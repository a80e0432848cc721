# An etcd of one member for a test. To be sourced; $work is the test's folder.
# shellcheck shell=bash disable=SC2154 # the test sets work

# Starts etcd and sets `client`, its URL. With https, the folder has a certificate of `server`, and etcd asks for one.
start_etcd() { # http | https CERTIFICATES
    local try peer options=()
    [[ $1 == http ]] || options=(--cert-file "$2/server.crt" --key-file "$2/server.key" --client-cert-auth --trusted-ca-file "$2/ca.crt")
    for try in 1 2 3 4 5; do
        client=$1://127.0.0.1:$(free_port)
        peer=http://127.0.0.1:$(free_port)
        etcd --data-dir "$work/etcd-$try" --initial-cluster "default=$peer" \
            --listen-client-urls "$client" --advertise-client-urls "$client" "${options[@]}" \
            --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" >"$work/etcd.log" 2>&1 &
        etcd=$!
        if becomes_healthy "${2:-}"; then
            return
        fi
        end_etcd
    done
    echo "etcd does not start: $(tail "$work/etcd.log")" >&2
    return 1
}

# Another process may take a port that was free a moment ago; then etcd ends.
becomes_healthy() { # [CERTIFICATES]
    local _ options=()
    [[ -z $1 ]] || options=(--cacert "$1/ca.crt" --cert "$1/root.crt" --key "$1/root.key")
    for _ in {1..300}; do
        kill -0 "$etcd" 2>/dev/null || return 1
        if ETCDCTL_API=3 etcdctl --endpoints "$client" "${options[@]}" endpoint health >/dev/null 2>&1; then
            return
        fi
        sleep 0.1
    done
    return 1
}

free_port() {
    local port
    while true; do
        port=$((RANDOM % 20000 + 40000))
        if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

end_etcd() {
    [[ -n ${etcd:-} ]] || return 0
    kill -KILL "$etcd" 2>/dev/null || true
    wait "$etcd" 2>/dev/null || true
    etcd=
}
