package clients;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.rocketmq.client.producer.DefaultMQProducer;

/** mqadmin's subcommands about clusters, brokers and name servers. */
final class MqadminServers {
    private MqadminServers() {}

    static void addTo(Map<String, Scenarios.Scenario> all) {
        Tool.add(all, "clusterList", MqadminServers::clusterList);
        Tool.add(all, "clusterRT", MqadminServers::clusterRT);
        Tool.add(all, "brokerStatus", MqadminServers::brokerStatus);
        Tool.add(all, "getBrokerConfig", MqadminServers::getBrokerConfig);
        Tool.add(all, "updateBrokerConfig", MqadminServers::updateBrokerConfig);
        Tool.add(all, "cleanExpiredCQ", tool -> cleans(tool, "cleanExpiredCQ"));
        Tool.add(all, "cleanUnusedTopic", tool -> cleans(tool, "cleanUnusedTopic"));
        Tool.add(all, "deleteExpiredCommitLog", tool -> cleans(tool, "deleteExpiredCommitLog"));
        Tool.add(all, "haStatus", MqadminServers::haStatus);
        Tool.add(all, "updateKvConfig", MqadminServers::kvConfig);
        Tool.add(all, "deleteKvConfig", MqadminServers::kvConfig);
        Tool.add(all, "wipeWritePerm", MqadminServers::writePerm);
        Tool.add(all, "addWritePerm", MqadminServers::writePerm);
        Tool.add(all, "getNamesrvConfig", MqadminServers::getNamesrvConfig);
        Tool.add(all, "updateNamesrvConfig", MqadminServers::updateNamesrvConfig);
        Tool.add(all, "exportMetadata", MqadminServers::exportMetadata);
        Tool.add(all, "exportConfigs", MqadminServers::exportConfigs);
        Tool.add(all, "exportMetrics", MqadminServers::exportMetrics);
    }

    private static void clusterList(Tool tool) throws Exception {
        Texts.send(tool.session.producer(), tool.session.createTopic(1), "x", 5);
        Tool.expect(tool.run("clusterList"),
            tool.cluster + "\\s+" + tool.broker + "\\s+0\\s+" + tool.addr + "\\s+V5_5_0\\s+\\d+\\.\\d+\\(.*true");
        Tool.expect(tool.run("clusterList", "-m"), tool.cluster + "\\s+" + tool.broker + "\\s+\\d+\\s+\\d+\\s+[1-9]\\d*\\s+\\d+");
    }

    /** Prints a row each second until it is interrupted. */
    private static void clusterRT(Tool tool) throws Exception {
        String output = tool.runUntil("\\d+\\s+0\\s*\n", "clusterRT", "-c", tool.cluster, "-a", "10", "-s", "64", "-i", "1");
        Tool.expect(output, tool.cluster + "\\s+" + tool.broker + "\\s+\\d+\\.\\d\\d\\s+10\\s+0");
    }

    private static void brokerStatus(Tool tool) throws Exception {
        Texts.send(tool.session.producer(), tool.session.createTopic(1), "x", 5);
        String output = tool.run("brokerStatus", "-b", tool.addr);
        Tool.expect(output, "brokerVersionDesc\\s+: V5_5_0", "putTps\\s+: [0-9.E-]+ [0-9.E-]+ [0-9.E-]+",
            "runtime\\s+: \\[ 0 days", "commitLogDiskRatio\\s+: 0\\.\\d+", "commitLogDirCapacity\\s+: Total : .* Free : ",
            "commitLogMaxOffset\\s+: [1-9]", "earliestMessageTimeStamp\\s+: [1-9]\\d{12}");
        Failure.unless(Long.parseLong(Tool.find(output, "msgPutTotalTodayNow\\s+: (\\d+)")) >= 5, "too few messages");
        Tool.expect(tool.run("brokerStatus", "-c", tool.cluster), tool.addr + "\\s+putTps");
    }

    private static void getBrokerConfig(Tool tool) throws Exception {
        Tool.expect(tool.run("getBrokerConfig", "-b", tool.addr), "brokerName\\s+=\\s+" + tool.broker,
            "flushDiskType\\s+=\\s+ASYNC_FLUSH", "listenPort\\s+=\\s+" + tool.addr.replaceAll(".*:", ""));
        Tool.expect(tool.run("getBrokerConfig", "-c", tool.cluster), "Master: " + tool.addr);
    }

    private static void updateBrokerConfig(Tool tool) throws Exception {
        String key = "defaultQueryMaxNum";
        for (String value : new String[] {"31", "32"}) {
            Tool.expect(tool.run("updateBrokerConfig", "-b", tool.addr, "-k", key, "-v", value),
                "update broker config success, " + tool.addr);
            Tool.expect(tool.run("getBrokerConfig", "-b", tool.addr), key + "\\s+=\\s+" + value + "\n");
        }
        Tool.expect(tool.tryRun("updateBrokerConfig", "-b", tool.addr, "-k", key, "-v", "many"), key);
        Tool.expect(tool.tryRun("updateBrokerConfig", "-b", tool.addr, "-k", "listenPort", "-v", "1"), "listenPort");
        Tool.expect(tool.tryRun("updateBrokerConfig", "-b", tool.addr, "-k", "brokerConfigPath", "-v", "/tmp/x"),
            "black list");
    }

