package clients;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;

/** mqadmin's subcommands that find, print, send and consume messages. */
final class MqadminMessages {
    private MqadminMessages() {}

    static void addTo(Map<String, Scenarios.Scenario> all) {
        Tool.add(all, "queryMsgById", MqadminMessages::queryMsgById);
        Tool.add(all, "queryMsgByKey", MqadminMessages::queryMsgByKey);
        Tool.add(all, "queryMsgByUniqueKey", MqadminMessages::queryMsgByUniqueKey);
        Tool.add(all, "queryMsgByOffset", MqadminMessages::queryMsgByOffset);
        Tool.add(all, "queryMsgTraceById", MqadminMessages::queryMsgTraceById);
        Tool.add(all, "queryCq", MqadminMessages::queryCq);
        Tool.add(all, "printMsg", MqadminMessages::printMsg);
        Tool.add(all, "printMsgByQueue", MqadminMessages::printMsgByQueue);
        Tool.add(all, "sendMessage", MqadminMessages::sendMessage);
        Tool.add(all, "consumeMessage", MqadminMessages::consumeMessage);
        Tool.add(all, "sendMsgStatus", MqadminMessages::sendMsgStatus);
        Tool.add(all, "checkMsgSendRT", MqadminMessages::checkMsgSendRT);
    }

    private static SendResult sendOne(Tool tool, String topic, String tag, String key, String body) throws Exception {
        return Texts.stored(tool.session.producer().send(new Message(topic, tag, key, body.getBytes(StandardCharsets.UTF_8))));
    }

    private static void queryMsgById(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        SendResult sent = sendOne(tool, topic, "tag", "key", "the body");
        String id = sent.getOffsetMsgId();
        Tool.expect(tool.run("queryMsgById", "-t", topic, "-i", id, "-f", "UTF-8"), "OffsetID:\\s+" + id,
            "Topic:\\s+" + topic, "Tags:\\s+\\[tag\\]", "Keys:\\s+\\[key\\]", "Queue ID:\\s+0", "Queue Offset:\\s+0",
            "Store Host:\\s+" + tool.addr, "Message Body:\\s+the body");
        Tool.expect(tool.run("queryMsgById", "-t", topic, "-i", id, "-s", "true"), "prepare resend msg", "SEND_OK");
        // The state of each group with the message, and a consumer that is given it.
        String group = tool.session.group("c");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = tool.session.pushConsumer(group, topic, inbox);
        inbox.awaitMoreThan(1, Inbox.PATIENCE);
        Await.until("a group that has consumed it", 30, () -> {
            Tool.expect(tool.run("queryMsgById", "-t", topic, "-i", id), "consumerGroup=" + group + ".*CONSUMED");
            return true;
        });
        String client = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        Tool.expect(tool.run("queryMsgById", "-t", topic, "-i", id, "-g", group, "-d", client), "consumeResult=CR_SUCCESS");
        inbox.awaitMoreThan(2, Inbox.PATIENCE);
    }

    private static void queryMsgByKey(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String id = sendOne(tool, topic, "tag", "first-key second-key", "x").getMsgId();
        sendOne(tool, topic, "tag", "second-key", "y");
        String output = tool.run("queryMsgByKey", "-t", topic, "-k", "first-key");
        Tool.expect(output, "(?m)^" + id + "\\s+0\\s+0\\s");
        Failure.unlessEqual(2L, output.lines().count(), "lines");
        Failure.unlessEqual(3L, tool.run("queryMsgByKey", "-t", topic, "-k", "second-key").lines().count(), "lines");
        Tool.expect(tool.tryRun("queryMsgByKey", "-t", topic, "-k", "absent"), "no message");
    }

    private static void queryMsgByUniqueKey(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String id = sendOne(tool, topic, "tag", "key", "x").getMsgId();
        Tool.expect(tool.run("queryMsgByUniqueKey", "-t", topic, "-i", id), "Topic:\\s+" + topic, "Tags:\\s+\\[tag\\]",
            "Queue Offset:\\s+0", "WARN: No Consumer");
    }

    private static void queryMsgByOffset(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        sendOne(tool, topic, "tag", "key", "first");
        sendOne(tool, topic, "other", "key", "second");
        Tool.expect(tool.run("queryMsgByOffset", "-t", topic, "-b", tool.broker, "-i", "0", "-o", "1", "-f", "UTF-8"),
            "Tags:\\s+\\[other\\]", "Queue Offset:\\s+1", "Message Body:\\s+second");
        Tool.expectNot(tool.run("queryMsgByOffset", "-t", topic, "-b", tool.broker, "-i", "0", "-o", "7"), "Topic:");
    }

