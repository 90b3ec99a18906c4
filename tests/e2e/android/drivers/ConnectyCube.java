import android.content.Context;
import android.os.Bundle;
import com.connectycube.auth.ConnectycubeAuth;
import com.connectycube.auth.session.ConnectycubeSession;
import com.connectycube.auth.session.ConnectycubeSessionManager;
import com.connectycube.auth.session.ConnectycubeSettings;
import com.connectycube.core.ServiceZone;
import com.connectycube.core.exception.ResponseException;
import com.connectycube.core.helper.StringifyArrayList;
import com.connectycube.core.request.PagedRequestBuilder;
import com.connectycube.core.server.Performer;
import com.connectycube.pushnotifications.ConnectycubePushNotifications;
import com.connectycube.pushnotifications.model.ConnectycubeEnvironment;
import com.connectycube.pushnotifications.model.ConnectycubeEvent;
import com.connectycube.pushnotifications.model.ConnectycubeNotificationChannel;
import com.connectycube.pushnotifications.model.ConnectycubeNotificationType;
import com.connectycube.pushnotifications.model.ConnectycubePushType;
import com.connectycube.pushnotifications.model.ConnectycubeSubscription;
import com.connectycube.users.ConnectycubeUsers;
import com.connectycube.users.model.ConnectycubeAddressBookContact;
import com.connectycube.users.model.ConnectycubeAddressBookResponse;
import com.connectycube.users.model.ConnectycubeUser;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/**
 * ConnectyCube's SDK. QuickBlox's has the same classes under other names: test_android.py renames them in a copy of this
 * file, so the calls are written once.
 */
@SuppressWarnings("unchecked")
final class ConnectyCube implements Sdk {
    private static <T> T done(Performer<T> call) throws Refused {
        try {
            return call.perform();
        } catch (ResponseException refused) {
            throw new Refused(refused.getHttpStatusCode(), refused.getErrors());
        }
    }

    @Override
    public void start(String endpoint, String application, String key, String secret) {
        ConnectycubeSettings settings = ConnectycubeSettings.getInstance();
        settings.init(new Context(), application, key, secret);
        settings.setEnablePushNotification(false);
        settings.setEndpoints(endpoint, "chat.invalid", ServiceZone.PRODUCTION);
        settings.setZone(ServiceZone.PRODUCTION);
    }

    private static Session read(ConnectycubeSession session) {
        return new Session(
                session.getId(), session.getUserId(), session.getToken(), ConnectycubeSessionManager.getInstance().getTokenExpirationDate());
    }

    @Override
    public Session openSession() throws Refused {
        return read(done(ConnectycubeAuth.createSession()));
    }

    @Override
    public Session openSession(String login, String password) throws Refused {
        return read(done(ConnectycubeAuth.createSession(new ConnectycubeUser(login, password))));
    }

    @Override
    public Session openSessionByEmail(String email, String password) throws Refused {
        return read(done(ConnectycubeAuth.createSessionByEmail(email, password)));
    }

    @Override
    public Session session() throws Refused {
        return read(done(ConnectycubeAuth.getSession()));
    }

    @Override
    public void endSession() throws Refused {
        done(ConnectycubeAuth.deleteSession());
    }

    /** A call that not every version has, or not with the same parameters. */
    private static <T> T later(Class<?> of, String name, Object... values) throws Refused {
        Method method = named(of, name).orElseThrow(() -> new UnsupportedOperationException(name));
        try {
            return done((Performer<T>) method.invoke(null, Arrays.copyOf(values, method.getParameterCount())));
        } catch (ReflectiveOperationException failed) {
            throw new IllegalStateException(name, failed);
        }
    }

    private static Optional<Method> named(Class<?> of, String name) {
        return Stream.of(of.getMethods()).filter(method -> method.getName().equals(name)).findFirst();
    }

    @Override
    public boolean listsSessions() {
        return named(ConnectycubeAuth.class, "getUserSessions").isPresent();
    }

    @Override
    public Set<Object> sessions() throws Refused {
        Set<Object> ids = new HashSet<>();
        for (Object session : ConnectyCube.<List<?>>later(ConnectycubeAuth.class, "getUserSessions")) {
            try {
                ids.add(session.getClass().getMethod("getSessionId").invoke(session));
            } catch (ReflectiveOperationException failed) {
                throw new IllegalStateException(failed);
            }
        }
        return ids;
    }

