package clients;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.monitor.DefaultMonitorListener;
import org.apache.rocketmq.tools.monitor.MonitorConfig;
import org.apache.rocketmq.tools.monitor.MonitorService;
import org.apache.rocketmq.tools.monitor.UndoneMsgs;

/** mqadmin's subcommands about consumer and producer groups and their offsets. */
final class MqadminGroups {
    private MqadminGroups() {}

    static void addTo(Map<String, Scenarios.Scenario> all) {
        Tool.add(all, "updateSubGroup", MqadminGroups::updateSubGroup);
        Tool.add(all, "updateSubGroupList", MqadminGroups::updateSubGroupList);
        Tool.add(all, "deleteSubGroup", MqadminGroups::deleteSubGroup);
        Tool.add(all, "getConsumerConfig", MqadminGroups::getConsumerConfig);
        Tool.add(all, "consumerProgress", MqadminGroups::consumerProgress);
        Tool.add(all, "consumerConnection", MqadminGroups::consumerConnection);
        Tool.add(all, "consumerStatus", MqadminGroups::consumerStatus);
        Tool.add(all, "producerConnection", MqadminGroups::producerConnection);
        Tool.add(all, "producer", MqadminGroups::producer);
        Tool.add(all, "brokerConsumeStats", MqadminGroups::brokerConsumeStats);
        Tool.add(all, "cloneGroupOffset", MqadminGroups::cloneGroupOffset);
        Tool.add(all, "resetOffsetByTime", MqadminGroups::resetOffsetByTime);
        Tool.add(all, "skipAccumulatedMessage", MqadminGroups::skipAccumulatedMessage);
        Tool.add(all, "startMonitoring", MqadminGroups::startMonitoring);
    }

    private static void updateSubGroup(Tool tool) throws Exception {
        String group = tool.session.group("c");
        String made = tool.run("updateSubGroup", "-c", tool.cluster, "-g", group, "-r", "5", "-q", "2", "-o", "true");
        Tool.expect(made, "create subscription group to " + tool.addr + " success");
        Tool.expect(tool.run("getConsumerConfig", "-g", group), "retryMaxTimes\\s+=\\s+5", "retryQueueNums\\s+=\\s+2",
            "consumeMessageOrderly\\s+=\\s+true", "consumeBroadcastEnable\\s+=\\s+false");
        tool.run("updateSubGroup", "-b", tool.addr, "-g", group, "-s", "false");
        Tool.expect(tool.run("getConsumerConfig", "-g", group), "consumeEnable\\s+=\\s+false", "retryMaxTimes\\s+=\\s+16");
        Tool.expect(tool.tryRun("updateSubGroup", "-b", tool.addr, "-g", "bad name"), "illegal characters");
    }

    private static void updateSubGroupList(Tool tool) throws Exception {
        String first = tool.session.group("a");
        String second = tool.session.group("b");
        Path file = Files.createTempFile(Path.of(System.getProperty("clients.work")), "groups", ".json");
        Files.writeString(file, "[{\"groupName\":\"" + first + "\",\"retryMaxTimes\":3},"
            + "{\"groupName\":\"" + second + "\",\"consumeEnable\":false}]");
        Tool.expect(tool.run("updateSubGroupList", "-c", tool.cluster, "-f", file.toString()), "submit batch of");
        Tool.expect(tool.run("getConsumerConfig", "-g", first), "retryMaxTimes\\s+=\\s+3");
        Tool.expect(tool.run("getConsumerConfig", "-g", second), "consumeEnable\\s+=\\s+false");
        // Nothing is made of a list of which one cannot be made.
        String third = tool.session.group("d");
        Files.writeString(file, "[{\"groupName\":\"" + third + "\"},{\"groupName\":\"bad name\"}]");
        Tool.expect(tool.tryRun("updateSubGroupList", "-b", tool.addr, "-f", file.toString()), "illegal characters");
        Tool.expectNot(tool.run("getConsumerConfig", "-g", third), third);
    }

