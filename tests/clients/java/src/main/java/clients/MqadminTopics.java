package clients;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageQueue;

/** mqadmin's subcommands about topics and their routes. */
final class MqadminTopics {
    private MqadminTopics() {}

    static void addTo(Map<String, Scenarios.Scenario> all) {
        Tool.add(all, "updateTopic", MqadminTopics::updateTopic);
        Tool.add(all, "updateTopicList", MqadminTopics::updateTopicList);
        Tool.add(all, "deleteTopic", MqadminTopics::deleteTopic);
        Tool.add(all, "updateTopicPerm", MqadminTopics::updateTopicPerm);
        Tool.add(all, "topicRoute", MqadminTopics::topicRoute);
        Tool.add(all, "topicStatus", MqadminTopics::topicStatus);
        Tool.add(all, "topicClusterList", MqadminTopics::topicClusterList);
        Tool.add(all, "topicList", MqadminTopics::topicList);
        Tool.add(all, "updateOrderConf", MqadminTopics::updateOrderConf);
        Tool.add(all, "allocateMQ", MqadminTopics::allocateMQ);
        Tool.add(all, "statsAll", MqadminTopics::statsAll);
    }

    /** Makes a topic by cluster, grows it and shrinks it by broker, and changes its attributes. */
    private static void updateTopic(Tool tool) throws Exception {
        String topic = tool.session.topic();
        String made = tool.run("updateTopic", "-c", tool.cluster, "-t", topic, "-r", "2", "-w", "2", "-a",
            "+message.type=NORMAL");
        Tool.expect(made, "create topic to " + tool.addr + " success");
        Failure.unlessEqual("NORMAL", config(tool, topic).getAttributes().get("message.type"), "message type");
        for (int[] queues : new int[][] {{6, 6}, {6, 3}, {1, 1}}) {
            tool.run("updateTopic", "-b", tool.addr, "-t", topic, "-r", "" + queues[0], "-w", "" + queues[1]);
            TopicConfig now = config(tool, topic);
            Failure.unlessEqual(queues[0], now.getReadQueueNums(), "read queues");
            Failure.unlessEqual(queues[1], now.getWriteQueueNums(), "write queues");
            Failure.unlessEqual(queues[1],
                tool.session.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0).getWriteQueueNums(),
                "write queues in the route");
        }
        // The tool prints an exception of its own when there is no setting yet.
        Tool.expect(tool.tryRun("updateTopic", "-b", tool.addr, "-t", topic, "-o", "true"), "set broker orderConf. isOrder=true");
        Tool.expect(tool.run("updateOrderConf", "-t", topic, "-m", "get"), "orderConf=\\[" + tool.broker + ":8\\]");
        Tool.expect(tool.tryRun("updateTopic", "-b", tool.addr, "-t", "bad name"), "illegal characters");
        Tool.expect(tool.tryRun("updateTopic", "-b", tool.addr, "-t", "TBW102"), "conflict with system topic");
    }

    private static TopicConfig config(Tool tool, String topic) throws Exception {
        return tool.session.admin().examineTopicConfig(tool.addr, topic);
    }

    private static void updateTopicList(Tool tool) throws Exception {
        String first = tool.session.topic("a");
        String second = tool.session.topic("b");
        Path file = Files.createTempFile(Path.of(System.getProperty("clients.work")), "topics", ".json");
        Files.writeString(file, "[{\"topicName\":\"" + first + "\",\"readQueueNums\":3,\"writeQueueNums\":3,\"perm\":6},"
            + "{\"topicName\":\"" + second + "\",\"readQueueNums\":5,\"writeQueueNums\":5,\"perm\":4,\"order\":true}]");
        Tool.expect(tool.run("updateTopicList", "-c", tool.cluster, "-f", file.toString()), "submit batch of topic config");
        Failure.unlessEqual(3, config(tool, first).getReadQueueNums(), "queues of the first");
        TopicConfig other = config(tool, second);
        Failure.unlessEqual(5, other.getWriteQueueNums(), "queues of the second");
        Failure.unlessEqual(4, other.getPerm(), "permission of the second");
        Failure.unless(other.isOrder(), "the second is not ordered");
        Tool.expect(tool.run("topicRoute", "-t", second), "\"readQueueNums\":\\s*5");
        // Nothing is made of a list of which one cannot be made.
        String third = tool.session.topic("c");
        Files.writeString(file, "[{\"topicName\":\"" + third + "\"},{\"topicName\":\"bad name\"}]");
        Tool.expect(tool.tryRun("updateTopicList", "-b", tool.addr, "-f", file.toString()), "illegal characters");
        Tool.expect(tool.tryRun("topicRoute", "-t", third), "No topic route info");
    }

    /** With its messages and offsets: a topic of the same name begins with offset 0. */
    private static void deleteTopic(Tool tool) throws Exception {
        DefaultMQProducer producer = tool.session.producer();
        String topic = tool.session.createTopic(1);
        String group = tool.session.group("c");
        Texts.send(producer, topic, "x", 5);
        tool.run("updateSubGroup", "-b", tool.addr, "-g", group);
        MessageQueue queue = new MessageQueue(topic, tool.broker, 0);
        tool.session.admin().updateConsumeOffset(tool.addr, group, queue, 3);
        String output = tool.run("deleteTopic", "-c", tool.cluster, "-t", topic);
        Tool.expect(output, "from cluster \\[" + tool.cluster + "\\] success", "from NameServer success");
        Tool.expect(tool.tryRun("topicRoute", "-t", topic), "No topic route info");
        Tool.expectNot(tool.run("topicList"), topic);
        tool.session.createTopic(topic, 1);
        Failure.unlessEqual(0L, tool.session.admin().maxOffset(queue), "end of the new topic");
        try {
            tool.session.admin().examineConsumeStats(group, topic).getOffsetTable().values()
                .forEach(offset -> {
                    if (offset.getConsumerOffset() != 0) {
                        throw new IllegalStateException("offset " + offset.getConsumerOffset() + " was kept");
                    }
                });
        } catch (MQClientException e) {
            // Nothing is known of the group any more.
        }
    }

    private static void updateTopicPerm(Tool tool) throws Exception {
        String topic = tool.session.createTopic(2);
        Tool.expect(tool.run("updateTopicPerm", "-b", tool.addr, "-t", topic, "-p", "4"),
            "update topic perm from 6 to 4 in " + tool.addr + " success");
        Failure.unlessEqual(4, config(tool, topic).getPerm(), "permission");
        Tool.expect(tool.run("updateTopicPerm", "-c", tool.cluster, "-t", topic, "-p", "6"),
            "update topic perm from 4 to 6 in " + tool.addr + " success");
        Failure.unlessEqual(6, config(tool, topic).getPerm(), "permission");
    }

    private static void topicRoute(Tool tool) throws Exception {
        String topic = tool.session.createTopic(3);
        Tool.expect(tool.run("topicRoute", "-t", topic), "\"brokerName\":\\s*\"" + tool.broker + "\"",
            "0:\\s*\"" + tool.addr + "\"", "\"writeQueueNums\":\\s*3", "\"perm\":\\s*6");
        Tool.expect(tool.run("topicRoute", "-l", "-t", topic), tool.cluster + "\\s+" + tool.broker, "Total:\\s+1");
    }

    private static void topicStatus(Tool tool) throws Exception {
        DefaultMQProducer producer = tool.session.producer();
        String topic = tool.session.topic();
        MessageQueue queue = tool.session.createQueue(producer, topic);
        Texts.send(producer, queue.getTopic(), "x", 7);
        String output = tool.run("topicStatus", "-t", topic);
        String day = "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d,\\d{3}";
        Tool.expect(output, "(?m)^" + tool.broker + "\\s+0\\s+0\\s+7\\s+" + day, "Topic Put TPS: \\d+\\.\\d+");
        // The tool shows 0 whatever the brokers say: it adds up their queues and not their rates.
        Await.until("a rate of the topic", 30,
            () -> tool.session.admin().examineTopicStats(tool.addr, topic).getTopicPutTps() > 0);
        Tool.expect(tool.tryRun("topicStatus", "-t", tool.session.topic("absent")), "No topic route info");
    }

    private static void topicClusterList(Tool tool) throws Exception {
        Failure.unlessEqual(tool.cluster, tool.run("topicClusterList", "-t", tool.session.createTopic(1)).strip(),
            "clusters");
    }

    private static void topicList(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String group = tool.session.group("c");
        Tool.expect(tool.run("topicList"), "(?m)^" + topic + "$", "(?m)^TBW102$");
        Inbox inbox = new Inbox();
        tool.session.pushConsumer(group, topic, inbox);
        Await.until("the group of " + topic, 20,
            () -> tool.run("topicList", "-c").contains(group.substring(0, 20)));
    }

    private static void updateOrderConf(Tool tool) throws Exception {
        String topic = tool.session.createTopic(4);
        String conf = tool.broker + ":4";
        Tool.expect(tool.run("updateOrderConf", "-t", topic, "-m", "put", "-v", conf), "update orderConf success");
        Tool.expect(tool.run("updateOrderConf", "-t", topic, "-m", "get"), "orderConf=\\[" + conf + "\\]");
        Tool.expect(tool.run("updateOrderConf", "-t", topic, "-m", "delete"), "delete orderConf success");
        Tool.expect(tool.tryRun("updateOrderConf", "-t", topic, "-m", "get"), "No config item");
    }

    private static void allocateMQ(Tool tool) throws Exception {
        String topic = tool.session.createTopic(4);
        String output = tool.run("allocateMQ", "-t", topic, "-i", "10.0.0.1,10.0.0.2");
        Tool.expect(output, "\"10.0.0.1\":\\[", "\"10.0.0.2\":\\[", "\"queueId\":3");
    }

    /** Counts of topic and group, and the rest that is not consumed. */
    private static void statsAll(Tool tool) throws Exception {
        DefaultMQProducer producer = tool.session.producer();
        String topic = tool.session.createTopic(1);
        String group = tool.session.group("c");
        Texts.send(producer, topic, "x", 6);
        String lonely = Tool.find(tool.run("statsAll", "-t", topic), "(?m)^(" + topic.substring(0, 8) + ".*)$");
        Tool.expect(lonely, "NO_CONSUMER");
        Inbox inbox = new Inbox();
        tool.session.pushConsumer(group, topic, inbox);
        inbox.awaitMoreThan(5, Inbox.PATIENCE);
        Await.until("counts of " + topic, 60, () -> {
            String[] row = Tool.row(tool.run("statsAll", "-t", topic), topic);
            return row[1].equals(group) && row[2].equals("0") && row[5].equals("6") && row[6].equals("6");
        });
    }
}