    /** A producer with tracing writes to a trace topic; the tool reads it back. */
    private static void queryMsgTraceById(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String traces = tool.session.createTopic(tool.session.topic("traces"), 1);
        DefaultMQProducer producer = new DefaultMQProducer(tool.session.group("traced"), true, traces);
        producer.setNamesrvAddr(tool.session.namesrv);
        producer.setInstanceName(topic);
        producer.start();
        try {
            String id = Texts.stored(producer.send(Texts.message(topic, "x"))).getMsgId();
            Await.until("a trace", 30, () -> {
                Tool.expect(tool.run("queryMsgTraceById", "-i", id, "-t", traces),
                    "Pub\\s+" + producer.getProducerGroup() + "\\s+\\S+\\s+\\d{4}-.*success");
                return true;
            });
        } finally {
            producer.shutdown();
        }
    }

    private static void queryCq(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        for (int i = 0; i < 5; i++) {
            sendOne(tool, topic, "tag", "key", "x" + i);
        }
        String output = tool.run("queryCq", "-t", topic, "-q", "0", "-i", "2", "-c", "2", "-b", tool.addr);
        Tool.expect(output, "max: 5, min: 0", "idx: 2\n", "idx: 3\n", "physicOffset=\\d+, physicSize=[1-9]\\d+, tagsCode=" + "tag".hashCode());
        Tool.expectNot(output, "idx: 4\n");
        Tool.expect(tool.run("queryCq", "-t", topic, "-q", "0", "-i", "0", "-g", tool.session.group("c")), "is not online");
    }

    private static void printMsg(Tool tool) throws Exception {
        String topic = tool.session.createTopic(2);
        String id = sendOne(tool, topic, "a", "key", "first body").getMsgId();
        String other = sendOne(tool, topic, "b", "key", "second body").getMsgId();
        String output = tool.run("printMsg", "-t", topic, "-d", "true");
        Tool.expect(output, "MSGID: " + id + ".*BODY: first body", "MSGID: " + other + ".*BODY: second body");
        Tool.expectNot(tool.run("printMsg", "-t", topic, "-s", "a"), other);
    }

    private static void printMsgByQueue(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        String id = sendOne(tool, topic, "a", "key", "first").getMsgId();
        sendOne(tool, topic, "b", "key", "second");
        sendOne(tool, topic, "b", "key", "third");
        String output = tool.run("printMsgByQueue", "-t", topic, "-a", tool.broker, "-i", "0", "-p", "true", "-d", "true",
            "-f", "true");
        Tool.expect(output, "MSGID: " + id + ".*BODY: first", "Tag: b\\s+Count: 2", "Tag: a\\s+Count: 1");
    }

    private static void sendMessage(Tool tool) throws Exception {
        String topic = tool.session.createTopic(3);
        String output = tool.run("sendMessage", "-t", topic, "-p", "the body", "-k", "key", "-c", "tag", "-b", tool.broker,
            "-i", "2");
        String id = Tool.find(output, tool.broker + "\\s+2\\s+SEND_OK\\s+(\\w+)");
        Tool.expect(tool.run("queryMsgByUniqueKey", "-t", topic, "-i", id), "Tags:\\s+\\[tag\\]", "Queue ID:\\s+2");
    }

    private static void consumeMessage(Tool tool) throws Exception {
        String topic = tool.session.createTopic(1);
        for (int i = 0; i < 3; i++) {
            sendOne(tool, topic, "tag", "key", "body-" + i);
        }
        Tool.expect(tool.run("consumeMessage", "-t", topic), "BODY: body-0", "BODY: body-2");
        String one = tool.run("consumeMessage", "-t", topic, "-b", tool.broker, "-i", "0", "-o", "1", "-c", "1");
        Tool.expect(one, "BODY: body-1");
        Tool.expectNot(one, "BODY: body-2");
    }

    private static void sendMsgStatus(Tool tool) throws Exception {
        String output = tool.run("sendMsgStatus", "-b", tool.broker, "-s", "64", "-c", "3");
        Failure.unlessEqual(3L, output.lines().filter(line -> line.matches("rt=\\d+ms, SendResult=.*SEND_OK.*")).count(),
            "sends");
    }

    private static void checkMsgSendRT(Tool tool) throws Exception {
        String output = tool.run("checkMsgSendRT", "-t", tool.session.createTopic(2), "-a", "10", "-s", "64");
        Tool.expect(output, tool.broker + "\\s+1\\s+true\\s+\\d+", "Avg RT: \\d+\\.\\d\\d");
    }
}
