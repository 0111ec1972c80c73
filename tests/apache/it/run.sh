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

build() {
  mkdir -p "$target"
  exec 9>"$target/.lock"
  flock 9
  if [[ ! -s $target/classpath || $here/pom.xml -nt $target/classpath ||
        -n $(find "$here/src" -newer "$target/classpath" -print -quit) ]]; then
    (cd "$here" && mvn -q -B compile dependency:build-classpath -Dmdep.outputFile=target/classpath.new) >&2
    mv "$target/classpath.new" "$target/classpath"
    touch "$target/classpath"
  fi
  exec 9>&-
}

[[ $# -ge 1 ]] || { sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }
build
[[ $1 != build ]] || exit 0

if [[ -n ${CLIENTS_WORK:-} ]]; then
  work=$CLIENTS_WORK
  mkdir -p "$work"
else
  mkdir -p "$target/work"
  find "$target/work" -mindepth 1 -maxdepth 1 -mmin +120 -exec rm -rf {} +
  work=$(mktemp -d "$target/work/XXXXXX")
fi
# Our classes come first: BaseConf is ours. exec: the script's process id is the JVM's.
# shellcheck disable=SC2086
exec java -Xms128m -Xmx768m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dclients.work="$work" -Dit.classes="$here/classes.txt" \
  -Drocketmq.client.localOffsetStoreDir="$work/offsets" -Duser.home="$work" ${JAVA_OPTS:-} \
  -cp "$target/classes:$(<"$target/classpath")" it.Run "$@"
