package clients;

/** The scenarios of the Java client 5.5.0. */
public final class Clients {
    /** Most of their time is waiting for held pulls and rebalancing. */
    private static final int AT_A_TIME = 4;

    private Clients() {}

    public static void main(String[] args) throws Exception {
        Scenarios scenarios = new Scenarios(AT_A_TIME);
        Shared.add(scenarios);
        scenarios.add("send_again", "--exact", Repeating::once);
        scenarios.add("message_trace", Tracing::trace);
        scenarios.add("search_boundaries", Boundaries::both);
        scenarios.add("timer_ms", Timers::timerMillis);
        scenarios.add("timer_deliver_at", Timers::timerDeliverAt);
        scenarios.add("timer_past", Timers::timerPast);
        scenarios.add("timer_exact", "--exact", Timers::timerExact);
        scenarios.add("properties_by_timer", Timers::properties);
        scenarios.add("recall", "--recall", Timers::recall);
        scenarios.start(args);
    }
}
