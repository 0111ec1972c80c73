package clients;

import org.apache.rocketmq.client.impl.factory.MQClientInstance;

/** A heartbeat out of turn. */
final class Heartbeat {
    private Heartbeat() {}

    /** In 4.9 the client does not say whether another one was under way. */
    static boolean sent(MQClientInstance instance) {
        instance.sendHeartbeatToAllBrokerWithLock();
        return true;
    }
}