    /** With its settings, its offsets, its retry topic and its dead letters. */
    private static void deleteSubGroup(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String group = tool.session.group("c");
        tool.run("updateSubGroup", "-b", tool.addr, "-g", group, "-r", "3");
        MessageQueue queue = new MessageQueue(topic, tool.broker, 0);
        Texts.send(tool.session.producer(), topic, "x", 4);
        tool.session.createTopic("%RETRY%" + group, 1);
        tool.session.admin().updateConsumeOffset(tool.addr, group, queue, 3);
        tool.run("deleteSubGroup", "-b", tool.addr, "-g", group);
        Tool.expectNot(tool.run("getConsumerConfig", "-g", group), group);
        // The offsets are kept unless it is said that they go.
        tool.run("updateSubGroup", "-b", tool.addr, "-g", group);
        Failure.unlessEqual(3L, offset(tool, group, topic, queue), "offset after a deletion that keeps it");
        Tool.expect(tool.run("deleteSubGroup", "-c", tool.cluster, "-g", group, "-r", "true"),
            "delete subscription group \\[" + group + "\\] from broker \\[" + tool.addr + "\\]");
        Tool.expect(tool.tryRun("topicRoute", "-t", "%RETRY%" + group), "No topic route info");
        tool.run("updateSubGroup", "-b", tool.addr, "-g", group);
        Failure.unlessEqual(0L, offset(tool, group, topic, queue), "offset after the deletion");
    }

    private static long offset(Tool tool, String group, String topic, MessageQueue queue) throws Exception {
        tool.session.createTopic("%RETRY%" + group, 1);
        return tool.session.admin().examineConsumeStats(group, topic).getOffsetTable().get(queue).getConsumerOffset();
    }

    private static void getConsumerConfig(Tool tool) throws Exception {
        String group = tool.session.group("c");
        tool.run("updateSubGroup", "-b", tool.addr, "-g", group, "-r", "9");
        Tool.expect(tool.run("getConsumerConfig", "-g", group), "=" + tool.cluster + ":" + tool.broker + "=",
            "groupName\\s+=\\s+" + group, "retryMaxTimes\\s+=\\s+9");
        Tool.expectNot(tool.run("getConsumerConfig", "-g", tool.session.group("absent")), "groupName");
    }

    /** Ends, offsets and what lies between, by queue; then all groups. */
    private static void consumerProgress(Tool tool) throws Exception {
        DefaultMQProducer producer = tool.session.producer();
        String topic = tool.session.createTopic(1);
        String group = tool.session.group("c");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = tool.session.pushConsumer(group, topic, inbox);
        Texts.send(producer, topic, "x", 10);
        inbox.awaitMoreThan(9, Inbox.PATIENCE);
        String ours = tool.broker + "\\s+0\\s+10\\s+10\\s+" + "0\\s+0\\s+\\d{4}-\\d\\d-\\d\\d";
        Await.until("the committed offset", 30, () -> {
            Tool.expect(tool.run("consumerProgress", "-g", group, "-t", topic), ours, "Consume Diff Total: 0",
                "Consume TPS: \\d+\\.\\d\\d");
            return true;
        });
        Tool.expect(tool.run("consumerProgress", "-g", group, "-s", "true"), "\\s10\\s+10\\s+127\\.0\\.0\\.1|\\s10\\s+10\\s+[0-9a-f.:]+");
        Tool.expect(tool.run("consumerProgress"), "(?m)^" + group + "\\s+1\\s+V5_5_0\\s+PUSH\\s+CLUSTERING\\s+\\d+\\s+0");
        consumer.shutdown();
        Texts.send(producer, topic, "y", 4);
        Tool.expect(tool.run("consumerProgress", "-g", group, "-t", topic), tool.broker + "\\s+0\\s+14\\s+10\\s+4\\s+0",
            "Consume Diff Total: 4");
    }

