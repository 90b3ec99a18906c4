"""Both clients, against a running server on both databases."""

import asyncio
import inspect
import re
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC

import httpx2
import pytest
from asking import PASSWORD, at_once, line, write
from ringbook_client import (
    AsyncClient,
    Client,
    Code,
    Contact,
    Email,
    FileTokens,
    FirebasePhone,
    Guest,
    JoinedPage,
    Login,
    NewlyRegistered,
    Removal,
    errors,
    transport,
)
from ringbook_client.profile import JoinedChanges
from servers import application, eventually, free_port, serve
from smtp import listening
from verify.certificates import PHONE, PROJECT, Key, claims, publishing

WAIT = 30


def name() -> str:
    return f"user-{uuid.uuid4().hex}"


@pytest.fixture
def login() -> Login:
    """The login of a new user, whom the first sign-in creates."""
    return Login(name(), PASSWORD)


@pytest.fixture
def client(server, login):
    """A client of a new user, without a session yet."""
    with Client(server.url, server.app.application_id, server.app.auth_key, sign_in=lambda: login) as one:
        yield one


def keys(server):
    return server.url, server.app.application_id, server.app.auth_key


def contacts(first: int, count: int) -> list[Contact]:
    return [Contact(f"n{n}", line(n)["phone"]) for n in range(first, first + count)]


def expire(server, token: str) -> None:
    """Delete every session of the user with this token, as expiry does."""
    with Client(*keys(server)) as other:
        other._store_token(token)
        user_id = other.get_session().user_id
    write(server, "DELETE FROM sessions WHERE user_id = :user_id", user_id=user_id)


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_uploaded_book_finds_registered_users(server, client):
    phone = f"+1 (202) 555-{uuid.uuid4().int % 10**4:04}"
    with Client(*keys(server)) as bobs:
        bobs.create_session()
        bob = bobs.sign_up(login=name(), password=PASSWORD, phone=phone, full_name="Bob Example", tags=["a", "b"])
    report = client.upload_address_book([Contact("Bobby", phone), Contact("bad", "1")], force=True)
    assert (report.created, report.rejected[0].entry.name) == (1, "bad")
    assert client.get_address_book() == [Contact("Bobby", phone)]
    (friend,) = client.get_registered_users()
    assert (friend.id, friend.name, friend.user) == (bob.id, "Bobby", None)
    (friend,) = client.get_registered_users(compact=False)
    assert friend.user.full_name == "Bob Example" and friend.user.tags == ("a", "b")
    assert client.upload_address_book([Removal(phone)]).deleted == 1
    assert client.get_address_book() == []


def test_additions_in_parts_keep_their_order(client):
    progress_calls = []
    report = client.upload_address_book(contacts(0, 25), part=10, progress=lambda *at: progress_calls.append(at))
    assert report.created == 25 and progress_calls[-1] == (25, 25)
    assert client.get_address_book() == contacts(0, 25)


def test_each_device_has_its_own_book(client):
    client.upload_address_book(contacts(0, 2), device="tablet")
    client.upload_address_book(contacts(5, 1))
    assert client.get_address_book(device="tablet") == contacts(0, 2)
    assert client.get_address_book() == contacts(5, 1)
    assert client.get_registered_users(device="tablet") == []


def test_who_is_new_since_a_cursor(server, client):
    phone = f"+1 (202) 555-{uuid.uuid4().int % 10**4:04}"
    client.upload_address_book([Contact("Bobby", phone)])
    assert client.registered_since() == NewlyRegistered((), "0")
    with Client(*keys(server)) as bobs:
        bobs.create_session()
        bobs.sign_up(login=name(), password=PASSWORD, phone=phone, full_name="Bob Example")
    new = client.registered_since(compact=False)
    assert [friend.user.full_name for friend in new.contacts] == ["Bob Example"]
    assert list(new.contacts) == client.get_registered_users(compact=False)
    assert client.registered_since(new.next) == NewlyRegistered((), new.next)
    assert client.registered_since("unknown", device="tablet") == NewlyRegistered((), "0")


