import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * Checks an Android SDK against a running Ringbook.
 *
 *   java Checks ENDPOINT APPLICATION KEY SECRET
 *
 * Prints `ok  name` or `FAIL  name  got …` for each check, then `N passed, M failed`. The application must list users
 * (`users_v1_list`), and nobody may have its numbers. Names differ in each run.
 */
final class Checks {
    private static final String PASSWORD = "correct-horse";
    private static final String NEW_PASSWORD = "better-battery";
    private static final String UDID = "phone-of-ann";

    private final Sdk sdk;
    private final String run = Long.toString(System.currentTimeMillis(), 36);
    private int passed;
    private int failed;

    private Sdk.Person ann = person("ann", "+1 202 555 0101", "Ann Example");
    private Sdk.Person bob = person("bob", "12025550102", "Bob Example");
    private Sdk.Person cleo = person("cleo", "12025550103", "Cleo Example");

    private Checks(Sdk sdk) {
        this.sdk = sdk;
    }

    public static void main(String[] given) {
        Sdk sdk = new ConnectyCube();
        sdk.start(given[0], given[1], given[2], given[3]);
        Checks checks = new Checks(sdk);
        checks.all();
        System.out.println(checks.passed + " passed, " + checks.failed + " failed");
        System.exit(checks.failed == 0 ? 0 : 1);
    }

    private void all() {
        applicationSession();
        signUps();
        signIns();
        lookUps();
        update();
        addressBook();
        parallelCalls();
        subscriptions();
        events();
        ends();
    }

    private void applicationSession() {
        holds("an application's session has no user", sdk::openSession, session -> session.user() == 0 && session.id() > 0);
        holds("the SDK knows when a session ends", sdk::openSession, session -> inTwoHours(session.ends()));
        holds("the session is shown", sdk::session, session -> session.user() == 0 && session.id() > 0);
        refused("a user is not found without a user's session", () -> sdk.byLogin(bob.login()), 403, 422);
    }

    private void signUps() {
        bob = kept(bob, holds("bob signs up", () -> sdk.signUp(bob, PASSWORD), this::isBob));
        cleo = kept(cleo, holds("cleo signs up", () -> sdk.signUp(cleo, PASSWORD), user -> user.id() > bob.id()));
        refused("a login is taken once", () -> sdk.signUp(person("bob", "", "Another"), PASSWORD), 422);
        refused("a password has eight characters", () -> sdk.signUp(person("dora", "", "Dora"), "short"), 422);
        ann = kept(ann, holds("ann signs up and is signed in", () -> sdk.signUpAndIn(ann, PASSWORD), user -> user.id() > 0));
        holds("the session is ann's", sdk::session, session -> session.user() == ann.id());
    }

    private void signIns() {
        works("ann signs out", sdk::signOut);
        fails("a wrong password is refused", () -> sdk.signIn(ann.login(), "wrong-password"));
        holds("ann signs in by login", () -> sdk.signIn(ann.login(), PASSWORD), this::isAnn);
        works("ann signs out again", sdk::signOut);
        holds("ann signs in by e-mail", () -> sdk.signInByEmail(ann.email(), PASSWORD), this::isAnn);
        holds("a session by e-mail", () -> sdk.openSessionByEmail(ann.email(), PASSWORD), session -> session.user() == ann.id());
        holds("a session by login", () -> sdk.openSession(ann.login(), PASSWORD), session -> session.user() == ann.id());
        holds("it is shown", sdk::session, session -> session.user() == ann.id());
        holds("its end is known", sdk::session, session -> inTwoHours(session.ends()));
    }

    private void lookUps() {
        holds("by id", () -> sdk.byId(bob.id()), this::isBob);
        holds("by login", () -> sdk.byLogin(bob.login()), this::isBob);
        holds("by e-mail", () -> sdk.byEmail(bob.email()), this::isBob);
        holds("by external id", () -> sdk.byExternalId(bob.externalId()), this::isBob);
        refused("nobody by id", () -> sdk.byId(2_000_000_000), 404);
        refused("nobody by login", () -> sdk.byLogin("nobody-" + run), 404);
        finds("by ids", () -> sdk.byIds(List.of(bob.id(), cleo.id())), bob, cleo);
        finds("by logins", () -> sdk.byLogins(List.of(bob.login(), cleo.login())), bob, cleo);
        finds("by e-mails", () -> sdk.byEmails(List.of(bob.email(), cleo.email())), bob, cleo);
        finds("by phones", () -> sdk.byPhones(List.of(bob.phone(), cleo.phone())), bob, cleo);
        finds("by full name", () -> sdk.byFullName("Bob Example " + run), bob);
        finds("by a tag", () -> sdk.byTags(List.of(tag("bob"))), bob);
        finds("by tags", () -> sdk.byTags(List.of(tag("bob"), tag("cleo"))), bob, cleo);
        finds("nobody by ids", () -> sdk.byIds(List.of(2_000_000_000)));
        finds("all users", () -> sdk.users(1, 50), ann, bob, cleo);
        holds("a page of users", () -> sdk.users(2, 2), users -> users.size() == 1);
    }

