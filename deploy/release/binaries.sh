#!/usr/bin/env bash
# Builds the plugin and the tool as static binaries for one architecture, on either of them.
#
#   deploy/release/binaries.sh x86_64|aarch64 [FOLDER]      as root where packages are missing
#
# Prints the paths of both programs, or copies the programs to FOLDER. Rust's own linker and C library make the binaries;
# the C parts (ring, SQLite) are compiled by Zig, which PyPI has for each host. So no cross compiler of the machine is
# needed, and a build is the same on each machine. The environment's CARGO_PROFILE_RELEASE_* count, as for any build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

architecture=${1:-}
folder=${2:-}
programs=(whereabouts whereaboutsctl)

main() {
    [[ $architecture =~ ^(x86_64|aarch64)$ ]] || fail "usage: deploy/release/binaries.sh x86_64|aarch64 [FOLDER]"
    deploy/install-packages.sh --without-etcd python3-pip:pip3 >&2
    target=$architecture-unknown-linux-musl
    if ! rustc --print target-libdir --target "$target" | xargs test -d; then
        rustup target add "$target" >&2
    fi
    zig=$(install_zig)
    local paths path
    paths=$(build)
    [[ $(wc -w <<<"$paths") == "${#programs[@]}" ]] || fail "cargo does not say where the programs are: $paths"
    if [[ -z $folder ]]; then
        echo "$paths"
        return
    fi
    mkdir -p "$folder"
    for path in $paths; do
        install --mode 755 "$path" "$folder/"
    done
}

# Prints the folder of the compiler's wrappers. It is made once, and whole: others may build at the same time.
install_zig() {
    local requirements=deploy/release/requirements.txt place made
    place=$PWD/target/zig-$(cat "$requirements" "${BASH_SOURCE[0]}" | sha256sum | cut -c 1-12)
    if [[ ! -d $place ]]; then
        mkdir -p target
        made=$(mktemp -d "$PWD/target/zig.XXXXXX")
        pip3 install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --only-binary :all: \
            --require-hashes --target "$made" --requirement "$requirements" >&2
        wrappers "$made"
        mv --no-target-directory "$made" "$place" 2>/dev/null || rm -rf "$made"
    fi
    echo "$place"
}

# Cargo's crates name the target in the words of LLVM, which Zig does not take. Without optimization Zig adds a sanitizer,
# whose functions Rust's linker does not have.
wrappers() { # FOLDER
    local name
    for name in x86_64 aarch64; do
        cat >"$1/cc-$name" <<WRAPPER
#!/usr/bin/env bash
for argument; do
    shift
    [[ \$argument == --target=* ]] || set -- "\$@" "\$argument"
done
exec "\${0%/*}/ziglang/zig" cc -target $name-linux-musl -fno-sanitize=undefined "\$@"
WRAPPER
    done
    # shellcheck disable=SC2016 # the wrapper expands it
    printf '#!/bin/sh\nexec "${0%%/*}/ziglang/zig" ar "$@"\n' >"$1/ar"
    chmod 755 "$1"/cc-* "$1/ar" "$1"
}

# Panics name source files. The names of this machine's folders are kept out, as they would differ from build to build.
build() {
    local variable=${target//-/_} home=${CARGO_HOME:-$HOME/.cargo} revision
    # For the metric whereabouts_build_info. Sources without a repository have none.
    revision=${WHEREABOUTS_REVISION:-$(git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo unknown)}
    env "WHEREABOUTS_REVISION=$revision" "CC_$variable=$zig/cc-$architecture" "AR_$variable=$zig/ar" "CARGO_TARGET_${variable^^}_LINKER=rust-lld" \
        "CARGO_TARGET_${variable^^}_RUSTFLAGS=--remap-path-prefix=$home=/cargo --remap-path-prefix=$PWD=/whereabouts" \
        cargo build --release --locked --bins --package whereabouts-cni --package whereabouts-ctl --target "$target" \
        --message-format json-render-diagnostics |
        jq --raw-output '.executable // empty'
}

fail() {
    printf 'binaries: %s\n' "$*" >&2
    exit 1
}

main