@pytest.fixture(scope="module")
def announcing(server):
    """An application with joined pushes."""
    app = application(server.database_url, "joined", contact_joined_enabled="true")
    return server.url, app.application_id, app.auth_key


def join(announcing, phone: str, **profile) -> int:
    with Client(*announcing) as one:
        one.create_session()
        return one.sign_up(login=name(), password=PASSWORD, phone=phone, **profile).id


def test_who_joined_is_listed_followed_and_marked_as_seen(announcing, login):
    with Client(*announcing, sign_in=lambda: login) as client:
        client.upload_address_book([Contact("Bobby", line(4_401)["phone"]), Contact("Cat", line(4_402)["phone"])])
        assert client.joined() == JoinedPage((), "0", 0)
        bob = join(announcing, line(4_401)["phone"], full_name="Bob Example")
        eventually(lambda: bool(client.joined().items), "nobody is listed")
        page = client.joined()
        (item,) = page.items
        assert (item.id, item.user_id, item.name, item.phone) == (1, bob, "Bobby", line(4_401)["phone"])
        assert (item.full_name, item.seen, page.unseen, item.created_at.tzinfo) == ("Bob Example", False, 1, UTC)
        cat = join(announcing, line(4_402)["phone"])
        eventually(lambda: bool(client.joined(after=page.next).items), "nobody is listed")
        assert [one.user_id for one in client.joined(after=page.next).items] == [cat]
        assert [one.user_id for one in client.joined(limit=1).items] == [cat]
        assert [one.user_id for one in client.joined(before=2).items] == [bob]
        assert client.mark_seen(1) == 1 and client.mark_seen(2) == 0
        assert all(one.seen for one in client.joined().items)


def test_users_decide_at_sign_up_and_later_who_is_told(announcing, login):
    with Client(*announcing, sign_in=lambda: login) as client:
        client.upload_address_book([Contact("Dan", line(4_403)["phone"]), Contact("Eve", line(4_404)["phone"])])
        quiet: JoinedChanges = {"announce": "nobody", "quiet": ("22:00", "08:00"), "time_zone": "Europe/Berlin"}
        join(announcing, line(4_403)["phone"], contact_joined=quiet)
        eve = join(announcing, line(4_404)["phone"])
        eventually(lambda: bool(client.joined().items), "nobody is listed")
        assert [one.user_id for one in client.joined().items] == [eve]
        before = client.joined_settings()
        assert (before.announce, before.quiet, before.notify) == ("everyone", None, True)
        changed = client.update_joined_settings(quiet=("22:00", "08:00"), time_zone="Europe/Berlin", notify=False)
        assert changed == replace(before, quiet=("22:00", "08:00"), time_zone="Europe/Berlin", notify=False)
        assert client.update_joined_settings(quiet=None).quiet is None
        with pytest.raises(errors.Invalid) as caught:
            client.update_joined_settings(announce="friends", digest=-1)
        assert set(caught.value.reasons) == {"announce", "digest"}
        assert client.joined_settings() == replace(changed, quiet=None)


def test_users(server, client):
    me = client.get_session().user
    changed = client.update_user(me.id, full_name="Ann", email=f"{name()}@example.org", tags=["climbing"])
    assert (changed.full_name, changed.tags) == ("Ann", ("climbing",))
    assert client.update_user(me.id, full_name=None).full_name is None
    assert client.get_user(me.id) == client.find_user(login=me.login)
    assert client.find_user(login="nobody-at-all") is None
    assert client.get_users({"id[in]": [me.id]}, sort="-created_at").users == (client.get_user(me.id),)
    with Client(*keys(server), sign_in=lambda: Email(changed.email, PASSWORD)) as other:
        assert other.get_session().user_id == me.id
        other.delete_other_sessions()
    client.delete_user(me.id)
    assert client.get_session().user_id != me.id  # the same login has created a new user


