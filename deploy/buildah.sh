#!/usr/bin/env bash
# Runs buildah without a container daemon, and without a trace on the machine.
#
#   deploy/buildah.sh ARGUMENT ...      as for buildah
#
# By default buildah makes /etc/cni/net.d, for root alone: then no plugin that runs as another user finds its flat file there.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
printf '[network]\nnetwork_config_dir = "%s"\n' "$folder/net.d" >"$folder/containers.conf"
CONTAINERS_CONF=$folder/containers.conf buildah --storage-driver vfs "$@"
