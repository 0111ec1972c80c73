package apache;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.broker.BrokerStartup;
import org.apache.rocketmq.namesrv.NamesrvStartup;

/**
 * Apache's name server and broker in one JVM, with RingMQ's command line and ready line, so that
 * whatever drives `ringmq standalone` can drive the reference in the same way.
 *
 * Arguments: namesrv-config broker-config namesrv-port listen-port ip. The two configuration files
 * hold everything else; port numbers have been written into them by the caller.
 */
public final class Standalone {
    private Standalone() {}

    public static void main(String[] args) throws Exception {
        if (args.length == 1 && args[0].equals("free-ports")) {
            System.out.println(freePorts());
            return;
        }
        String ip = args[4];
        NamesrvStartup.main0(new String[] {"-c", args[0]});
        BrokerController broker = BrokerStartup.createBrokerController(new String[] {"-c", args[1]});
        if (BrokerStartup.start(broker) == null) {
            System.exit(1);
        }
        System.out.println("ready namesrv=" + ip + ":" + args[2] + " broker=" + ip + ":" + args[3]);
    }

    /**
     * One free port for the name server and one for a broker whose neighbours are free as well: it
     * also listens on port - 2 (VIP channel) and port + 1 (replication).
     */
    private static String freePorts() throws IOException {
        int attempts = 64;
        List<ServerSocket> held = new ArrayList<>();
        try {
            int namesrv = bind(held, 0);
            while (attempts-- > 0) {
                int broker = bind(held, 0);
                try {
                    bind(held, broker - 2);
                    bind(held, broker + 1);
                    return namesrv + " " + broker;
                } catch (IOException | IllegalArgumentException taken) {
                    // a neighbour is in use: try another
                }
            }
        } finally {
            for (ServerSocket socket : held) {
                socket.close();
            }
        }
        throw new IOException("found no broker port with free neighbours");
    }

    private static int bind(List<ServerSocket> held, int port) throws IOException {
        ServerSocket socket = new ServerSocket();
        held.add(socket);
        socket.bind(new InetSocketAddress(InetAddress.getByName("0.0.0.0"), port));
        return socket.getLocalPort();
    }
}