def test_subscriptions_and_pushes(server, client):
    device = {"device": "phone", "platform": "android"}
    made = client.create_subscription("gcm", f"token-{name()}", **device, bundle="com.example")
    assert client.get_subscriptions() == [made] and made.channel == "gcm"
    with Client(*keys(server), sign_in=lambda: Login(name(), PASSWORD)) as other:
        other.send_push([client.get_session().user_id], {"message": "hi"})
    client.delete_subscription(made.id)
    with pytest.raises(errors.NotFound):
        client.delete_subscription(made.id)


def test_a_guest_a_log_in_and_a_log_out(server, login):
    with Client(*keys(server)) as one:
        assert one.create_session(Guest("Vera")).user.is_guest
        assert one.create_session().user_id is None
        with pytest.raises(errors.Forbidden):
            one.get_address_book()
        one.create_session(login)
        one.create_session()
        assert one.log_in(login).login == login.login
        one.log_out()
        assert one.get_session().user_id is None
        one.delete_session()
        with pytest.raises(errors.Unauthorized):
            one.get_session()


def test_a_one_time_code(server):
    app = application(server.database_url, "codes", sms_gateway="console", sms_regions="GB")
    number = f"+44 7700 900{uuid.uuid4().int % 1000:03}"
    with Client(server.url, app.application_id, app.auth_key, patience=1) as one:
        sent = one.send_code(number)
        code = re.findall(r"^DEVELOPMENT .*: (\d{6}) is your code", server.printed, re.MULTILINE)[-1]
        with pytest.raises(errors.Invalid):
            one.create_session(Code(sent.request_id, f"{(int(code) + 1) % 10**6:06}"))
        assert one.create_session(Code(sent.request_id, code)).user.phone == number
        with pytest.raises(errors.TooMany) as caught:
            one.send_code(number)
        assert caught.value.wait_seconds > 1


def test_a_forgotten_password_is_replaced_by_a_mail(databases, tmp_path, login):
    with (
        listening() as mailbox,
        databases.fresh("sqlite") as url,
        serve(url, tmp_path, **mailbox.config) as server,
        Client(*keys(server)) as one,
    ):
        one.create_session(login)
        one.update_user(one.get_session().user_id, email="ann@example.org")
        one.create_session()  # as an app does whose user cannot sign in
        one.send_password_reset("nobody@example.org")
        one.send_password_reset("ann@example.org")
        eventually(lambda: mailbox.recipients == ["ann@example.org"], "no mail has come")
        form = {"password": "battery-staple", "again": "battery-staple"}
        assert httpx2.post(f"{server.url}/reset/{mailbox.token()}", data=form).status_code == 200
        one.create_session(Email("ann@example.org", "battery-staple"))


def test_a_server_without_mails_says_so(client):
    client.create_session()
    with pytest.raises(errors.Invalid):
        client.send_password_reset("ann@example.org")


def test_an_id_token_of_firebase(databases, tmp_path):
    key = Key("key-1")
    with (
        publishing(key) as source,
        databases.fresh("sqlite") as url,
        serve(url, tmp_path, firebase_certificates_url=source.url) as server,
    ):
        app = application(url, "firebase", firebase_project_id=PROJECT)

        def token(**claimed):
            return FirebasePhone(key.token(claims(int(time.time()), **claimed)), PROJECT)

        with Client(server.url, app.application_id, app.auth_key, sign_in=token) as one:
            me = one.get_session().user
            assert me.phone == PHONE
            other = "+12025550143"
            assert one.update_user(me.id, proof=token(phone_number=other)).phone == other
            with pytest.raises(errors.Invalid, match="not valid"):
                one.create_session(FirebasePhone("made-up"))


# ── expired sessions ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_expired_session_is_renewed(server, client):
    client.upload_address_book(contacts(0, 3))
    expire(server, client._token)
    assert client.get_address_book() == contacts(0, 3)


