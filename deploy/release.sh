#!/usr/bin/env bash
# Makes the files of a release, step by step. .github/workflows/release.yaml calls the same steps as tests/release.sh.
#
#   deploy/release.sh STEP ... FOLDER      as root where packages are missing
#
#   step          makes
#   toolchain     nothing in FOLDER: it installs the Rust toolchain of the oldest version that Cargo.toml allows, for `binaries`
#   x86_64        FOLDER/binaries/x86_64: the static programs
#   aarch64       FOLDER/binaries/aarch64: the same
#   documents     FOLDER/documents: licences, manual pages, completions; needs the programs
#   archives      an archive for each architecture, of programs and documents
#   image         an OCI archive of the image for both architectures
#   deployment    the Helm chart, and the manifests with their scripts
#   sbom          the components of each program, in the format of CycloneDX
#   checksums     SHA256SUMS of all the above
#   all           all of them, in this order
#
#   deploy/release.sh check-tag TAG        that TAG, Cargo.toml, the chart, the manifests and CHANGELOG.md name one version
#   deploy/release.sh notes                prints what CHANGELOG.md says of this version
#
# The public files are in FOLDER/assets.
#
#   IMAGE=REGISTRY/NAME     the image's name in the chart and in the manifests; localhost/whereabouts by default
#
# All times in the files are the time of the commit, so a second run makes the same bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

architectures=(x86_64 aarch64)
steps=(x86_64 aarch64 documents archives image deployment sbom checksums)
image=${IMAGE:-localhost/whereabouts}
cyclonedx=0.5.9
rust=$(sed -n 's/^rust-version = "\(.*\)"$/\1.0/p' Cargo.toml)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
export SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
same_bytes=(--sort name --mtime "@$SOURCE_DATE_EPOCH" --owner root:0 --group root:0 --mode 'u+rw,go=rX,a-s')

main() {
    (($#)) || fail "usage: deploy/release.sh STEP ... FOLDER"
    case $1 in
        check-tag) check_tag "${2:-}" && return ;;
        notes) notes && return ;;
    esac
    local step
    [[ ${*: -1} == /* || ${*: -1} == */* ]] || fail "the last argument is a folder, with a slash in it: ${*: -1}"
    folder=$(mkdir -p "${*: -1}/assets" && cd "${*: -1}" && pwd)
    assets=$folder/assets
    set -- "${@:1:$#-1}"
    [[ $* != all ]] || set -- "${steps[@]}"
    for step; do
        [[ " toolchain ${steps[*]} " == *" $step "* ]] || fail "no step is called $step; the steps are toolchain ${steps[*]}"
    done
    for step; do
        "make_$step"
    done
}

check_tag() { # TAG
    [[ $1 == "v$version" ]] || fail "the tag is $1, and Cargo.toml has the version $version"
    local field
    for field in version appVersion; do
        grep -qx "$field: $version" deploy/chart/Chart.yaml || fail "the chart has another $field than $version"
    done
    grep -qx "    newTag: $version" deploy/kubernetes/base/kustomization.yaml || fail "the manifests have another tag than $version"
    grep -q "^| $version | " docs/COMPATIBILITY.md || fail "docs/COMPATIBILITY.md has no line of $version"
    [[ -n $(notes) ]] || fail "CHANGELOG.md has no section [$version] with a date"
}

notes() {
    awk -v heading="## [$version] - " 'index($0, heading) == 1 { inside = 1; next } /^## / { inside = 0 } inside' CHANGELOG.md
}

make_toolchain() {
    rustup run "$rust" rustc --version || rustup toolchain install --no-self-update --profile minimal "$rust"
}

make_x86_64() {
    binaries x86_64
}

make_aarch64() {
    binaries aarch64
}

binaries() { # ARCHITECTURE
    RUSTUP_TOOLCHAIN=$rust deploy/release/binaries.sh "$1" "$folder/binaries/$1"
}

# The programs of both architectures write the same pages. Those of this machine are executed.
make_documents() {
    local tool documents=$folder/documents shell
    tool=$folder/binaries/$(uname -m)/whereaboutsctl
    rm -rf "$documents"
    mkdir -p "$documents"/{man,completions}
    cp LICENSE NOTICE CHANGELOG.md "$documents"
    deploy/release/licenses.py >"$documents/THIRD-PARTY-LICENSES"
    "$tool" man-pages "$documents/man"
    for shell in bash zsh fish; do
        "$tool" completions "$shell" >"$documents/completions/whereaboutsctl.$shell"
    done
}

