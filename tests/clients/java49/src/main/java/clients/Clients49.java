package clients;

/** The scenarios that a client of RocketMQ 4.9 can run. */
public final class Clients49 {
    private Clients49() {}

    public static void main(String[] args) throws Exception {
        Scenarios scenarios = new Scenarios(Clients49.AT_A_TIME);
        Shared.add(scenarios);
        scenarios.start(args);
    }

    /** More at a time than others run: each waits most of its time, and these are run beside those of 5.5. */
    private static final int AT_A_TIME = 8;
}