    private void update() {
        Sdk.Person renamed = new Sdk.Person(
                ann.id(), ann.login(), ann.email(), ann.phone(), "Ann Renamed", ann.externalId(), List.of(tag("ann"), "vip"), "{\"n\":1}");
        holds("ann changes the name", () -> sdk.update(renamed), user -> user.name().equals("Ann Renamed"));
        holds("the tags are changed", () -> sdk.byId(ann.id()), user -> Set.copyOf(user.tags()).equals(Set.of(tag("ann"), "vip")));
        holds("custom data is kept", () -> sdk.byId(ann.id()), user -> "{\"n\":1}".equals(user.custom()));
        refused("nobody else is changed", () -> sdk.update(bob), 403, 422); // ConnectyCube writes to ann's own account
        refused("a new password needs the old one", () -> sdk.changePassword(ann.id(), "wrong-password", NEW_PASSWORD), 422);
        holds("ann changes the password", () -> sdk.changePassword(ann.id(), PASSWORD, NEW_PASSWORD), this::isAnn);
        holds("and signs in with it", () -> sdk.openSession(ann.login(), NEW_PASSWORD), session -> session.user() == ann.id());
    }

    private void addressBook() {
        List<Sdk.Contact> three = List.of(contact(bob, "Bobby"), contact(cleo, "Cleo"), new Sdk.Contact("12025550199", "Nobody"));
        holds("the book is empty", () -> sdk.book(""), List::isEmpty);
        counts("three contacts are created", () -> sdk.upload(three, "", false), 3, 0, 0);
        holds("the book has them in order", () -> sdk.book(""), book -> book.equals(three));
        counts("three contacts are updated", () -> sdk.upload(three, "", false), 0, 3, 0);
        holds(
                "two entries are rejected",
                () -> sdk.upload(List.of(new Sdk.Contact("123", "Short"), contact(bob, "Bob"), new Sdk.Contact("12025550198", "")), "", false),
                answer -> answer.updated() == 1 && answer.rejected().keySet().equals(Set.of("0", "2")));
        holds("the name is changed", () -> sdk.book(""), book -> book.contains(contact(bob, "Bob")));
        counts("one contact is deleted", () -> sdk.upload(List.of(new Sdk.Contact("12025550199", null)), "", false), 0, 0, 1);
        counts("a device has its own book", () -> sdk.upload(List.of(contact(cleo, "Cleo")), UDID, false), 1, 0, 0);
        holds("it is read by its udid", () -> sdk.book(UDID), book -> book.equals(List.of(contact(cleo, "Cleo"))));
        holds("the other book is as before", () -> sdk.book(""), book -> book.size() == 2);
        finds("who is registered", () -> sdk.registered("", false), bob, cleo);
        holds(
                "a registered contact is shown whole",
                () -> sdk.registered("", false),
                users -> users.stream().anyMatch(user -> user.id() == bob.id() && bob.login().equals(user.login())));
        finds("who is registered, compact", () -> sdk.registered("", true), bob, cleo);
        holds(
                "a compact user has a phone and no login",
                () -> sdk.registered("", true),
                users -> users.stream().allMatch(user -> user.phone() != null && user.login() == null));
        finds("who of a device's book is registered", () -> sdk.registered(UDID, true), cleo);
        counts("force replaces the book", () -> sdk.upload(List.of(contact(cleo, "Cleo")), "", true), 0, 1, 1);
        holds("one contact is left", () -> sdk.book(""), book -> book.equals(List.of(contact(cleo, "Cleo"))));
        counts("force without contacts empties the book", () -> sdk.upload(List.of(), "", true), 0, 0, 1);
        holds("it is empty", () -> sdk.book(""), List::isEmpty);
        holds("nobody is registered in it", () -> sdk.registered("", true), List::isEmpty);
        holds("the device's book is as before", () -> sdk.book(UDID), book -> book.size() == 1);
    }

