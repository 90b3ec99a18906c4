"""Push subscriptions: which are accepted, and which user has a push token."""

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from servers import SEAL

from ringbook import errors
from ringbook.config import Config, Limits
from ringbook.core import applications, subscriptions
from ringbook.core.subscriptions import check
from ringbook.model import App, Subscription
from ringbook.push.tokens import allowed_endpoint
from ringbook.store import subscriptions as store
from ringbook.store.db import Database, Tx, connect

NOW = 1_800_000_000
HEX = "0f" * 32


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


POINT = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
)
ANDROID = Subscription(
    id=0,
    user_id=1,
    device="phone",
    platform="android",
    channel="gcm",
    environment="production",
    bundle="com.example",
    token="fcm-token-0001",
)
BROWSER = msgspec.structs.replace(
    ANDROID,
    platform="web",
    channel="web",
    token="https://push.example.com/x",
    web_auth=base64url(b"0123456789abcdef"),
    web_p256dh=base64url(POINT),
)


def but(wished: Subscription, **values: Any) -> Subscription:
    return msgspec.structs.replace(wished, **values)


# ── what a provider could use ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "wished",
    [
        ANDROID,
        BROWSER,
        but(ANDROID, bundle=None),
        but(ANDROID, environment="development"),
        but(ANDROID, channel="apns", platform="ios", token=HEX),
        but(ANDROID, channel="apns_voip", platform="ios", token=HEX.upper()),
        but(ANDROID, token="x" * 4096),
        but(ANDROID, device="x" * 255),
        but(BROWSER, web_auth=base64url(b"0123456789abcdef") + "=="),
    ],
)
def test_what_a_provider_could_use_is_taken(wished):
    check(wished, Config())


@pytest.mark.parametrize(
    "field, wished",
    [
        ("channel", but(ANDROID, channel="email")),
        ("channel", but(ANDROID, channel="")),
        ("environment", but(ANDROID, environment="")),
        ("environment", but(ANDROID, environment="Production")),
        ("platform", but(ANDROID, platform="")),
        ("platform", but(ANDROID, platform="symbian")),
        ("device", but(ANDROID, device="")),
        ("device", but(ANDROID, device="x" * 256)),
        ("bundle", but(ANDROID, bundle="x" * 256)),
        ("token", but(ANDROID, token="")),
        ("token", but(ANDROID, token="short")),
        ("token", but(ANDROID, token="with blank in it")),
        ("token", but(ANDROID, token="x" * 4097)),
        ("token", but(ANDROID, channel="apns", token="not-hex" * 8)),
        ("token", but(ANDROID, channel="apns", token="0f" * 15)),
        ("token", but(ANDROID, channel="apns_voip", token=f"{HEX}\n")),
        ("endpoint", but(BROWSER, token="")),
        ("endpoint", but(BROWSER, token="http://push.example.com/x")),
        ("endpoint", but(BROWSER, token="https://push.example.com/" + "x" * 2048)),
        ("web_auth", but(BROWSER, web_auth=None)),
        ("web_auth", but(BROWSER, web_auth=base64url(b"short"))),
        ("web_auth", but(BROWSER, web_auth="not base64 é")),
        ("web_auth", but(BROWSER, web_auth=base64url(b"0123456789abcdef") + "!" * 100_000)),
        ("web_p256dh", but(BROWSER, web_p256dh=None)),
        ("web_p256dh", but(BROWSER, web_p256dh=base64url(POINT[:-1]))),
        ("web_p256dh", but(BROWSER, web_p256dh=" " * 1_000 + base64url(POINT))),
        ("web_p256dh", but(BROWSER, web_p256dh=base64url(b"\4" + b"\1" * 64))),
    ],
)
def test_what_no_provider_could_use_is_refused_by_field(field, wished):
    with pytest.raises(errors.Invalid) as refused:
        check(wished, Config())
    assert refused.value.field == field


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/x",
        "https://db.internal/x",
        "https://printer.local/x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://10.0.0.1/x",
        "https://192.168.1.1/x",
        "https://169.254.169.254/latest",
        "https://[::1]/x",
        "https://[fd00::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://[64:ff9b::a00:1]/x",
        "https://[64:ff9b:1::808:808]/x",
        "https://[2002:a00:1::]/x",
        "https://224.0.0.1/x",
        "https://0x7f.1/x",
        "https://printer/x",
        "https:///x",
        "https://[/x",
        "file:///etc/passwd",
        "push.example.com",
        "",
    ],
)
def test_no_endpoint_leads_into_our_own_network(url):
    assert not allowed_endpoint(url, Config())


