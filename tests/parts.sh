#!/usr/bin/env bash
# Builds the real programs that whereabouts is tested with, each from the Go module that tests/parts pins.
#
#   tests/parts.sh PART ...           builds what the cache lacks, and prints a line PROGRAM=PATH for each program
#   tests/parts.sh --check PART ...   only reports what is missing to build them
#
#   part          programs
#   etcd-3.5      etcd-3.5                 etcd-3.6   etcd-3.6
#   etcd-3.7      etcd-3.7 etcdctl-3.7
#   kubernetes    kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl
#   containerd    containerd containerd-shim-runc-v2 ctr crictl
#   runc          runc
#   cni           bridge host-local loopback macvlan portmap ptp cnitool
#   multus        multus
#   helm          helm
#   jaeger        jaeger                   an all-in-one Jaeger: OTLP in, query API out
#   ancestor      whereabouts-ancestor     the original plugin: a peer to measure and to migrate from
#
#   PARTS_CACHE=FOLDER         where built programs stay; target/parts by default
#   PART_<PROGRAM>=PATH        takes a program from outside, e.g. PART_KUBE_APISERVER=/opt/kube-apiserver
#   KUBEBUILDER_ASSETS=FOLDER  takes kube-apiserver and kubectl from the folder that setup-envtest makes
#
# On two cores of a new machine: kubernetes 6 to 12 minutes, jaeger 3 to 6, helm 2, each other part a minute or less. Go's
# own build cache makes a second build of anything take seconds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

least_go=1.26
modules=$PWD/tests/parts
cache=$(mkdir -p "${PARTS_CACHE:-target/parts}" && cd "${PARTS_CACHE:-target/parts}" && pwd)

main() {
    local parts=("$modules"/*/) part only_check=no
    if [[ ${1:-} == --check ]]; then
        only_check=yes
        shift
    fi
    parts=("${parts[@]#"$modules/"}")
    (($#)) || fail "usage: tests/parts.sh PART ...; the parts are ${parts[*]%/}"
    for part in "$@"; do
        [[ -f $modules/$part/go.mod ]] || fail "no part is called $part; the parts are ${parts[*]%/}"
    done
    require_tools "$@"
    [[ $only_check == no ]] || return 0
    for part in "$@"; do
        each_program "$part"
    done
}

# Reports everything that is missing at once, before minutes of building.
require_tools() { # PART ...
    local missing=() version
    if ! version=$(go env GOVERSION 2>/dev/null); then
        missing+=("Go $least_go or newer, as the command go")
    elif [[ $(printf '%s\n' "go$least_go" "$version" | sort --version-sort | head -n 1) != "go$least_go" ]]; then
        missing+=("Go $least_go or newer instead of $version")
    fi
    if [[ " $* " == *" runc "* ]]; then # it is linked with libseccomp
        command -v cc >/dev/null || missing+=("a C compiler, as the command cc")
        pkg-config --exists libseccomp 2>/dev/null || missing+=("pkg-config and libseccomp (Debian: pkg-config libseccomp-dev)")
    fi
    ((${#missing[@]} == 0)) || fail "missing: $(printf '\n  %s' "${missing[@]}")"
}

each_program() { # PART
    local strip="-s -w" name
    case $1 in
        etcd-3.5 | etcd-3.6) program "$1" "$1" go.etcd.io/etcd/server/v3 -ldflags "$strip" ;;
        etcd-3.7)
            program "$1" etcd-3.7 go.etcd.io/etcd/server/v3 -ldflags "$strip"
            program "$1" etcdctl-3.7 go.etcd.io/etcd/etcdctl/v3 -ldflags "$strip"
            ;;
        kubernetes)
            local version stamp=k8s.io/component-base/version
            version=$(sed -n 's#^.*k8s.io/kubernetes \(v[0-9.]*\).*#\1#p' "$modules/kubernetes/go.mod" | head -n 1)
            strip+=" -X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=$(cut -d. -f2 <<<"$version")"
            for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
                program "$1" $name k8s.io/kubernetes/cmd/$name -ldflags "$strip"
            done
            ;;
        containerd)
            for name in containerd containerd-shim-runc-v2 ctr; do
                program "$1" $name github.com/containerd/containerd/v2/cmd/$name -tags no_btrfs,no_devmapper -ldflags "$strip"
            done
            program "$1" crictl sigs.k8s.io/cri-tools/cmd/crictl -ldflags "$strip"
            ;;
        runc) CGO_ENABLED=1 program "$1" runc github.com/opencontainers/runc -tags seccomp ;;
        cni)
            for name in main/bridge main/loopback main/macvlan main/ptp meta/portmap ipam/host-local; do
                program "$1" "${name#*/}" github.com/containernetworking/plugins/plugins/$name -ldflags "$strip"
            done
            program "$1" cnitool github.com/containernetworking/cni/cnitool -ldflags "$strip"
            ;;
        multus) program "$1" multus gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus -ldflags "$strip" ;;
        helm) program "$1" helm helm.sh/helm/v4/cmd/helm -ldflags "$strip" ;;
        jaeger) program "$1" jaeger github.com/jaegertracing/jaeger/cmd/jaeger -ldflags "$strip" ;;
        ancestor) program "$1" whereabouts-ancestor github.com/k8snetworkplumbingwg/whereabouts/cmd -ldflags "$strip" ;;
        *) fail "tests/parts has $1, but this script does not know its programs" ;;
    esac
}

# Prints NAME=PATH; builds it first where neither the caller nor the cache has it. A changed pin is another folder of the cache.
program() { # PART NAME PACKAGE [FLAG ...]
    local part=$1 name=$2 package=$3 given pins path
    shift 3
    if given=$(given_path "$name"); then
        [[ -x $given ]] || fail "$name: $given is not a program"
        echo "$name=$given"
        return
    fi
    pins=$(cat "$modules/$part"/go.{mod,sum} | sha256sum | cut -c 1-12)
    path=$cache/$part-$pins/$name
    if [[ ! -x $path ]]; then
        echo "parts.sh: building $name" >&2
        # Under a name of this process: another may build it at the same time.
        (cd "$modules/$part" && GOFLAGS="-buildvcs=false -trimpath -mod=readonly" CGO_ENABLED=${CGO_ENABLED:-0} \
            go build "$@" -o "$path.$$" "$package")
        mv "$path.$$" "$path"
    fi
    echo "$name=$path"
}

given_path() { # NAME
    local variable=PART_$1
    variable=${variable//[.-]/_}
    variable=${variable^^}
    if [[ -n ${!variable:-} ]]; then
        echo "${!variable}"
    elif [[ -n ${KUBEBUILDER_ASSETS:-} && $1 =~ ^(kube-apiserver|kubectl)$ ]]; then
        echo "$KUBEBUILDER_ASSETS/$1"
    else
        return 1
    fi
}

fail() {
    echo "parts.sh: $*" >&2
    exit 2
}

main "$@"
