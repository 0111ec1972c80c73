#!/usr/bin/env bash
# Runs the clients' scenarios against Apache RocketMQ 5.5.0, the reference. What fails there is wrong, or asks for more than
# RocketMQ promises and then needs the flag --exact, which is not given here.
#
#   against_apache.sh [java] [java49] [go]           all of them if none is named
#
# APACHE_DIR: where the server's store and log go (default: a new directory below target/work, removed at the end).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ $# -gt 0 ]] || set -- java java49 go
for suite in "$@"; do
  [[ -x $here/$suite/run.sh ]] || { sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }
  "$here/$suite/run.sh" build
done
"$here/../apache/run.sh" build

mkdir -p "$here/java/target/work"
own=''
dir=${APACHE_DIR:-}
[[ -n $dir ]] || own=$(mktemp -d "$here/java/target/work/apache-XXXXXX")
dir=${dir:-$own}
mkdir -p "$dir"
# The delay levels that make retries take seconds, filters and recall on, and no refusal because the machine is busy.
"$here/../apache/run.sh" standalone --dir "$dir" waitTimeMillsInSendQueue=20000 osPageCacheBusyTimeOutMills=20000 \
  'messageDelayLevel=1s 2s 1s 1s 1s 1s' enablePropertyFilter=true recallMessageEnable=true >"$dir/ready" 2>"$dir/errors" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; [[ -z $own ]] || rm -rf "$own"' EXIT
for _ in $(seq 600); do
  namesrv=$(sed -n 's/^ready namesrv=\([^ ]*\).*/\1/p' "$dir/ready")
  [[ -z $namesrv ]] || break
  kill -0 "$server" 2>/dev/null || { cat "$dir/errors" >&2; echo "Apache's server ended" >&2; exit 1; }
  sleep 0.3
done
[[ -n $namesrv ]] || { echo "Apache's server was not ready within 180 s" >&2; exit 1; }

failed=()
for suite in "$@"; do
  echo "== $suite"
  flags=()
  [[ $suite != java ]] || flags=(--recall)
  "$here/$suite/run.sh" "$namesrv" "${flags[@]}" all || failed+=("$suite")
done
[[ ${#failed[@]} -eq 0 ]] || { echo "failed against Apache: ${failed[*]}" >&2; exit 1; }