def test_without_a_sign_in_callback_an_expired_session_raises(server, login):
    with Client(*keys(server)) as one:
        one.create_session(login)
        expire(server, one._token)
        with pytest.raises(errors.SessionExpired):
            one.get_address_book()


def test_concurrent_calls_sign_in_once(server, login):
    sign_ins = []
    with Client(*keys(server), sign_in=lambda: sign_ins.append(1) or login) as one:
        one.get_session()
        expire(server, one._token)
        assert at_once([one.get_address_book] * 8) == [[]] * 8
    assert len(sign_ins) == 2


def test_concurrent_calls_send_a_wrong_password_once(server, login):
    with Client(*keys(server)) as one:
        one.create_session(login)
    sign_ins, all_wait = [], threading.Event()

    def wrong():
        sign_ins.append(1)
        all_wait.wait(0.5)
        return Login(login.login, "wrong-password")

    with Client(*keys(server), sign_in=wrong) as one:
        with ThreadPoolExecutor(6) as threads:
            waiting = [threads.submit(one.get_address_book) for _ in range(6)]
            failures = [one.exception(WAIT) for one in waiting]
        assert [type(failure) for failure in failures] == [errors.Unauthorized] * 6
        assert len(sign_ins) < 6
        before = len(sign_ins)
        with pytest.raises(errors.Unauthorized):
            one.get_address_book()
        assert len(sign_ins) == before + 1  # a later call signs in again


def test_a_sign_in_callback_that_needs_a_session_raises(server, login):
    def asks():
        one.get_session()
        return login

    with Client(*keys(server), sign_in=asks) as one, pytest.raises(errors.SessionExpired, match="callback"):
        one.get_address_book()


def test_the_token_store_keeps_the_session_for_the_next_client(server, login, tmp_path):
    tokens = FileTokens(tmp_path / "deep" / "token")
    with Client(*keys(server), tokens=tokens) as one:
        one.create_session(login)
    assert tokens.path.stat().st_mode & 0o777 == 0o600
    with Client(*keys(server), tokens=tokens) as two:
        assert two.get_session().user.login == login.login
        two.delete_session()
    assert tokens.load() is None


# ── the async client ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_both_clients_have_the_same_methods():
    def shape(one):
        methods = {name: method for name, method in vars(one).items() if inspect.isfunction(method)}
        named = {name: str(inspect.signature(method)) for name, method in methods.items() if not name.startswith("_")}
        return named, {name: method.__doc__ for name, method in methods.items() if name in named}

    assert shape(AsyncClient) == shape(Client)
    assert all(shape(Client)[1].values())


def test_the_async_client_does_the_same(server, login):
    sign_ins = []

    async def ask():
        sign_ins.append(1)
        return login

    async def play():
        async with AsyncClient(*keys(server), sign_in=ask) as one:
            report = await one.upload_address_book(contacts(0, 25), part=10)
            assert report.created == 25 and await one.get_address_book() == contacts(0, 25)
            assert await one.find_user(login="nobody-at-all") is None
            expire(server, one._token)
            books = await asyncio.gather(*(one.get_address_book() for _ in range(8)))
            assert books == [contacts(0, 25)] * 8 and len(sign_ins) == 2
            me = await one.get_session()
            assert (await one.update_user(me.user_id, full_name="Ann")).full_name == "Ann"
            await one.delete_session()

    asyncio.run(play())


def test_the_async_client_sends_a_wrong_password_once(server, login):
    sign_ins = []

    async def wrong():
        sign_ins.append(1)
        await asyncio.sleep(0.1)
        return Login(login.login, "wrong-password")

    async def play():
        async with AsyncClient(*keys(server)) as first:
            await first.create_session(login)
        async with AsyncClient(*keys(server), sign_in=wrong) as one:
            failures = await asyncio.gather(*(one.get_session() for _ in range(6)), return_exceptions=True)
            assert [type(failure) for failure in failures] == [errors.Unauthorized] * 6 and len(sign_ins) == 1

    asyncio.run(play())


