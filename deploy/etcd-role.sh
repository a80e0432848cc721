#!/usr/bin/env bash
# Gives etcd's user `whereabouts` the keys below one prefix and no others, lets `whereabouts-read` read them, and turns
# authentication on.
#
#   deploy/etcd-role.sh [--shared] [PREFIX]      /whereabouts/v1/ by default
#
# It calls etcdctl. ETCDCTL_ENDPOINTS, ETCDCTL_CACERT, ETCDCTL_CERT and ETCDCTL_KEY tell how to reach etcd, with a
# certificate whose common name is `root` (deploy/make-certificates.sh makes one). If client.crt or read.crt is beside it,
# their rights are proved as well. Users have no passwords: certificates name them. The script can be run again.
#
# From the moment of authentication, etcd denies every client without a user, and etcd cannot list its clients. So the script
# refuses an etcd that has users, roles or keys of somebody else. --shared says that these clients have users, and keeps them.
# After any failure authentication is off again.
set -euo pipefail
shopt -s inherit_errexit

# A user with a password, for the time in which nothing is proved yet.
way_back=whereabouts-way-back
own_users=(root whereabouts whereabouts-read "$way_back")
own_roles=(root whereabouts whereabouts-read)
# How often, and with which pause, turning authentication off is tried: a member may just be starting again.
tries=10
pause_s=2

main() {
    read_arguments "$@"
    # Before 3.4 etcdctl speaks the old API unless told otherwise; 3.7 warns of the variable.
    [[ $(etcdctl version 2>&1) == *"API version: 3"* ]] || export ETCDCTL_API=3
    check_certificate
    local now
    now=$(authentication)
    if [[ $now == on ]]; then
        update
    else
        refuse_what_is_foreign
        begin
    fi
    etcdctl role get whereabouts
}