    private static void consumerConnection(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String group = tool.session.group("c");
        Tool.expect(tool.tryRun("consumerConnection", "-b", tool.addr, "-g", group), "not online");
        DefaultMQPushConsumer consumer = tool.session.newPushConsumer(group, new Inbox());
        consumer.subscribe(topic, "a || b");
        consumer.start();
        String output = Await.value("the consumer's connection", 20,
            () -> tool.run("consumerConnection", "-b", tool.addr, "-g", group));
        Tool.expect(output, "@\\S+\\s+127\\.0\\.0\\.1:\\d+\\s+JAVA\\s+V5_5_0", topic.substring(0, 20) + "\\S*\\s+a \\|\\| b",
            "%RETRY%", "ConsumeType: CONSUME_PASSIVELY", "MessageModel: CLUSTERING",
            "ConsumeFromWhere: CONSUME_FROM_FIRST_OFFSET");
        Tool.expect(tool.run("consumerConnection", "-g", group), "JAVA\\s+V5_5_0");
    }

    private static void consumerStatus(Tool tool) throws Exception {
        String topic = tool.session.createTopic(2);
        String group = tool.session.group("c");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = tool.session.pushConsumer(group, topic, inbox);
        Texts.send(tool.session.producer(), topic, "x", 4);
        inbox.awaitMoreThan(3, Inbox.PATIENCE);
        String id = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        Await.until("the rebalanced group", 30, () -> tool.run("consumerStatus", "-b", tool.addr, "-g", group).contains("Rebalance OK"));
        Tool.expect(tool.run("consumerStatus", "-b", tool.addr, "-g", group), id.replace(".", "\\.") + "\\s+V5_5_0",
            "Same subscription in the same group");
        Tool.expect(tool.run("consumerStatus", "-b", tool.addr, "-g", group, "-i", id), "#Consumer Properties#",
            "#Consumer Offset#", "#Consumer MQ Detail#", topic);
    }

    private static void producerConnection(Tool tool) throws Exception {
        DefaultMQProducer producer = tool.session.producer();
        String topic = tool.session.createTopic(1);
        Texts.send(producer, topic, "x", 1);
        String output = Await.value("the producer's connection", 60,
            () -> tool.run("producerConnection", "-g", producer.getProducerGroup(), "-t", topic));
        Tool.expect(output, "0001\\s+\\S+@\\S+\\s+127\\.0\\.0\\.1:\\d+\\s+JAVA\\s+V5_5_0");
        Tool.expect(tool.tryRun("producerConnection", "-g", tool.session.group("absent"), "-t", topic), "not exist");
    }

    private static void producer(Tool tool) throws Exception {
        DefaultMQProducer producer = tool.session.producer();
        Texts.send(producer, tool.session.createTopic(1), "x", 1);
        String ours = "producer group \\(" + producer.getProducerGroup() + "\\) instance : clientId=\\S+@\\S+,"
            + "remoteIP=127\\.0\\.0\\.1:\\d+, language=JAVA, version=\\d+, lastUpdateTimestamp=\\d{13}";
        Await.until("the producer", 60, () -> {
            Tool.expect(tool.run("producer", "-b", tool.addr), ours);
            return true;
        });
    }

    private static void brokerConsumeStats(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String group = tool.session.group("c");
        Texts.send(tool.session.producer(), topic, "x", 6);
        tool.run("updateSubGroup", "-b", tool.addr, "-g", group);
        MessageQueue queue = new MessageQueue(topic, tool.broker, 0);
        tool.session.admin().updateConsumeOffset(tool.addr, group, queue, 4);
        String output = tool.run("brokerConsumeStats", "-b", tool.addr);
        Tool.expect(output, "(?m)^" + topic + "\\s+" + group + "\\s+" + tool.broker + "\\s+0\\s+6\\s+4\\s+2\\s+\\d{4}-");
        Failure.unless(Long.parseLong(Tool.find(output, "Diff Total: (\\d+)")) >= 2, "total of " + output);
        Tool.expectNot(tool.run("brokerConsumeStats", "-b", tool.addr, "-l", "3"), topic);
        Tool.expectNot(tool.run("brokerConsumeStats", "-b", tool.addr, "-o", "true"), topic);
    }

