package clients;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.rocketmq.remoting.protocol.body.ClusterInfo;
import org.apache.rocketmq.remoting.protocol.route.BrokerData;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** mqadmin in this process: what it is asked about, and what it prints. */
final class Tool extends MQAdminStartup {
    final Session session;
    final String cluster;
    final String broker;
    /** Of the master. */
    final String addr;

    Tool(Session session) throws Exception {
        this.session = session;
        ClusterInfo info = session.admin().examineBrokerClusterInfo();
        BrokerData data = info.getBrokerAddrTable().values().iterator().next();
        cluster = data.getCluster();
        broker = data.getBrokerName();
        addr = data.getBrokerAddrs().get(0L);
    }

    /** Runs a subcommand at the session's name server; what it prints to either stream. An exception fails the scenario. */
    String run(String... arguments) throws Failure {
        String output = tryRun(arguments);
        Failure.unless(!output.contains("\n\tat "), String.join(" ", arguments) + " failed: " + brief(output));
        return output;
    }

    /** The same, also with an exception. */
    String tryRun(String... arguments) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        run(bytes, arguments);
        return bytes.toString(StandardCharsets.UTF_8);
    }

    /** For a subcommand without an end: interrupts it when the expression is found in its output. */
    String runUntil(String expression, String... arguments) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        Pattern pattern = Pattern.compile(expression);
        Thread thread = new Thread(() -> run(bytes, arguments), arguments[0]);
        thread.start();
        try {
            Await.until(expression, 30, () -> pattern.matcher(bytes.toString(StandardCharsets.UTF_8)).find());
        } finally {
            thread.interrupt();
            thread.join(10_000);
        }
        Failure.unless(!thread.isAlive(), arguments[0] + " does not end");
        return bytes.toString(StandardCharsets.UTF_8);
    }

    private void run(ByteArrayOutputStream bytes, String... arguments) {
        List<String> all = new ArrayList<>(Arrays.asList(arguments));
        all.addAll(List.of("-n", session.namesrv));
        PrintStream caught = new PrintStream(bytes, true, StandardCharsets.UTF_8);
        PrintStream out = System.out;
        PrintStream err = System.err;
        System.setOut(caught);
        System.setErr(caught);
        try {
            // Some subcommands keep a client that they shut down: fresh ones each time, as in a process of its own.
            SUB_COMMANDS.clear();
            main0(all.toArray(new String[0]), null);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
    }

    /** Every expression is found somewhere in the output. */
    static void expect(String output, String... expressions) throws Failure {
        for (String expression : expressions) {
            Failure.unless(Pattern.compile(expression).matcher(output).find(),
                "expected /" + expression + "/ in: " + brief(output));
        }
    }

    static void expectNot(String output, String expression) throws Failure {
        Failure.unless(!Pattern.compile(expression).matcher(output).find(),
            "did not expect /" + expression + "/ in: " + brief(output));
    }

    /** What the expression's first group has caught. */
    static String find(String output, String expression) throws Failure {
        Matcher matcher = Pattern.compile(expression).matcher(output);
        Failure.unless(matcher.find(), "expected /" + expression + "/ in: " + brief(output));
        return matcher.group(1);
    }

    /** The columns of the first line that begins with this word. */
    static String[] row(String output, String first) throws Failure {
        for (String line : output.split("\n")) {
            String[] columns = line.trim().split("\\s+");
            if (columns[0].equals(first)) {
                return columns;
            }
        }
        throw new Failure("expected a line that begins with " + first + " in: " + brief(output));
    }

    private static String brief(String output) {
        String line = output.strip().replaceAll("\\s*\n\\s*", " | ");
        return line.length() > 1500 ? line.substring(0, 1500) + "…" : line;
    }

    interface Case {
        void run(Tool tool) throws Exception;
    }

    static void add(Map<String, Scenarios.Scenario> all, String name, Case test) {
        all.put(name, session -> test.run(new Tool(session)));
    }
}