make_archives() {
    local architecture name
    for architecture in "${architectures[@]}"; do
        name=whereabouts-$version-linux-$architecture
        fresh "$name"
        cp -r "$folder/binaries/$architecture/." "$folder/documents/." "$folder/$name"
        archive "$name" "$name.tar.gz"
    done
}

make_image() {
    deploy/install-packages.sh --without-etcd buildah:buildah
    local list=localhost/whereabouts-release-$$ architecture context=$folder/context
    # shellcheck disable=SC2064 # the name is of now
    trap "deploy/buildah.sh manifest rm $list >/dev/null 2>&1 || true" EXIT
    for architecture in "${architectures[@]}"; do
        rm -rf "$context"
        cp -r "$folder/binaries/$architecture" "$context"
        cp "$folder/documents/"{LICENSE,NOTICE,THIRD-PARTY-LICENSES} "$context"
        deploy/buildah.sh bud --quiet --isolation chroot --manifest "$list" --timestamp "$SOURCE_DATE_EPOCH" \
            --platform "linux/$(platform "$architecture")" \
            --label org.opencontainers.image.title=whereabouts \
            --label org.opencontainers.image.version="$version" \
            --label org.opencontainers.image.revision="$(git rev-parse HEAD)" \
            --label org.opencontainers.image.licenses=Apache-2.0 \
            --file deploy/Dockerfile "$context" >/dev/null
    done
    rm -rf "$context" "$folder/image"
    deploy/buildah.sh manifest push --quiet --all "$list" "oci:$folder/image:$version" >/dev/null
    tar --create --directory "$folder/image" "${same_bytes[@]}" --file "$assets/whereabouts-$version-image.oci.tar" \
        blobs index.json oci-layout
    rm -rf "$folder/image"
}

platform() { # ARCHITECTURE, in the words of OCI
    case $1 in
        x86_64) echo amd64 ;;
        aarch64) echo arm64 ;;
    esac
}

# A packaged chart is an archive of its folder.
make_deployment() {
    local name=whereabouts-$version-kubernetes
    fresh whereabouts
    cp -r deploy/chart/. "$folder/whereabouts"
    rm -r "$folder/whereabouts/"{effects,examples} # as .helmignore says
    sed -i "s|^  repository: localhost/whereabouts\$|  repository: $image|" "$folder/whereabouts/values.yaml"
    grep -qx "  repository: $image" "$folder/whereabouts/values.yaml" || fail "the chart's values have no image"
    archive whereabouts "whereabouts-chart-$version.tgz"

    fresh "$name"
    cp -r LICENSE deploy/kubernetes deploy/samples deploy/make-certificates.sh deploy/etcd-role.sh "$folder/$name"
    sed -i "/^  - name: localhost\/whereabouts\$/a\    newName: $image" "$folder/$name/kubernetes/base/kustomization.yaml"
    grep -qx "    newName: $image" "$folder/$name/kubernetes/base/kustomization.yaml" || fail "the manifests have no image"
    archive "$name" "$name.tar.gz"
}

# The tool writes beside each Cargo.toml, and names its folder: so it reads a copy, and its name is taken out.
make_sbom() {
    local tool=$PWD/target/cargo-cyclonedx-$cyclonedx source=$folder/source program
    if [[ ! -x $tool/bin/cargo-cyclonedx ]]; then
        cargo install --quiet --locked --debug --root "$tool" "cargo-cyclonedx@=$cyclonedx"
    fi
    fresh source
    git ls-files -z | xargs -0 cp --parents --target-directory "$source"
    "$tool/bin/cargo-cyclonedx" cyclonedx --quiet --manifest-path "$source/Cargo.toml" --format json --spec-version 1.5 \
        --describe binaries --target all --no-build-deps
    for program in cni/whereabouts ctl/whereaboutsctl; do
        sed "s|file://$source|file:///whereabouts|g" "$source/src/${program}_bin.cdx.json" \
            >"$assets/${program#*/}-$version.cdx.json"
    done
    rm -rf "$source"
}

make_checksums() {
    (cd "$assets" && rm -f SHA256SUMS && sha256sum -- * >"$folder/SHA256SUMS" && mv "$folder/SHA256SUMS" .)
}

fresh() { # NAME
    rm -rf "${folder:?}/$1"
    mkdir -p "$folder/$1"
}

archive() { # NAME FILE: the folder NAME becomes an asset
    tar --create --directory "$folder" "${same_bytes[@]}" "$1" | gzip --no-name --best >"$assets/$2"
    rm -rf "${folder:?}/$1"
}

fail() {
    printf 'release: %s\n' "$*" >&2
    exit 1
}

main "$@"
