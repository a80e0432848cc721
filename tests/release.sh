#!/usr/bin/env bash
# Makes the files of a release with the steps of .github/workflows/release.yaml, and tests each of them: the programs of
# both architectures (one of them in an emulator), archives, image, chart, manifests, components, checksums.
#
#   tests/release.sh [--full]      as root
#
# Without --full the programs are built in a part of the time that those of a release take, and are slower.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/one-etcd.sh
. tests/one-etcd.sh

full=${1:-}
steps=(toolchain x86_64 aarch64 documents archives deployment sbom image checksums)
image=registry.example/whereabouts
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
actionlint=github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

main() {
    deploy/install-packages.sh file:file groff-base:groff kubernetes-client:kubectl man-db:man openssl:openssl \
        qemu-user-static:qemu-aarch64-static
    work=$(mktemp -d)
    trap 'end_etcd; rm -rf "$work"' EXIT
    folder=$work/release
    assets=$folder/assets
    check_workflow
    make "${steps[@]}"
    check_checksums
    check_archive x86_64 x86-64
    check_archive aarch64 "ARM aarch64"
    check_pages
    check_image
    check_chart
    check_manifests
    check_components
    check_same_again
    echo "release $version: $(cd "$assets" && echo *)"
}

# A linter does not know what a step does: each building step must be one that runs here.
check_workflow() {
    GOBIN=$work go install "$actionlint"
    "$work/actionlint" -color=false .github/workflows/release.yaml || fail "the workflow is wrong"
    [[ $(sed -n 's|.*deploy/release\.sh \([a-z0-9_]*\) dist/$|\1|p' .github/workflows/release.yaml | xargs) == "${steps[*]}" ]] ||
        fail "the workflow has other steps than" "${steps[@]}"
    ! grep -E '^ +-? *uses: ' .github/workflows/release.yaml | grep -vE '@[0-9a-f]{40} # v[0-9.]+$' || fail "an action is not pinned"
    deploy/release.sh check-tag "v$version"
    ! deploy/release.sh check-tag v9.9.9 2>/dev/null || fail "the tag v9.9.9 fits"
    [[ $(deploy/release.sh notes) == *"### Added"* ]] || fail "there are no notes"
}

make() { # STEP ...
    local step level
    for step; do
        echo "step $step ($SECONDS s)"
        if [[ $full == --full ]]; then
            IMAGE=$image deploy/release.sh "$step" "$folder/"
            continue
        fi
        # The emulated program is built for nothing else, so without any optimization. The cluster has the other one.
        level=3
        [[ $step != aarch64 ]] || level=0
        CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=$level \
            IMAGE=$image deploy/release.sh "$step" "$folder/"
    done
}