read_arguments() {
    shared=
    if [[ ${1:-} == --shared ]]; then
        shared=yes
        shift
    fi
    prefix=${1:-/whereabouts/v1/}
    if (($# > 1)) || [[ $prefix != /*/ ]]; then
        fail "usage: etcd-role.sh [--shared] [PREFIX]; a prefix begins and ends with a slash"
    fi
}

check_certificate() {
    [[ -n ${ETCDCTL_CERT:-} && -n ${ETCDCTL_KEY:-} ]] ||
        fail "ETCDCTL_CERT and ETCDCTL_KEY do not name root's certificate and key; without them nobody could turn" \
            "authentication off"
    local subject
    subject=$(openssl x509 -in "$ETCDCTL_CERT" -noout -subject -nameopt multiline) || fail "$ETCDCTL_CERT cannot be read"
    grep -qE '^ *commonName *= root$' <<<"$subject" ||
        fail "the common name of $ETCDCTL_CERT is not root: with it nobody could turn authentication off"
}

# etcd 3.4 does not tell. But a login of an unknown user fails only if there are logins.
authentication() { # on or off
    local said
    if said=$(ETCDCTL_USER=nobody:nobody etcdctl role list 2>&1); then
        echo off
    elif [[ $said == *"authentication failed"* ]]; then
        echo on
    else
        fail "etcd does not answer:" "$said"
    fi
}

refuse_what_is_foreign() {
    [[ -z $shared ]] || return 0
    local names
    names=$(foreign user "${own_users[@]}")
    [[ -z $names ]] || refuse "it has users of somebody else: $names"
    names=$(foreign role "${own_roles[@]}")
    [[ -z $names ]] || refuse "it has roles of somebody else: $names"
    # The first of all keys, and the first one beyond the prefix.
    names=$(etcdctl get --keys-only --limit 1 --from-key "" && etcdctl get --keys-only --limit 1 --from-key "${prefix%/}0")
    while read -r name; do
        [[ -z $name || $name == "$prefix"* ]] || refuse "it has keys of somebody else: $name"
    done <<<"$names"
}

foreign() { # KIND OWN ...: the other names of the kind
    local kind=$1 names
    shift
    names=$(etcdctl "$kind" list)
    grep -vxF -f <(printf '%s\n' "$@") <<<"$names" | paste -sd' ' || true
}

refuse() {
    fail "this etcd is not whereabouts' alone: $*. Its clients would be denied from now on. If all of them have users," \
        "run this with --shared"
}

# Nobody is limited yet, so users and roles are made anew: they have nothing else.
begin() {
    trap end EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    if [[ -z $shared ]]; then
        forget user root
    fi
    exists role root || etcdctl role add root
    add_user root root
    local name
    for name in whereabouts whereabouts-read; do
        forget user "$name"
        forget role "$name"
    done
    grant
    forget user "$way_back"
    password=$(openssl rand -hex 24)
    etcdctl user add "$way_back" --interactive=false <<<"$password" >/dev/null
    etcdctl user grant-role "$way_back" root >/dev/null

    may_be_on=yes
    etcdctl auth enable
    prove
    etcdctl user delete "$way_back" >/dev/null
    may_be_on=
}

# Authentication limits the nodes already: they keep their rights meanwhile.
update() {
    etcdctl user list >/dev/null || fail "authentication is on, and $ETCDCTL_CERT is not root's for this etcd"
    forget user "$way_back"
    grant
    prove
}

grant() {
    grant_role whereabouts readwrite
    grant_role whereabouts-read read
}

grant_role() { # NAME PERMISSION: of a user and a role
    exists role "$1" || etcdctl role add "$1"
    local said other
    said=$(etcdctl role get "$1")
    other=$(grep $'^\t' <<<"$said" | grep -vF "(prefix $prefix)" || true)
    [[ -z $other || -n $shared ]] ||
        fail "the role $1 has other keys too:" "$other;" "see etcdctl role revoke-permission, or run this with --shared"
    etcdctl role grant-permission --prefix "$1" "$2" "$prefix"
    add_user "$1" "$1"
    said=$(etcdctl user get "$1" | sed -n 's/^Roles://p')
    for other in $said; do
        [[ $other == "$1" ]] || etcdctl user revoke-role "$1" "$other"
    done
}

add_user() { # NAME ROLE
    exists user "$1" || etcdctl user add "$1" --no-password
    etcdctl user grant-role "$1" "$2"
}

forget() { # KIND NAME
    ! exists "$1" "$2" || etcdctl "$1" delete "$2" >/dev/null
}

exists() { # KIND NAME
    # Not into `grep -q`: it ends at the first match, and pipefail would tell of a writer without a reader.
    grep -qxF "$2" <<<"$(etcdctl "$1" list)"
}

# That every certificate can do its work, and no more.
prove() {
    [[ $(authentication) == on ]] || fail "authentication is not on"
    etcdctl user list >/dev/null || fail "etcd does not take $ETCDCTL_CERT for root's; does it run with --client-cert-auth?"
    local folder=${ETCDCTL_CERT%/*}
    [[ $folder != "$ETCDCTL_CERT" ]] || folder=.
    if [[ -e $folder/client.crt ]]; then
        may "$folder/client" get --keys-only --limit 1 --prefix "$prefix"
        may "$folder/client" del "${prefix}nothing"
        may_not "$folder/client" get --keys-only --limit 1 --from-key "/"
    fi
    if [[ -e $folder/read.crt ]]; then
        may "$folder/read" get --keys-only --limit 1 --prefix "$prefix"
        may_not "$folder/read" del "${prefix}nothing"
    fi
}

may() { # PAIR ARGUMENT ...: of etcdctl
    local said pair=$1
    shift
    said=$(ETCDCTL_CERT=$pair.crt ETCDCTL_KEY=$pair.key etcdctl "$@" 2>&1) ||
        fail "the owner of $pair.crt must be allowed to: $*:" "$said"
}

may_not() { # PAIR ARGUMENT ...: of etcdctl
    local said pair=$1
    shift
    ! said=$(ETCDCTL_CERT=$pair.crt ETCDCTL_KEY=$pair.key etcdctl "$@" 2>&1) ||
        fail "the owner of $pair.crt must not be allowed to: $*"
    [[ $said == *"permission denied"* ]] || fail "$pair.crt: etcdctl $*:" "$said"
}

# At the end of a run that has not come to its end.
end() {
    local status=$?
    [[ -n ${may_be_on:-} ]] || exit "$status"
    trap '' INT TERM
    printf 'etcd-role: turning authentication off again\n' >&2
    local try
    for ((try = 0; try < tries; try++)); do
        if turn_off; then
            printf 'etcd-role: authentication is off\n' >&2
            exit 1
        fi
        sleep "$pause_s"
    done
    printf 'etcd-role: %s\n' "authentication may be on. As soon as etcd answers, turn it off with" \
        "    ETCDCTL_USER=$way_back:$password etcdctl auth disable" "    etcdctl user delete $way_back" >&2
    exit 1
}

turn_off() {
    { ETCDCTL_USER=$way_back:$password etcdctl auth disable || etcdctl auth disable; } >/dev/null 2>&1
    [[ $(authentication 2>/dev/null) == off ]] && forget user "$way_back"
}

fail() {
    printf 'etcd-role: %s\n' "$*" >&2
    exit 1
}

main "$@"