    @Override
    public void endOtherSessions() throws Refused {
        later(ConnectycubeAuth.class, "deleteUserSessionsExceptCurrent");
    }

    private static Person read(ConnectycubeUser user) {
        List<String> tags = user.getTags() == null ? List.of() : List.copyOf(user.getTags());
        return new Person(
                user.getId(),
                user.getLogin(),
                user.getEmail(),
                user.getPhone(),
                user.getFullName(),
                user.getExternalId(),
                tags,
                user.getCustomData());
    }

    private static List<Person> read(List<ConnectycubeUser> users) {
        return users.stream().map(ConnectyCube::read).toList();
    }

    private static ConnectycubeUser written(Person person) {
        ConnectycubeUser user = new ConnectycubeUser();
        if (person.id() != 0) {
            user.setId(person.id());
        }
        user.setLogin(person.login());
        user.setEmail(person.email());
        user.setPhone(person.phone());
        user.setFullName(person.name());
        user.setExternalId(person.externalId());
        user.setCustomData(person.custom());
        if (!person.tags().isEmpty()) {
            user.setTags(new StringifyArrayList<>(person.tags()));
        }
        return user;
    }

    private static ConnectycubeUser written(Person person, String password) {
        ConnectycubeUser user = written(person);
        user.setPassword(password);
        return user;
    }

    @Override
    public Person signUp(Person person, String password) throws Refused {
        return read(done(ConnectycubeUsers.signUp(written(person, password))));
    }

    @Override
    public Person signUpAndIn(Person person, String password) throws Refused {
        return read(done(ConnectycubeUsers.signUpSignInTask(written(person, password))));
    }

    @Override
    public Person signIn(String login, String password) throws Refused {
        return read(done(ConnectycubeUsers.signIn(login, password)));
    }

    @Override
    public Person signInByEmail(String email, String password) throws Refused {
        return read(done(ConnectycubeUsers.signInByEmail(email, password)));
    }

    @Override
    public void signOut() throws Refused {
        done(ConnectycubeUsers.signOut());
    }

    @Override
    public Person update(Person person) throws Refused {
        return read(done(ConnectycubeUsers.updateUser(written(person))));
    }

    @Override
    public Person changePassword(int id, String old, String password) throws Refused {
        ConnectycubeUser user = new ConnectycubeUser(id);
        user.setOldPassword(old);
        user.setPassword(password);
        return read(done(ConnectycubeUsers.updateUser(user)));
    }

    @Override
    public void delete(int id) throws Refused {
        later(ConnectycubeUsers.class, "deleteUser", id);
    }

    @Override
    public void deleteByExternalId(String id) throws Refused {
        done(ConnectycubeUsers.deleteByExternalId(id));
    }

    @Override
    public Person byId(int id) throws Refused {
        return read(done(ConnectycubeUsers.getUser(id)));
    }

    @Override
    public Person byLogin(String login) throws Refused {
        return read(done(ConnectycubeUsers.getUserByLogin(login)));
    }

    @Override
    public Person byEmail(String email) throws Refused {
        return read(done(ConnectycubeUsers.getUserByEmail(email)));
    }

    @Override
    public Person byExternalId(String id) throws Refused {
        return read(done(ConnectycubeUsers.getUserByExternalId(id)));
    }

    private static PagedRequestBuilder page() {
        return new PagedRequestBuilder(50, 1);
    }

    @Override
    public List<Person> byIds(Collection<Integer> ids) throws Refused {
        return read(done(ConnectycubeUsers.getUsersByIDs(ids, page())));
    }

    @Override
    public List<Person> byLogins(Collection<String> logins) throws Refused {
        return read(done(ConnectycubeUsers.getUsersByLogins(logins, page())));
    }

    @Override
    public List<Person> byEmails(Collection<String> emails) throws Refused {
        return read(done(ConnectycubeUsers.getUsersByEmails(emails, page())));
    }

    @Override
    public List<Person> byPhones(Collection<String> phones) throws Refused {
        return read(done(ConnectycubeUsers.getUsersByPhoneNumbers(phones, page())));
    }

