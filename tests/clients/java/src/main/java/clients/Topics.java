package clients;

import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.constant.PermName;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.route.QueueData;
import org.apache.rocketmq.remoting.protocol.route.TopicRouteData;

/** Topics that come to be by a send or by the administration client, and what is known of the broker. */
final class Topics {
    private Topics() {}

    static void autoCreated(Session session) throws Exception {
        String topic = session.topic();
        try {
            session.admin().examineTopicRouteInfo(topic);
            throw new Failure("a topic that does not exist has a route");
        } catch (MQClientException e) {
            Failure.unlessEqual(ResponseCode.TOPIC_NOT_EXIST, e.getResponseCode(), "answer to the route of an unknown topic");
        }
        DefaultMQProducer producer = session.producer();
        List<String> texts = Texts.send(producer, topic, "auto", 10);
        Await.until("route of the new topic", 15, () -> !session.admin().examineTopicRouteInfo(topic).getQueueDatas().isEmpty());
        TopicRouteData route = session.admin().examineTopicRouteInfo(topic);
        QueueData queues = route.getQueueDatas().get(0);
        Failure.unlessEqual(4, queues.getReadQueueNums(), "read queues");
        Failure.unlessEqual(4, queues.getWriteQueueNums(), "write queues");
        Failure.unlessEqual(6, queues.getPerm(), "permission");
        Failure.unless(session.admin().fetchAllTopicList().getTopicList().contains(topic), "not in the topic list");
        Inbox inbox = new Inbox();
        session.pushConsumer(session.group("reader"), topic, inbox);
        inbox.awaitExactly(texts, Inbox.PATIENCE);
    }

    static void adminCreated(Session session) throws Exception {
        String topic = session.createTopic(3);
        QueueData queues = session.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0);
        Failure.unlessEqual(3, queues.getReadQueueNums(), "read queues");
        Failure.unlessEqual(3, queues.getWriteQueueNums(), "write queues");
        Failure.unlessEqual(6, queues.getPerm(), "permission");
        DefaultMQProducer producer = session.producer();
        Set<MessageQueue> used = new HashSet<>();
        for (int i = 0; i < 30; i++) {
            used.add(Texts.stored(producer.send(Texts.message(topic, "m-" + i))).getMessageQueue());
        }
        Failure.unlessEqual(new HashSet<>(producer.fetchPublishMessageQueues(topic)), used, "queues used");
        // Changing it is the same request.
        for (String broker : session.masters()) {
            session.admin().createAndUpdateTopicConfig(broker, new TopicConfig(topic, 5, 5, PermName.PERM_READ | PermName.PERM_WRITE));
        }
        Await.until("five queues", 15,
            () -> session.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0).getWriteQueueNums() == 5);
    }

    static void brokerConfig(Session session) throws Exception {
        for (String broker : session.masters()) {
            Properties config = session.admin().getBrokerConfig(broker);
            Failure.unless(!config.getProperty("brokerName", "").isEmpty(), "no brokerName in the configuration");
            String port = broker.substring(broker.lastIndexOf(':') + 1);
            Failure.unlessEqual(port, config.getProperty("listenPort"), "listenPort");
        }
    }
}
