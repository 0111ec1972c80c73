#!/usr/bin/env bash
# Runs Apache RocketMQ's own integration tests against brokers that are there already: three, of one cluster.
#
#   run.sh build
#   run.sh list [quick | all]
#   run.sh NAMESRV quick | all | CLASS ...     classes below org.apache.rocketmq.test, as in classes.txt
#
# Each class prints `PASS class (ms, tests)` or a `FAIL class: method: reason` for each method; the exit code is 1 on any FAIL.
# CLIENTS_WORK: where the client's log and local offsets go (default: a new directory in target/work). JAVA_OPTS: JVM flags.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$here/target
# shellcheck source=tests/clients/common.sh
source "$here/../../clients/common.sh"

java=$here/../../clients/java

# Ours, and what the clients' scenarios need too.
prepare() {
  rm -rf "$target/sources" "$target/classes"
  mkdir -p "$target/sources/clients"
  cp -r "$here"/src/main/java/* "$target/sources"
  cp "$java/src/main/java/clients/Hurry.java" "$target/sources/clients"
}

[[ $# -ge 1 ]] || { sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }
build_java "$here/src" "$java/src/main/java/clients/Hurry.java" "$here/run.sh"
[[ $1 != build ]] || exit 0

work_directory
# Our classes come first: BaseConf is ours. exec: the script's process id is the JVM's.
# shellcheck disable=SC2086
exec java -Xms128m -Xmx768m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dclients.work="$work" -Dit.classes="$here/classes.txt" \
  -Drocketmq.client.localOffsetStoreDir="$work/offsets" -Duser.home="$work" ${JAVA_OPTS:-} \
  -cp "$target/classes:$(<"$target/classpath")" it.Run "$@"