    @Override
    public List<Person> byFullName(String name) throws Refused {
        return read(done(ConnectycubeUsers.getUsersByFullName(name, page())));
    }

    @Override
    public List<Person> byTags(Collection<String> tags) throws Refused {
        return read(done(ConnectycubeUsers.getUsersByTags(tags, page())));
    }

    @Override
    public List<Person> users(int page, int perPage) throws Refused {
        return read(done(ConnectycubeUsers.getUsers(new PagedRequestBuilder(perPage, page))));
    }

    private static ConnectycubeAddressBookContact written(Contact contact) {
        ConnectycubeAddressBookContact written = new ConnectycubeAddressBookContact(contact.name(), contact.phone());
        written.setIsDestroy(contact.name() == null);
        return written;
    }

    @Override
    public Uploaded upload(List<Contact> contacts, String udid, boolean force) throws Refused {
        ArrayList<ConnectycubeAddressBookContact> all = new ArrayList<>();
        contacts.forEach(contact -> all.add(written(contact)));
        ConnectycubeAddressBookResponse answer = done(ConnectycubeUsers.uploadAddressBook(all, udid, force));
        return new Uploaded(
                answer.getCreatedCount(),
                answer.getUpdatedCount(),
                answer.getDeletedCount(),
                (Map<String, List<?>>) (Map<String, ?>) answer.getRejectedErrors());
    }

    @Override
    public List<Contact> book(String udid) throws Refused {
        return done(ConnectycubeUsers.getAddressBook(udid)).stream()
                .map(contact -> new Contact(contact.getPhone(), contact.getName()))
                .toList();
    }

    @Override
    public List<Person> registered(String udid, boolean compact) throws Refused {
        return read(done(ConnectycubeUsers.getRegisteredUsersFromAddressBook(udid, compact)));
    }

    private static Subscription read(ConnectycubeSubscription subscription) {
        return new Subscription(
                subscription.getId(),
                subscription.getNotificationChannel().toString(),
                subscription.getDevice().getId());
    }

    @Override
    public List<Subscription> subscribe(String udid, String token) throws Refused {
        ConnectycubeSubscription subscription = new ConnectycubeSubscription(ConnectycubeNotificationChannel.GCM);
        subscription.setEnvironment(ConnectycubeEnvironment.PRODUCTION);
        subscription.setDeviceUdid(udid);
        subscription.setRegistrationID(token);
        return done(ConnectycubePushNotifications.createSubscription(subscription)).stream()
                .map(ConnectyCube::read)
                .toList();
    }

    @Override
    public List<Subscription> subscriptions() throws Refused {
        return done(ConnectycubePushNotifications.getSubscriptions()).stream().map(ConnectyCube::read).toList();
    }

    @Override
    public void unsubscribe(int id) throws Refused {
        done(ConnectycubePushNotifications.deleteSubscription(id));
    }

    private static ConnectycubeEvent written(int user, String text) {
        ConnectycubeEvent event = new ConnectycubeEvent();
        event.setEnvironment(ConnectycubeEnvironment.PRODUCTION);
        event.setNotificationType(ConnectycubeNotificationType.PUSH);
        event.setMessage(text);
        event.addUserIds(user);
        return event;
    }

    private static Event read(ConnectycubeEvent event) {
        return new Event(event.getId(), event.getMessage());
    }

    @Override
    public Event push(int user, String text) throws Refused {
        return read(done(ConnectycubePushNotifications.createEvent(written(user, text))));
    }

    @Override
    public Event pushToAndroid(int user, String text) throws Refused {
        ConnectycubeEvent event = written(user, text);
        event.setPushType(ConnectycubePushType.GCM);
        return read(done(ConnectycubePushNotifications.createEvent(event)));
    }

    @Override
    public List<Event> events() throws Refused {
        return done(ConnectycubePushNotifications.getEvents(page(), new Bundle())).stream().map(ConnectyCube::read).toList();
    }

    @Override
    public Event event(int id) throws Refused {
        return read(done(ConnectycubePushNotifications.getEvent(id)));
    }

    @Override
    public void deleteEvent(int id) throws Refused {
        done(ConnectycubePushNotifications.deleteEvent(id));
    }
}