# ── failing servers ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_address_without_a_server():
    with Client(f"http://127.0.0.1:{free_port()}", 1, "KEY", retries=0) as one:
        with pytest.raises(errors.Unreachable) as caught:
            one.create_session()
        assert not caught.value.sent


def test_a_server_that_does_not_answer_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, 1, "KEY", retries=0, timeout=0.3) as one, pytest.raises(errors.TimedOut) as caught:
            one.create_session(Login("ann", "correct-horse"))
        assert caught.value.sent and "ann" not in str(caught.value)


def test_a_redirect_raises_bad_answer():
    elsewhere = httpx2.MockTransport(lambda request: httpx2.Response(301, headers={"Location": "https://x.example"}))
    one = Client("http://book.example.com", 1, "KEY", http=httpx2.Client(transport=elsewhere))
    with pytest.raises(errors.BadAnswer, match="redirects"):
        one.create_session()


def test_a_redirect_is_not_followed_even_by_an_http_client_that_follows_redirects():
    hosts = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        hosts.append(request.url.host)
        return httpx2.Response(307, headers={"Location": "https://x.example/session"})

    http = httpx2.Client(transport=httpx2.MockTransport(answer), follow_redirects=True)
    with pytest.raises(errors.BadAnswer, match="redirects"):
        Client("http://book.example.com", 1, "KEY", http=http).create_session()
    assert hosts == ["book.example.com"]


INVALID_ADDRESSES = (
    *("book.example.com", "", "ftp://book.example.com", "https://", "http://[::1"),
    *("https://book.example.com/?a=1", "https://book.example.com/#a", "https://book example.com"),
    *("https://book.example.com:99999", f"https://{'a' * 64}.example.com", "https://book..example.com"),
)


@pytest.mark.parametrize("url", INVALID_ADDRESSES)
def test_an_invalid_address_is_refused_at_once(url):
    with pytest.raises(ValueError, match=r"must look like https://book\.example\.com"):
        Client(url, 1, "KEY")


@pytest.mark.parametrize("key", ["", "KEY\n", "a key", "ключ"])
def test_an_invalid_auth_key_is_refused_at_once_and_not_shown(key):
    with pytest.raises(ValueError, match="auth key") as caught:
        Client("https://book.example.com", 1, key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://[::1]:80/", "https://book.example.com./below/", "http://münchen.example"]
)
def test_an_address_can_have_a_port_and_a_path(url):
    assert Client(url, 1, "KEY").url == url.rstrip("/")


@pytest.mark.parametrize(
    "url, unencrypted",
    [
        ("http://book.example.com", True),
        ("http://127.0.0.1.example.com", True),
        ("https://book.example.com", False),
        ("http://127.0.0.1:8080", False),
        ("http://[::1]:8080", False),
        ("http://LOCALHOST", False),
    ],
)
def test_http_to_another_machine_is_unencrypted(url, unencrypted):
    assert transport.is_unencrypted(url) is unencrypted


def test_a_damaged_saved_token_counts_as_none(server, login, tmp_path):
    (tmp_path / "token").write_text("é")
    with Client(*keys(server), tokens=FileTokens(tmp_path / "token"), sign_in=lambda: login) as one:
        assert one.get_session().user_id
    (tmp_path / "token").write_bytes(b"\xff")
    with Client(*keys(server), tokens=FileTokens(tmp_path / "token"), sign_in=lambda: login) as one:
        assert one.get_session().user_id


def test_a_token_that_cannot_be_sent_is_not_shown():
    class Broken:
        def load(self):
            return "secret\ntoken"

        def save(self, token):
            pass

    with Client(f"http://127.0.0.1:{free_port()}", 1, "KEY", retries=0, tokens=Broken()) as one:
        with pytest.raises(errors.RingbookError) as caught:
            one.get_session()
        assert "secret" not in str(caught.value)