    private void parallelCalls() {
        together("five look-ups by id at once", () -> sdk.byId(bob.id()), this::isBob);
        together("five look-ups by login at once", () -> sdk.byLogin(cleo.login()), user -> user.id() == cleo.id());
        together("five lists by ids at once", () -> sdk.byIds(List.of(bob.id(), cleo.id())), users -> users.size() == 2);
        together("a book read five times at once", () -> sdk.book(UDID), book -> book.size() == 1);
        together("five uploads at once", () -> sdk.upload(List.of(contact(bob, "Bob")), "", false), answer -> answer.rejected().isEmpty());
        holds("there is one contact", () -> sdk.book(""), book -> book.equals(List.of(contact(bob, "Bob"))));
    }

    private void subscriptions() {
        holds("no device is subscribed", sdk::subscriptions, List::isEmpty);
        List<Sdk.Subscription> made = holds("a device is subscribed", () -> sdk.subscribe(UDID, "token-" + run), list -> list.size() == 1);
        int id = made == null ? 0 : made.get(0).id();
        holds("with its udid and channel", () -> made, list -> list.get(0).udid().equals(UDID) && list.get(0).channel().equals("gcm"));
        holds("it is listed", sdk::subscriptions, list -> list.size() == 1 && list.get(0).id() == id);
        holds("again it keeps its id", () -> sdk.subscribe(UDID, "token2-" + run), list -> list.get(0).id() == id);
        works("it is ended", () -> sdk.unsubscribe(id));
        holds("none is left", sdk::subscriptions, List::isEmpty);
        refused("an unknown one is refused", () -> sdk.unsubscribe(id), 404);
    }

    private void events() {
        holds("a push to nobody's device is taken, too", () -> sdk.push(bob.id(), "Hello!"), made -> made.id() > 0);
        works("bob signs in", () -> sdk.openSession(bob.login(), PASSWORD));
        holds("bob subscribes a device", () -> sdk.subscribe("phone-of-bob", "token3-" + run), list -> list.size() == 1);
        works("ann signs in", () -> sdk.openSession(ann.login(), NEW_PASSWORD));
        Sdk.Event event = holds("a push with a text", () -> sdk.push(bob.id(), "Hello, Bob & Cleo!"), made -> made.id() > 0);
        holds("a push to Android with a text", () -> sdk.pushToAndroid(bob.id(), "Hello, Bob & Cleo!"), made -> made.id() > 0);
        int id = event == null ? 0 : event.id();
        holds("events are listed", sdk::events, list -> list.stream().anyMatch(listed -> listed.id() == id));
        holds("an event is shown", () -> sdk.event(id), shown -> shown.id() == id);
        works("an event is deleted", () -> sdk.deleteEvent(id));
    }

    private void ends() {
        if (sdk.listsSessions()) {
            holds("ann's sessions are listed with their ids", sdk::sessions, ids -> ids.size() > 1 && !ids.contains(null));
            holds("the session is one of them", () -> sdk.sessions().contains(sdk.session().id()), is -> is);
            works("all other sessions are ended", sdk::endOtherSessions);
            works("ann opens another session", () -> sdk.openSession(ann.login(), NEW_PASSWORD));
        }
        refused("nobody else's account is deleted by external id", () -> sdk.deleteByExternalId(cleo.externalId()), 403, 404);
        works("ann's account is deleted", () -> sdk.delete(ann.id()));
        works("cleo signs in", () -> sdk.openSession(cleo.login(), PASSWORD));
        refused("ann is gone", () -> sdk.byLogin(ann.login()), 404);
        try {
            sdk.deleteByExternalId(cleo.externalId());
        } catch (Exception failure) {
            // ConnectyCube's SDK fails with a NullPointerException of its own after the success; what counts is shown below.
        }
        works("bob opens a session", () -> sdk.openSession(bob.login(), PASSWORD));
        refused("cleo's account was deleted by its external id", () -> sdk.byLogin(cleo.login()), 404);
        works("the session is ended", sdk::endSession);
    }

    // What is expected of people

