#!/usr/bin/env bash
# Runs Apache RocketMQ 5.5.0 from Maven Central in the foreground (the process id is the JVM's).
#
#   run.sh build
#   run.sh namesrv    --dir DIR [--port 9876] [key=value ...]
#   run.sh broker     --dir DIR [--port 10911] [--ip 127.0.0.1] [--namesrv 127.0.0.1:9876] [key=value ...]
#   run.sh standalone --dir DIR [--namesrv-port 0] [--listen-port 0] [--ip 127.0.0.1] [key=value ...]
#
# DIR gets store, logs and the generated configuration. key=value lines go to the broker's (with
# `namesrv`: the name server's) configuration file and win over the defaults below.
# JAVA_HEAP: heap flags, default "-Xms256m -Xmx512m". JAVA_GC: default -XX:+UseSerialGC. JAVA_OPTS: further JVM flags, e.g.
# -Drocketmq.serialize.type=ROCKETMQ for binary headers.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$here/target
# shellcheck source=tests/clients/common.sh
source "$here/../clients/common.sh"
heap=${JAVA_HEAP:--Xms256m -Xmx512m}

die() { echo "run.sh: $*" >&2; exit 2; }
usage() { sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }

[[ $# -ge 1 ]] || usage
role=$1; shift
case $role in build|namesrv|broker|standalone) ;; *) usage ;; esac

dir='' ip=127.0.0.1 namesrv=127.0.0.1:9876 port='' namesrv_port=0 listen_port=0 extra=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --dir) dir=$2; shift 2 ;;
    --ip) ip=$2; shift 2 ;;
    --namesrv) namesrv=$2; shift 2 ;;
    --port) port=$2; shift 2 ;;
    --namesrv-port) namesrv_port=$2; shift 2 ;;
    --listen-port) listen_port=$2; shift 2 ;;
    --data) dir=$2; shift 2 ;;
    *=*) extra+=("$1"); shift ;;
    *) die "unknown argument $1" ;;
  esac
done

build_java "$here/src"
[[ $role == build ]] && exit 0
[[ -n $dir ]] || die "--dir is needed"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

classpath=$target/classes:$(<"$target/classpath")
# user.home: the log goes to ${user.home}/rocketmq.log. rocketmq.home.dir: stands for
# ROCKETMQ_HOME.
# shellcheck disable=SC2086
jvm=(java $heap ${JAVA_GC:--XX:+UseSerialGC} -XX:MaxDirectMemorySize=${JAVA_DIRECT:-512m}
     -Duser.home="$dir" -Drocketmq.home.dir="$dir"
     ${JAVA_OPTS:-} -cp "$classpath")

namesrv_conf() { # port
  printf '%s\n' "listenPort=$1" "bindAddress=$ip" "kvConfigPath=$dir/namesrv/kvConfig.json" \
    "rocketmqHome=$dir" > "$dir/namesrv.conf"
}

# Small files, because each run has its own store; nothing that changes what clients see.
broker_conf() { # port, name server
  printf '%s\n' "listenPort=$1" "namesrvAddr=$2" "brokerIP1=$ip" "brokerIP2=$ip" "bindAddress=$ip" \
    brokerClusterName=DefaultCluster brokerName=broker-a brokerId=0 brokerRole=ASYNC_MASTER \
    "storePathRootDir=$dir/store" "storePathCommitLog=$dir/store/commitlog" "rocketmqHome=$dir" \
    mappedFileSizeCommitLog=67108864 maxHashSlotNum=50000 maxIndexNum=200000 \
    diskMaxUsedSpaceRatio=95 > "$dir/broker.conf"
}

# Later lines win: java.util.Properties keeps the last value of a key.
append_extra() { [[ ${#extra[@]} -eq 0 ]] || printf '%s\n' "${extra[@]}" >> "$1"; }

case $role in
  namesrv)
    namesrv_conf "${port:-9876}"
    append_extra "$dir/namesrv.conf"
    exec "${jvm[@]}" org.apache.rocketmq.namesrv.NamesrvStartup -c "$dir/namesrv.conf" ;;
  broker)
    broker_conf "${port:-10911}" "$namesrv"
    append_extra "$dir/broker.conf"
    exec "${jvm[@]}" org.apache.rocketmq.broker.BrokerStartup -c "$dir/broker.conf" ;;
  standalone)
    if [[ $namesrv_port == 0 || $listen_port == 0 ]]; then
      read -r free_namesrv free_listen < <("${jvm[@]}" apache.Standalone free-ports)
      [[ $namesrv_port != 0 ]] || namesrv_port=$free_namesrv
      [[ $listen_port != 0 ]] || listen_port=$free_listen
    fi
    namesrv_conf "$namesrv_port"
    broker_conf "$listen_port" "$ip:$namesrv_port"
    append_extra "$dir/broker.conf"
    exec "${jvm[@]}" apache.Standalone "$dir/namesrv.conf" "$dir/broker.conf" "$namesrv_port" "$listen_port" "$ip" ;;
esac