    private static void cleans(Tool tool, String command) throws Exception {
        DefaultMQProducer producer = tool.session.producer();
        String topic = tool.session.createTopic(1);
        Texts.send(producer, topic, "x", 5);
        Failure.unlessEqual("success", tool.run(command, "-b", tool.addr).strip(), command);
        Failure.unlessEqual("success", tool.run(command, "-c", tool.cluster).strip(), command);
        Tool.expect(tool.run("topicStatus", "-t", topic), "\\s0\\s+0\\s+5\\s");
    }

    private static void haStatus(Tool tool) throws Exception {
        Tool.expect(tool.run("haStatus", "-b", tool.addr), "#MasterAddr\\s+" + tool.addr,
            "#MasterCommitLogMaxOffset\\s+\\d+", "#SlaveNum\\s+0", "#InSyncSlaveNum\\s+0");
        Tool.expect(tool.run("haStatus", "-c", tool.cluster), "#MasterAddr\\s+" + tool.addr);
    }

    private static void kvConfig(Tool tool) throws Exception {
        String key = tool.session.topic("key");
        Tool.expect(tool.run("updateKvConfig", "-s", "ORDER_TOPIC_CONFIG", "-k", key, "-v", "b:2"), "success");
        Failure.unlessEqual("b:2", tool.session.admin().getKVConfig("ORDER_TOPIC_CONFIG", key), "value");
        Tool.expect(tool.run("deleteKvConfig", "-s", "ORDER_TOPIC_CONFIG", "-k", key), "success");
        Tool.expect(tool.tryRun("updateOrderConf", "-t", key, "-m", "get"), "No config item");
    }

    /** The route loses the permission and gets it back, topic by topic. */
    private static void writePerm(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String wiped = tool.run("wipeWritePerm", "-b", tool.broker);
        Failure.unless(Integer.parseInt(Tool.find(wiped, "\\] OK, (\\d+)")) > 5, "too few topics: " + wiped);
        Tool.expect(tool.run("topicRoute", "-t", topic), "\"perm\":\\s*4");
        String added = tool.run("addWritePerm", "-b", tool.broker);
        Failure.unless(Integer.parseInt(Tool.find(added, "\\] OK, (\\d+)")) > 5, "too few topics: " + added);
        Tool.expect(tool.run("topicRoute", "-t", topic), "\"perm\":\\s*6");
    }

    private static void getNamesrvConfig(Tool tool) throws Exception {
        Tool.expect(tool.run("getNamesrvConfig"), "=====" + tool.session.namesrv + "=====", "listenPort\\s+=\\s+\\d+");
    }

    private static void updateNamesrvConfig(Tool tool) throws Exception {
        String key = "returnOrderTopicConfigToBroker";
        for (String value : new String[] {"false", "true"}) {
            Tool.expect(tool.run("updateNamesrvConfig", "-k", key, "-v", value), "update name server config success");
            Tool.expect(tool.run("getNamesrvConfig"), key + "\\s+=\\s+" + value);
        }
        Tool.expect(tool.tryRun("updateNamesrvConfig", "-k", "kvConfigPath", "-v", "/tmp/x"), "black list");
    }

    private static Path directory() throws Exception {
        return Files.createTempDirectory(Path.of(System.getProperty("clients.work")), "export");
    }

    private static void exportMetadata(Tool tool) throws Exception {
        String topic = tool.session.createTopic(3);
        String group = tool.session.group("c");
        tool.run("updateSubGroup", "-b", tool.addr, "-g", group, "-r", "7");
        Path dir = directory();
        tool.run("exportMetadata", "-c", tool.cluster, "-f", dir.toString());
        String exported = Files.readString(dir.resolve("metadata.json"));
        Tool.expect(exported, "\"" + topic + "\"", "\"" + group + "\"", "\"retryMaxTimes\":\\s*7");
        Tool.expectNot(exported, "\"TBW102\"");
        tool.run("exportMetadata", "-b", tool.addr, "-t", "-f", dir.toString());
        Tool.expect(Files.readString(dir.resolve("topic.json")), "\"" + topic + "\"", "\"writeQueueNums\":\\s*3");
        tool.run("exportMetadata", "-b", tool.addr, "-g", "-f", dir.toString());
        Tool.expect(Files.readString(dir.resolve("subscriptionGroup.json")), "\"" + group + "\"");
    }

    private static void exportConfigs(Tool tool) throws Exception {
        Path dir = directory();
        tool.run("exportConfigs", "-c", tool.cluster, "-f", dir.toString());
        Tool.expect(Files.readString(dir.resolve("configs.json")), "\"masterBrokerSize\":\\s*1",
            "\"brokerName\":\\s*\"" + tool.broker + "\"", "\"maxMessageSize\":\\s*\"4194304\"");
    }

    private static void exportMetrics(Tool tool) throws Exception {
        Texts.send(tool.session.producer(), tool.session.createTopic(1), "x", 5);
        Path dir = directory();
        tool.run("exportMetrics", "-c", tool.cluster, "-f", dir.toString());
        Tool.expect(Files.readString(dir.resolve("metrics.json")), "\"commitLogDiskRatio\":\\s*\"0\\.\\d+\"",
            "\"normalInTps\":\\s*[0-9.E-]+", "\"totalNormalInTps\"", "\"rocketmqVersion\"");
    }
}
