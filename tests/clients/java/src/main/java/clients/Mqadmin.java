package clients;

/**
 * Every subcommand of mqadmin that has a meaning here (rocketmq-tools 5.5.0), a scenario each under its name: run with
 * sensible arguments, and its output looked at for the right facts. One at a time, since the tools print to System.out.
 */
public final class Mqadmin {
    private Mqadmin() {}

    public static void main(String[] args) throws Exception {
        Scenarios scenarios = new Scenarios(1);
        MqadminTopics.addTo(scenarios.all);
        MqadminGroups.addTo(scenarios.all);
        MqadminMessages.addTo(scenarios.all);
        MqadminServers.addTo(scenarios.all);
        scenarios.start(args);
    }
}
