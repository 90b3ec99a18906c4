import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What the checks ask of an Android SDK, in the words of neither vendor. Every call sends its request with the SDK's own
 * code and waits for the answer. A refusal is thrown as `Refused`.
 *
 * ids, counts   as the SDK read them from the answer
 * page          pages count from 1
 */
interface Sdk {
    /** A session; `user` is 0 for the application's own. `ends` is null if the SDK knows no end. */
    record Session(int id, int user, String token, java.util.Date ends) {}

    record Person(
            int id, String login, String email, String phone, String name, String externalId, List<String> tags, String custom) {}

    record Contact(String phone, String name) {}

    record Uploaded(int created, int updated, int deleted, Map<String, ? extends List<?>> rejected) {}

    record Subscription(int id, String channel, String udid) {}

    record Event(int id, String message) {}

    /** The server's refusal, or the SDK's complaint about an answer; the status is 0 then. */
    final class Refused extends Exception {
        final int status;

        Refused(int status, List<String> errors) {
            super(status + " " + errors);
            this.status = status;
        }
    }

    void start(String endpoint, String application, String key, String secret);

    Session openSession() throws Refused;

    Session openSession(String login, String password) throws Refused;

    Session openSessionByEmail(String email, String password) throws Refused;

    Session session() throws Refused;

    void endSession() throws Refused;

    /** Whether the SDK has the next two calls: only ConnectyCube has them, and not in its first versions. */
    boolean listsSessions();

    /** The ids of the user's sessions. */
    Set<Object> sessions() throws Refused;

    void endOtherSessions() throws Refused;

    Person signUp(Person person, String password) throws Refused;

    Person signUpAndIn(Person person, String password) throws Refused;

    Person signIn(String login, String password) throws Refused;

    Person signInByEmail(String email, String password) throws Refused;

    void signOut() throws Refused;

    Person update(Person person) throws Refused;

    Person changePassword(int id, String old, String password) throws Refused;

    void delete(int id) throws Refused;

    void deleteByExternalId(String id) throws Refused;

    Person byId(int id) throws Refused;

    Person byLogin(String login) throws Refused;

    Person byEmail(String email) throws Refused;

    Person byExternalId(String id) throws Refused;

    List<Person> byIds(Collection<Integer> ids) throws Refused;

    List<Person> byLogins(Collection<String> logins) throws Refused;

    List<Person> byEmails(Collection<String> emails) throws Refused;

    List<Person> byPhones(Collection<String> phones) throws Refused;

    List<Person> byFullName(String name) throws Refused;

    List<Person> byTags(Collection<String> tags) throws Refused;

    List<Person> users(int page, int perPage) throws Refused;

    /** Uploads contacts; a contact without a name is deleted. */
    Uploaded upload(List<Contact> contacts, String udid, boolean force) throws Refused;

    List<Contact> book(String udid) throws Refused;

    List<Person> registered(String udid, boolean compact) throws Refused;

    List<Subscription> subscribe(String udid, String token) throws Refused;

    List<Subscription> subscriptions() throws Refused;

    void unsubscribe(int id) throws Refused;

    /** A universal push with a plain text. */
    Event push(int user, String text) throws Refused;

    /** A push for Android only, with a plain text. */
    Event pushToAndroid(int user, String text) throws Refused;

    List<Event> events() throws Refused;

    Event event(int id) throws Refused;

    void deleteEvent(int id) throws Refused;
}