@pytest.mark.parametrize("allow_private", [True, False])
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example\\@push.example.com/x",
        "https://evil.example\\.push.example.com/x",
        "https://user@push.example.com/x",
        "https://push.example.com /x",
        " https://push.example.com/x",
        "https://push.exam\tple.com/x",
        "https://push.example.com/x\n",
        "https://push.example.com/\x7f",
        "https://evil.example／@push.example.com/x",
        "https://bücher.example/x",
    ],
)
def test_an_endpoint_that_can_be_read_in_two_ways_is_none(url, allow_private):
    assert not allowed_endpoint(url, Config(allow_private_addresses=allow_private))


def test_what_browsers_are_given_is_an_endpoint():
    assert allowed_endpoint("https://fcm.example.com:443/wp/dQw4:APA91b-_~?token=BQ%3d&x=1+2", Config())


def test_an_endpoint_is_at_port_443_or_one_that_the_operator_allows():
    url = "https://push.example.com:8443/x"
    assert not allowed_endpoint(url, Config())
    assert allowed_endpoint(url, Config(outgoing_ports=(8443,)))
    assert not allowed_endpoint("https://push.example.com:22/x", Config(outgoing_ports=(8443,)))


def test_for_development_an_endpoint_may_be_here():
    assert allowed_endpoint("http://127.0.0.1:9000/x", Config(allow_private_addresses=True))
    assert not allowed_endpoint("file:///etc/passwd", Config(allow_private_addresses=True))


# ── whose it is ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def app(db: Database) -> App:
    return applications.create(db, "tests", NOW)


def user(db: Database, app: App) -> int:
    with db.write() as tx:
        row = tx.one(
            "INSERT INTO users (id, app_id, is_guest, created_at, updated_at) VALUES (:id, :a, 0, 0, 0) RETURNING id",
            id=tx.next_id("user_ids"),
            a=app.id,
        )
    assert row
    return int(row["id"])


def subscribe(db: Database, app: App, *wished: Subscription, now: int = NOW, most: int = 10) -> list[int]:
    config = Config(limits=Limits(max_subscriptions=most))
    return [one.id for one in subscriptions.subscribe(db, config, app, wished, now)]


def tokens(db: Database, user_id: int) -> list[str]:
    return [one.token for one in subscriptions.of_user(db, user_id)]


def test_what_was_stored_comes_back_whole(db, app):
    ann = user(db, app)
    wished = [but(ANDROID, user_id=ann), but(BROWSER, user_id=ann)]
    first, second = subscribe(db, app, *wished)
    assert subscriptions.of_user(db, ann) == [but(wished[0], id=first), but(wished[1], id=second)]


def test_the_same_device_again_renews_the_token_and_keeps_the_id(db, app):
    ann = user(db, app)
    first = subscribe(db, app, but(ANDROID, user_id=ann))
    again = subscribe(db, app, but(ANDROID, user_id=ann, token="fcm-token-0002", bundle=None), now=NOW + 1)
    assert (again, tokens(db, ann)) == (first, ["fcm-token-0002"])


def test_renewing_draws_no_new_id(db, app):
    ann = user(db, app)
    (first,) = subscribe(db, app, but(ANDROID, user_id=ann))
    for n in range(5):
        subscribe(db, app, but(ANDROID, user_id=ann, token=f"fcm-token-000{n}"))
    assert subscribe(db, app, but(ANDROID, user_id=ann, device="tablet", token="fcm-token-tablet")) == [first + 1]


def test_device_channel_and_environment_make_a_subscription(db, app):
    ann = user(db, app)
    different = [
        but(ANDROID, user_id=ann),
        but(ANDROID, user_id=ann, environment="development", token="fcm-token-0002"),
        but(ANDROID, user_id=ann, device="tablet", token="fcm-token-0003"),
        but(ANDROID, user_id=ann, channel="apns", token=HEX),
        but(ANDROID, user_id=ann, channel="apns_voip", token=HEX),
    ]
    assert len(set(subscribe(db, app, *different))) == len(subscriptions.of_user(db, ann)) == 5


