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
# shellcheck source=tests/clients/common.sh
source "$here/../common.sh"
java=$here/../java

# Scenarios of what 4.9 has not got: attributes, timers and upper boundaries; and the programs that are not scenarios.
not_here=(AckFile Boundaries Clients Mqadmin MqadminGroups MqadminMessages MqadminServers MqadminTopics Ordered Repeating Stress Timers Tool Tracing Traffic)

prepare() {
  rm -rf "$target/sources" "$target/classes"
  mkdir -p "$target/sources"
  cp -r "$java/src/main/java/clients" "$target/sources"
  (cd "$target/sources/clients" && rm -f "${not_here[@]/%/.java}")
  # Where 5.0 has moved classes to, and where 4.9 has them.
  sed -i -E 's/org\.apache\.rocketmq\.remoting\.protocol\.(body|header|heartbeat|route|RequestCode|ResponseCode)/org.apache.rocketmq.common.protocol.\1/' \
    "$target"/sources/clients/*.java
  cp "$here"/src/main/java/clients/*.java "$target/sources/clients"
}

[[ $# -ge 1 ]] || { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }
build_java "$java/src" "$here/src" "$here/run.sh"
[[ $1 != build ]] || exit 0

work_directory
# shellcheck disable=SC2086
exec java -Xms64m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dclients.work="$work" \
  -Dlogback.configurationFile="$java/src/main/resources/rmq.logback.xml" -Drocketmq.client.logUseSlf4j=true \
  -Drocketmq.client.localOffsetStoreDir="$work/offsets" -Duser.home="$work" ${JAVA_OPTS:-} \
  -cp "$target/classes:$(<"$target/classpath")" clients.Clients49 "$@"