check_checksums() {
    local files=(
        SHA256SUMS
        "whereabouts-$version-image.oci.tar"
        "whereabouts-$version-kubernetes.tar.gz"
        "whereabouts-$version-linux-aarch64.tar.gz"
        "whereabouts-$version-linux-x86_64.tar.gz"
        "whereabouts-$version.cdx.json"
        "whereabouts-chart-$version.tgz"
        "whereaboutsctl-$version.cdx.json"
    )
    [[ $(cd "$assets" && echo *) == "${files[*]}" ]] || fail "the assets are" "$(cd "$assets" && echo *)"
    (cd "$assets" && sha256sum --check --quiet --strict SHA256SUMS) || fail "the checksums are wrong"
    [[ $(wc -l <"$assets/SHA256SUMS") == $((${#files[@]} - 1)) ]] || fail "an asset has no checksum"
}

check_archive() { # ARCHITECTURE ITS-NAME-IN-ELF
    local name=whereabouts-$version-linux-$1 place program kind expected
    tar --extract --directory "$work" --file "$assets/$name.tar.gz"
    place=$work/$name
    expected="CHANGELOG.md LICENSE NOTICE THIRD-PARTY-LICENSES completions man whereabouts whereaboutsctl"
    [[ $(cd "$place" && LC_ALL=C && echo *) == "$expected" ]] || fail "$name has" "$(ls "$place")"
    for program in whereabouts whereaboutsctl; do
        kind=$(file --brief "$place/$program")
        [[ $kind == *" $2,"*static*", stripped"* ]] || fail "$program for $1: $kind"
        ! grep -qF -e "$PWD" -e "${CARGO_HOME:-$HOME/.cargo}" "$place/$program" || fail "$program for $1 names folders of its builder"
    done
    emulator=()
    [[ $1 == "$(uname -m)" ]] || emulator=("qemu-$1-static")
    [[ $("${emulator[@]}" "$place/whereaboutsctl" --version) == "whereaboutsctl $version" ]] || fail "whereaboutsctl for $1 has no version"
    execute "$place" VERSION '{"cniVersion": "1.0.0"}' | jq --exit-status .supportedVersions >/dev/null || fail "no VERSION for $1"
    check_local "$place" "$1"
    check_etcd "$place" "$1"
    echo "$1: $(stat --format '%s bytes of %n' "$place"/whereabouts* | sed "s|$place/||" | paste -sd,): VERSION, ADD and DEL with a file and with etcd, TLS"
}

execute() { # FOLDER VERB CONFIGURATION
    env --ignore-environment PATH="$PATH" CNI_COMMAND="$2" CNI_CONTAINERID=c1 CNI_NETNS=/var/run/netns/c1 CNI_IFNAME=eth0 \
        CNI_PATH=/opt/cni/bin "${emulator[@]}" "$1/whereabouts" <<<"$3"
}

# SQLite is a C part. The datastore's folder is one of the host: so it is hidden behind another.
check_local() { # FOLDER ARCHITECTURE
    local config='{"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": {"type": "whereabouts", "datastore": "local", "range": "10.0.0.0/16"}}'
    export -f execute
    export emulators="${emulator[*]}"
    # shellcheck disable=SC2016 # the inner shell expands it
    unshare --mount bash -euo pipefail -c 'mount -t tmpfs tmpfs /var/lib; read -ra emulator <<<"$emulators"
        execute "$0" ADD "$1"; execute "$0" DEL "$1"; execute "$0" ADD "$1"' "$1" "$config" >"$work/said" || fail "file, $2:" "$(<"$work/said")"
    [[ $(jq --raw-output '.ips[].address' "$work/said" | xargs) == "10.0.0.1/16 10.0.0.1/16" ]] || fail "file, $2:" "$(<"$work/said")"
}

# ring, the other C part, makes TLS.
check_etcd() { # FOLDER ARCHITECTURE
    local config certificates=$work/certificates
    start_etcd http || fail "no etcd"
    config="{\"cniVersion\": \"1.0.0\", \"name\": \"net\", \"type\": \"bridge\", \"ipam\": {
        \"type\": \"whereabouts\", \"etcd_host\": \"$client\", \"range\": \"10.0.0.0/16\"}}"
    [[ $(execute "$1" ADD "$config" | jq --raw-output '.ips[].address') == 10.0.0.1/16 ]] || fail "no ADD for $2"
    [[ $("${emulator[@]}" "$1/whereaboutsctl" claims --etcd-host "$client") == *"10.0.0.1 "* ]] || fail "no claims for $2"
    execute "$1" DEL "$config" || fail "no DEL for $2"
    end_etcd
    deploy/make-certificates.sh "$certificates" 127.0.0.1
    rm -rf "$work"/etcd-*
    start_etcd https "$certificates" || fail "no etcd"
    "${emulator[@]}" "$1/whereaboutsctl" ranges --etcd-host "$client" --etcd-ca-cert-file "$certificates/ca.crt" \
        --etcd-cert-file "$certificates/client.crt" --etcd-key-file "$certificates/client.key" >"$work/said" 2>&1 ||
        fail "TLS, $2:" "$(<"$work/said")"
    end_etcd
    rm -rf "$work"/etcd-*
}

# Each command has a page, which man formats without a word.
check_pages() {
    local place page command
    place=$work/whereabouts-$version-linux-$(uname -m)
    for page in "$place"/man/*.1; do
        man --warnings --local-file "$page" >/dev/null 2>"$work/said" || fail "$page:" "$(<"$work/said")"
        [[ ! -s $work/said ]] || fail "$page:" "$(<"$work/said")"
    done
    while read -r command; do
        [[ $command == help || -s $place/man/whereaboutsctl-$command.1 ]] || fail "there is no page of $command"
    done < <("$place/whereaboutsctl" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]\+\) .*/\1/p')
    echo "manual: $(find "$place/man" -type f | wc -l) pages"
}

# OCI's files, read without a tool that builds them: the index names a manifest for each platform, with the archive's programs.
check_image() {
    local place=$work/image platform architecture layer program
    mkdir "$place"
    tar --extract --directory "$place" --file "$assets/whereabouts-$version-image.oci.tar"
    jq --exit-status --arg version "$version" '.manifests | length == 1 and
        .[0].annotations["org.opencontainers.image.ref.name"] == $version' "$place/index.json" >/dev/null || fail "image:" "$(<"$place/index.json")"
    blob .manifests[0].digest "$place/index.json" >"$work/index.json"
    [[ $(jq --raw-output '[.manifests[].platform | "\(.os)/\(.architecture)"] | sort | join(" ")' "$work/index.json") == "linux/amd64 linux/arm64" ]] ||
        fail "the image has other platforms:" "$(<"$work/index.json")"
    while read -r architecture platform; do
        blob ".manifests[] | select(.platform.architecture == \"$platform\") | .digest" "$work/index.json" >"$work/manifest.json"
        blob .config.digest "$work/manifest.json" >"$work/config.json"
        jq --exit-status --arg platform "$platform" --arg version "$version" '.architecture == $platform and
            .config.Entrypoint == ["/whereaboutsctl"] and .config.Labels["org.opencontainers.image.version"] == $version' \
            "$work/config.json" >/dev/null || fail "image for $platform:" "$(<"$work/config.json")"
        mkdir "$place/$platform"
        while read -r layer; do
            tar --extract --directory "$place/$platform" --file "$place/blobs/sha256/${layer#sha256:}"
        done < <(jq --raw-output '.layers[].digest' "$work/manifest.json")
        [[ $(cd "$place/$platform" && find . -type f | LC_ALL=C sort | xargs) == \
        "./licenses/LICENSE ./licenses/NOTICE ./licenses/THIRD-PARTY-LICENSES ./whereabouts ./whereaboutsctl" ]] ||
            fail "the image for $platform has" "$(find "$place/$platform")"
        for program in whereabouts whereaboutsctl; do
            cmp "$place/$platform/$program" "$work/whereabouts-$version-linux-$architecture/$program" || fail "the image has another $program"
        done
    done <<<$'x86_64 amd64\naarch64 arm64'
    echo "image: linux/amd64 and linux/arm64, with the programs of the archives"
}

blob() { # FILTER FILE: what the digest that the filter finds stands for
    local digest
    digest=$(jq --raw-output "$1" "$2")
    sha256sum --check --quiet <<<"${digest#sha256:}  $place/blobs/sha256/${digest#sha256:}" >&2
    cat "$place/blobs/sha256/${digest#sha256:}"
}

# The package gives what deploy/chart gives, which the cluster installs, upgrades and uninstalls; with another image.
check_chart() {
    local package=$assets/whereabouts-chart-$version.tgz helm
    helm=$(tests/parts.sh helm)
    helm=${helm#helm=}
    "$helm" lint --strict "$package" >"$work/said" 2>&1 || fail "chart:" "$(<"$work/said")"
    [[ $("$helm" show chart "$package") == *"version: $version"* ]] || fail "the chart has another version"
    "$helm" template some-release "$package" --namespace kube-system >"$work/packaged.yaml"
    "$helm" template some-release deploy/chart --namespace kube-system >"$work/chart.yaml"
    diff <(sed "s|image: $image:|image: localhost/whereabouts:|" "$work/packaged.yaml") "$work/chart.yaml" || fail "the packaged chart is another"
    [[ $(grep -c "image: $image:$version" "$work/packaged.yaml") == 4 ]] || fail "the packaged chart has another image"
    "$helm" package deploy/chart --destination "$work/by-helm" >/dev/null
    diff <(tar --list --file "$package" | grep -v '/$' | sort) <(tar --list --file "$work"/by-helm/*.tgz | sort) || fail "Helm packs other files"
    echo "chart: $("$helm" show chart "$package" | sed -n 's/^name: //p') $version, image $image"
}

check_manifests() {
    local place=$work/whereabouts-$version-kubernetes
    tar --extract --directory "$work" --file "$assets/whereabouts-$version-kubernetes.tar.gz"
    (cd "$place" && ./make-certificates.sh kubernetes/overlays/existing-etcd/certificates 127.0.0.1)
    if ! kubectl kustomize "$place/kubernetes/overlays/existing-etcd" >"$work/manifests.yaml" 2>"$work/said"; then
        kubectl kustomize "$place/kubernetes/base" >"$work/manifests.yaml" || fail "manifests:" "$(<"$work/said")"
    fi
    [[ $(grep -c "image: $image:$version" "$work/manifests.yaml") == 4 ]] || fail "the manifests have another image"
}

# Each crate of the licences is a component, and none is that only tests or builds.
check_components() {
    local document=$assets/whereaboutsctl-$version.cdx.json
    jq --exit-status '.bomFormat == "CycloneDX" and .specVersion == "1.5"' "$document" >/dev/null || fail "no components"
    comm -23 <(sed -n 's/^  \([a-z0-9_-]\+\) \([0-9.]\+[^:]*\): .*/\1 \2/p' "$work/whereabouts-$version-linux-x86_64/THIRD-PARTY-LICENSES" | sort) \
        <(jq --raw-output '.components[] | "\(.name) \(.version)"' "$document" "$assets/whereabouts-$version.cdx.json" | sort) >"$work/said"
    [[ ! -s $work/said ]] || fail "these are no components:" "$(<"$work/said")"
    ! jq --exit-status '.components[] | select(.name == "proptest")' "$document" >/dev/null || fail "a crate of tests is a component"
    ! grep -F -e "$PWD" -e "$work" "$assets"/*.cdx.json || fail "a folder of the builder is in the components"
    echo "components: $(jq '.components | length' "$document") of whereaboutsctl"
}

# All but the programs, which need too long.
check_same_again() {
    cp "$assets/SHA256SUMS" "$work/first"
    make "${steps[@]:3}" >/dev/null
    diff "$work/first" "$assets/SHA256SUMS" || fail "a second run makes other files"
    echo "the same bytes a second time"
}

fail() {
    printf 'release: %s\n' "$*" >&2
    exit 1
}

main