    private Sdk.Person person(String name, String phone, String fullName) {
        String login = name + "-" + run;
        String external = Long.toString(System.nanoTime()); // the SDKs send it as external_user_id, which is an integer
        return new Sdk.Person(0, login, login + "@example.org", phone, fullName + " " + run, external, List.of(tag(name)), null);
    }

    /** At most 15 characters, as ConnectyCube allows. */
    private String tag(String name) {
        return name + run;
    }

    /** The person with the id of the answer; the answer shows only what ann may see. */
    private static Sdk.Person kept(Sdk.Person person, Sdk.Person answer) {
        return answer == null
                ? person
                : new Sdk.Person(
                        answer.id(),
                        person.login(),
                        person.email(),
                        person.phone(),
                        person.name(),
                        person.externalId(),
                        person.tags(),
                        person.custom());
    }

    private boolean isAnn(Sdk.Person user) {
        return user.id() == ann.id() && ann.login().equals(user.login()) && ann.email().equals(user.email());
    }

    private boolean isBob(Sdk.Person user) {
        return (bob.id() == 0 ? user.id() > 0 : user.id() == bob.id()) && bob.login().equals(user.login()) && bob.name().equals(user.name());
    }

    private static Sdk.Contact contact(Sdk.Person person, String name) {
        return new Sdk.Contact(person.phone(), name);
    }

    private static boolean inTwoHours(Date end) {
        long minutes = end == null ? 0 : (end.getTime() - System.currentTimeMillis()) / 60_000;
        return 110 < minutes && minutes <= 120;
    }

    // Checks

    private interface Step {
        void run() throws Exception;
    }

    /** The answer if it is as expected, else null. */
    private <T> T holds(String name, Callable<T> call, Predicate<T> expected) {
        try {
            T answer = call.call();
            return note(name, expected.test(answer), answer) ? answer : null;
        } catch (Exception failure) {
            note(name, false, failure);
            return null;
        }
    }

    private void works(String name, Step step) {
        holds(name, () -> {
            step.run();
            return true;
        }, done -> done);
    }

    private void refused(String name, Callable<?> call, Integer... statuses) {
        try {
            note(name, false, call.call());
        } catch (Sdk.Refused refusal) {
            note(name, List.of(statuses).contains(refusal.status), refusal);
        } catch (Exception failure) {
            note(name, false, failure);
        }
    }

    private void refused(String name, Step step, Integer... statuses) {
        refused(name, () -> {
            step.run();
            return "success";
        }, statuses);
    }

    /** Java's own HTTP client hides a 401 that answers a POST from the SDK, which then fails in some way; Android's does not. */
    private void fails(String name, Callable<?> call) {
        try {
            note(name, false, call.call());
        } catch (Exception failure) {
            note(name, true, failure);
        }
    }

    private void counts(String name, Callable<Sdk.Uploaded> call, int created, int updated, int deleted) {
        holds(
                name,
                call,
                answer -> answer.created() == created
                        && answer.updated() == updated
                        && answer.deleted() == deleted
                        && answer.rejected().isEmpty());
    }

    private void finds(String name, Callable<List<Sdk.Person>> call, Sdk.Person... expected) {
        Set<Integer> ids = List.of(expected).stream().map(Sdk.Person::id).collect(Collectors.toSet());
        holds(name, call, users -> users.stream().map(Sdk.Person::id).collect(Collectors.toSet()).equals(ids) && users.size() == ids.size());
    }

    /** The call five times at once: all five answers must be as expected. */
    private <T> void together(String name, Callable<T> call, Predicate<T> expected) {
        ExecutorService threads = Executors.newFixedThreadPool(5);
        try {
            List<String> wrong = new ArrayList<>();
            for (Future<T> answer : threads.invokeAll(List.of(call, call, call, call, call))) {
                try {
                    if (!expected.test(answer.get())) {
                        wrong.add(String.valueOf(answer.get()));
                    }
                } catch (ExecutionException failure) {
                    wrong.add(String.valueOf(failure.getCause()));
                }
            }
            note(name, wrong.isEmpty(), wrong);
        } catch (InterruptedException stopped) {
            note(name, false, stopped);
        } finally {
            threads.shutdown();
        }
    }

    private boolean note(String name, boolean ok, Object got) {
        if (ok) {
            passed++;
            System.out.println("ok  " + name);
        } else {
            failed++;
            System.out.println("FAIL  " + name + "  got " + got);
        }
        return ok;
    }
}
