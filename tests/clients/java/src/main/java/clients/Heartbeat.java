package clients;

import org.apache.rocketmq.client.impl.factory.MQClientInstance;

/** A heartbeat out of turn. */
final class Heartbeat {
    private Heartbeat() {}

    /** False: another one was under way. */
    static boolean sent(MQClientInstance instance) {
        return instance.sendHeartbeatToAllBrokerWithLock();
    }
}
