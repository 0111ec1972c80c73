#!/usr/bin/env bash
# Runs the scenarios with the official Go client (github.com/apache/rocketmq-client-go/v2).
#
#   run.sh build
#   run.sh NAMESRV [scenario ... | all]
#   run.sh list
#   run.sh traffic NAMESRV                           the traffic of the golden frames
#
# CLIENTS_WORK: where the client's log and local offsets go (default: a new directory in target/work).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$here/target
# shellcheck source=tests/clients/common.sh
source "$here/../common.sh"
[[ $# -ge 1 ]] || { sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }

# go build rebuilds only what changed; it writes to a new name so that a running one is not disturbed.
mkdir -p "$target"
(
  flock 9
  cd "$here"
  go build -o "$target/clients.new" .
  mv "$target/clients.new" "$target/clients"
) 9>"$target/.lock" >&2
[[ $1 != build ]] || exit 0

work_directory
# HOME: the client keeps a broadcasting consumer's offsets below it.
CLIENTS_WORK=$work HOME=$work exec "$target/clients" "$@"