    private static void cloneGroupOffset(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String from = tool.session.group("from");
        String to = tool.session.group("to");
        Texts.send(tool.session.producer(), topic, "x", 6);
        MessageQueue queue = new MessageQueue(topic, tool.broker, 0);
        for (String group : new String[] {from, to}) {
            tool.run("updateSubGroup", "-b", tool.addr, "-g", group);
            tool.session.createTopic("%RETRY%" + group, 1);
        }
        tool.session.admin().updateConsumeOffset(tool.addr, from, queue, 5);
        Tool.expect(tool.run("cloneGroupOffset", "-s", from, "-d", to, "-t", topic), "clone group offset success");
        Failure.unlessEqual(5L, offset(tool, to, topic, queue), "cloned offset");
        // The broker's own way (314), which the tool does not use.
        tool.session.admin().updateConsumeOffset(tool.addr, from, queue, 2);
        tool.session.admin().cloneGroupOffset(from, to, topic, true);
        Failure.unlessEqual(2L, offset(tool, to, topic, queue), "offset that the broker cloned");
    }

    private static void resetOffsetByTime(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String group = tool.session.group("c");
        Texts.send(tool.session.producer(), topic, "x", 6);
        tool.run("updateSubGroup", "-b", tool.addr, "-g", group);
        tool.session.createTopic("%RETRY%" + group, 1);
        MessageQueue queue = new MessageQueue(topic, tool.broker, 0);
        tool.session.admin().updateConsumeOffset(tool.addr, group, queue, 6);
        Tool.expect(tool.run("resetOffsetByTime", "-g", group, "-t", topic, "-s", "1"), tool.broker + "\\s+0\\s+0\\s");
        Failure.unlessEqual(0L, offset(tool, group, topic, queue), "offset");
        Tool.expect(tool.run("resetOffsetByTime", "-g", group, "-t", topic, "-s", "now"), tool.broker + "\\s+0\\s+6\\s");
        Tool.expect(tool.run("resetOffsetByTime", "-g", group, "-t", topic, "-s", "0", "-b", tool.addr, "-q", "0", "-o", "4"),
            "reset consumer offset to 4");
        Failure.unlessEqual(4L, offset(tool, group, topic, queue), "offset");
    }

    private static void skipAccumulatedMessage(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String group = tool.session.group("c");
        Texts.send(tool.session.producer(), topic, "x", 6);
        tool.run("updateSubGroup", "-b", tool.addr, "-g", group);
        MessageQueue queue = new MessageQueue(topic, tool.broker, 0);
        tool.session.admin().updateConsumeOffset(tool.addr, group, queue, 1);
        Tool.expect(tool.run("skipAccumulatedMessage", "-g", group, "-t", topic), tool.broker + "\\s+0\\s+6\\s");
        Failure.unlessEqual(6L, offset(tool, group, topic, queue), "offset");
    }

    /** The tool's service looks at every group; its report goes to a log, so a listener of ours is asked instead. */
    private static void startMonitoring(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String group = tool.session.group("c");
        Texts.send(tool.session.producer(), topic, "x", 6);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = tool.session.pushConsumer(group, topic, inbox);
        inbox.awaitMoreThan(5, Inbox.PATIENCE);
        MonitorConfig config = new MonitorConfig();
        config.setNamesrvAddr(tool.session.namesrv);
        AtomicReference<UndoneMsgs> seen = new AtomicReference<>();
        MonitorService service = new MonitorService(config, new DefaultMonitorListener() {
            @Override
            public void reportUndoneMsgs(UndoneMsgs undone) {
                if (undone.getConsumerGroup().equals(group) && undone.getTopic().equals(topic)) {
                    seen.set(undone);
                }
            }
        }, null);
        service.start();
        try {
            Await.until("a report of the group", 30, () -> {
                service.doMonitorWork();
                return seen.get() != null && seen.get().getUndoneMsgsTotal() == 0;
            });
            consumer.shutdown();
        } finally {
            service.shutdown();
        }
    }
}
