#!/usr/bin/env bash
# Runs a main class of this project with the official Java client on the classpath.
#
#   run.sh build
#   run.sh NAMESRV [scenario ... | all]              scenarios, e.g. run.sh 127.0.0.1:9876 send_sync
#   run.sh list                                      names of the scenarios
#   run.sh mqadmin NAMESRV [subcommand ... | all]    the same for the subcommands of mqadmin
#   run.sh mqadmin list
#   run.sh stress NAMESRV send --topic T --acks FILE [--messages N --seconds S --threads K --queues Q --size B]
#   run.sh stress NAMESRV consume --topic T --group G --out FILE [--first-seconds S --idle-seconds S]
#   run.sh stress NAMESRV verify --acks FILE [--consumed FILE]
#   run.sh ordered NAMESRV [--keys K --messages M]   order of each key, whatever the broker does meanwhile
#   run.sh traffic NAMESRV                           the traffic of the golden frames
#
# JAVA_OPTS: further JVM flags, e.g. -Drocketmq.serialize.type=ROCKETMQ for binary headers.
# CLIENTS_WORK: where the client's log and local offsets go (default: a new directory in target/work).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$here/target
# shellcheck source=tests/clients/common.sh
source "$here/../common.sh"

[[ $# -ge 1 ]] || { sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }
build_java "$here/src"
case $1 in
  build) exit 0 ;;
  stress) main=clients.Stress; shift ;;
  mqadmin) main=clients.Mqadmin; shift ;;
  ordered) main=clients.Ordered; shift ;;
  traffic) main=clients.Traffic; shift ;;
  *) main=clients.Clients ;;
esac

# exec: the script's process id is the client's, so whoever started it can stop it.
work_directory
# Some subcommands of mqadmin leave files in the current directory.
[[ $main != clients.Mqadmin ]] || cd "$work"
# shellcheck disable=SC2086
exec java -Xms64m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dclients.work="$work" \
  -Drocketmq.client.localOffsetStoreDir="$work/offsets" -Duser.home="$work" ${JAVA_OPTS:-} \
  -cp "$target/classes:$(<"$target/classpath")" "$main" "$@"