def test_a_token_belongs_to_whoever_registered_it_last(db, app):
    ann, bob = user(db, app), user(db, app)
    subscribe(db, app, but(ANDROID, user_id=ann))
    subscribe(db, app, but(ANDROID, user_id=bob))
    assert (tokens(db, ann), tokens(db, bob)) == ([], [ANDROID.token])
    subscribe(db, app, but(ANDROID, user_id=ann))
    assert (tokens(db, ann), tokens(db, bob)) == ([ANDROID.token], [])


def test_a_token_of_another_application_is_another_token(db, app):
    ann, other = user(db, app), applications.create(db, "other", NOW)
    bob = user(db, other)
    subscribe(db, app, but(ANDROID, user_id=ann))
    subscribe(db, other, but(ANDROID, user_id=bob))
    assert tokens(db, ann) == tokens(db, bob) == [ANDROID.token]


def test_a_token_on_another_device_of_the_same_user_leaves_the_first(db, app):
    ann = user(db, app)
    subscribe(db, app, but(ANDROID, user_id=ann))
    subscribe(db, app, but(ANDROID, user_id=ann, device="restored"))
    assert [one.device for one in subscriptions.of_user(db, ann)] == ["restored"]


def test_all_or_none(db, app):
    ann = user(db, app)
    with pytest.raises(errors.Invalid):
        subscribe(db, app, but(ANDROID, user_id=ann), but(ANDROID, user_id=ann, channel="email"))
    assert tokens(db, ann) == []


def test_beyond_the_limit_the_longest_unrenewed_goes(db, app):
    ann = user(db, app)
    for n in range(3):
        subscribe(db, app, but(ANDROID, user_id=ann, device=f"d{n}", token=f"fcm-token-{n:04}"), now=NOW + n, most=3)
    subscribe(db, app, but(ANDROID, user_id=ann, device="d0", token="fcm-token-0000"), now=NOW + 3, most=3)
    subscribe(db, app, but(ANDROID, user_id=ann, device="d3", token="fcm-token-0003"), now=NOW + 4, most=3)
    assert {one.device for one in subscriptions.of_user(db, ann)} == {"d0", "d2", "d3"}


def test_one_ends_ones_own_only(db, app):
    ann, bob = user(db, app), user(db, app)
    (mine,) = subscribe(db, app, but(ANDROID, user_id=ann))
    for who, which in ((bob, mine), (ann, mine + 1)):
        with pytest.raises(errors.NotFound):
            subscriptions.unsubscribe(db, who, which)
    subscriptions.unsubscribe(db, ann, mine)
    assert tokens(db, ann) == []


def test_many_at_once_leave_one_of_each(db, app):
    people = [user(db, app) for _ in range(4)]

    def register(n: int) -> None:
        subscribe(db, app, but(ANDROID, user_id=people[n % 4]))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(register, range(32)))
    assert [token for person in people for token in tokens(db, person)] == [ANDROID.token]


def test_two_tokens_swapped_at_once_end_up_once_each(db, app):
    """Each registration may take a token from the other user, and no request is refused."""
    ann, bob = user(db, app), user(db, app)
    tokens_ = ("fcm-token-0001", "fcm-token-0002")

    def register(n: int) -> None:
        subscribe(db, app, but(ANDROID, user_id=(ann, bob)[n % 2], token=tokens_[n // 2 % 2]))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(register, range(16)))
    left = tokens(db, ann) + tokens(db, bob)
    assert left
    assert len(left) == len(set(left))


def test_two_who_exchange_their_tokens_wait_for_each_other_before_either_writes(databases, monkeypatch):
    """PostgreSQL, where each transaction waits between its two writes, so that the other one could come in between."""
    leave, both = store.leave_elsewhere, threading.Barrier(2)

    def slowly(tx: Tx, *of: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        leave(tx, *of)

    with databases.fresh("postgresql") as url, closing(connect(url, seal=SEAL)) as db:
        app = applications.create(db, "test", NOW)
        ann, bob = user(db, app), user(db, app)
        mine = {who: but(ANDROID, user_id=who, token=f"fcm-token-000{who}") for who in (ann, bob)}
        for one in mine.values():
            subscribe(db, app, one)
        monkeypatch.setattr(store, "leave_elsewhere", slowly)
        with ThreadPoolExecutor(2) as threads:
            swaps = [but(mine[ann], token=mine[bob].token), but(mine[bob], token=mine[ann].token)]
            list(threads.map(lambda one: subscribe(db, app, one), swaps))
        assert (tokens(db, ann), tokens(db, bob)) == ([mine[bob].token], [mine[ann].token])
