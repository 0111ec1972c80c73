package clients;

/** An expectation of a scenario that did not hold. */
final class Failure extends Exception {
    private static final long serialVersionUID = 1L;

    Failure(String reason) {
        super(reason);
    }

    Failure(String reason, Throwable cause) {
        super(reason, cause);
    }

    static void unless(boolean condition, String reason) throws Failure {
        if (!condition) {
            throw new Failure(reason);
        }
    }

    static void unlessEqual(Object expected, Object seen, String what) throws Failure {
        if (!expected.equals(seen)) {
            throw new Failure(what + ": expected " + expected + ", saw " + seen);
        }
    }
}
