#!/usr/bin/env bash
# Runs the scenarios of ../java that a client of RocketMQ 4.9 can run, with that client.
#
#   run.sh build
#   run.sh NAMESRV [scenario ... | all]              scenarios, e.g. run.sh 127.0.0.1:9876 send_sync
#   run.sh list                                      names of the scenarios
#
# JAVA_OPTS and CLIENTS_WORK as for ../java/run.sh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$here/target
java=$here/../java

# Scenarios of what 4.9 has not got: attributes and timers; and the programs that are not scenarios.
not_here=(AckFile Clients Mqadmin MqadminGroups MqadminMessages MqadminServers MqadminTopics Repeating Stress Timers Tool Traffic)

build() {
  mkdir -p "$target"
  exec 9>"$target/.lock"
  flock 9
  if [[ ! -s $target/classpath || $here/pom.xml -nt $target/classpath || $here/run.sh -nt $target/classpath ||
        -n $(find "$java/src" "$here/src" -newer "$target/classpath" -print -quit) ]]; then
    rm -rf "$target/sources" "$target/classes"
    mkdir -p "$target/sources"
    cp -r "$java/src/main/java/clients" "$target/sources"
    (cd "$target/sources/clients" && rm -f "${not_here[@]/%/.java}")
    # Where 5.0 has moved classes to, and where 4.9 has them.
    sed -i -E 's/org\.apache\.rocketmq\.remoting\.protocol\.(body|header|heartbeat|route|RequestCode|ResponseCode)/org.apache.rocketmq.common.protocol.\1/' \
      "$target"/sources/clients/*.java
    cp "$here"/src/main/java/clients/*.java "$target/sources/clients"
    (cd "$here" && mvn -q -B compile dependency:build-classpath -Dmdep.outputFile=target/classpath.new) >&2
    mv "$target/classpath.new" "$target/classpath"
    touch "$target/classpath"
  fi
  exec 9>&-
}

[[ $# -ge 1 ]] || { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }
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
# shellcheck disable=SC2086
exec java -Xms64m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dclients.work="$work" \
  -Dlogback.configurationFile="$java/src/main/resources/rmq.logback.xml" -Drocketmq.client.logUseSlf4j=true \
  -Drocketmq.client.localOffsetStoreDir="$work/offsets" -Duser.home="$work" ${JAVA_OPTS:-} \
  -cp "$target/classes:$(<"$target/classpath")" clients.Clients49 "$@"
