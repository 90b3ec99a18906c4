"""APNs, FCM and Google's token endpoint on the loopback (providers.cjs), with keys of the tests' own.

    providing(folder)                 the server, as a context
    Providers                         where it is, what an application's settings say of it, what it was asked
    apns_token(order), fcm_token(…)   a push token that carries an order; without one the push is accepted
    private_key(), service_account()  an APNs key (.p8) and a Firebase service account
    provider_token(key, …)            the token that authenticates the sender to APNs

The server refuses what the real ones document as wrong: an assertion or provider token that is not signed rightly or
too old, headers, sizes, fields. Orders in a push token: gone · bad · answer-403-REASON · busy-SECONDS (429) ·
down (503) · slow-MILLIS · never · large · moved · broken (the connection closes instead of an answer) · half (within
the answer) · deaf (the server ends its side and is silent) · reset (the stream) · goaway (after the answer) · leaving
(before it). `once-` before an order: only the first time.

Orders for all are given with `order`: oauth="refused", "denied", "500", "busy", "html", "list", "slow" (0.3 s), "never"
or "short" (a token for 100 s); apns="expired" (the first provider token) or "all expired"; fcm="revoked" (all access
tokens so far).
"""

import json
import shutil
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from servers import running, wait_until

PROGRAM = Path(__file__).with_name("providers.cjs")
PROJECT = "demo-ringbook"
KEY_ID, TEAM_ID, TOPIC = "RINGBOOK01", "TEAM123456", "org.example.ringbook"
EMAIL = f"push@{PROJECT}.iam.example.com"


@dataclass(frozen=True)
class Providers:
    """The server. `url` and `plain_url` (HTTP/2 without TLS) are the same providers; `settings`, `config` lead there.

    `ca_file` holds two authorities, the right one last.
    """

    url: str
    plain_url: str
    ca_file: Path
    apns_key: str
    service_account: str
    log: Path

    @property
    def settings(self) -> dict[str, Any]:
        """What an application's settings say, for AppSettings or `ringbook app set`."""
        return {
            "fcm_service_account": self.service_account,
            "apns_key": self.apns_key,
            "apns_key_id": KEY_ID,
            "apns_team_id": TEAM_ID,
            "apns_topic": TOPIC,
        }

    @property
    def config(self) -> dict[str, Any]:
        """What the process's settings say, for Config; in the environment RINGBOOK_… in capitals."""
        return {
            "fcm_endpoint": self.url,
            "apns_endpoint": self.url,
            "apns_sandbox_endpoint": f"{self.url}/sandbox",
            "ca_file": str(self.ca_file),
            "allow_private_addresses": True,
        }

    def asked(self) -> dict[str, Any]:
        """What it has been asked: `asked`, one entry a push in order, `grants` of access tokens, provider `tokens`,
        how many `connections` there were and are `open`, and how often what was answered (`counts`)."""
        return self._control("GET")

    def forget(self) -> None:
        """As if it had been asked nothing; orders are forgotten as well, tokens are not."""
        self._control("DELETE")

    def order(self, **orders: str) -> None:
        """What it shall answer to all."""
        self._control("PUT", json.dumps(orders).encode())

    def _control(self, method: str, body: bytes | None = None) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/asked", body, method=method)
        trusted = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(request, timeout=10, context=trusted) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found


def apns_token(order: str = "", serial: int = 0) -> str:
    """A device token, in hex as Apple's are; `order` is what the server shall do."""
    return f"{order}-{serial:032d}".encode().hex() if order else f"{serial:064x}"


def fcm_token(order: str = "", serial: int = 0) -> str:
    """A registration token."""
    return f"{order or 'plain'}-{serial:040d}"


def private_key() -> tuple[str, str]:
    """An APNs authentication key as Apple's .p8 files hold it, and its public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _pem(key), _public(key)


def service_account(token_uri: str, **more: str) -> tuple[str, str]:
    """The JSON of a service account's key file, and its public key."""
    key = rsa.generate_private_key(65537, 2048)
    account = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "k1",
        "private_key": _pem(key),
        "client_email": EMAIL,
        "client_id": "1",
        "token_uri": token_uri,
    }
    return json.dumps(account | more), _public(key)


def provider_token(key: str, key_id: str, team: str) -> str:
    """A provider token of this moment."""
    return jwt.encode({"iss": team, "iat": int(time.time())}, key, "ES256", {"kid": key_id})


@contextmanager
def providing(folder: Path) -> Iterator[Providers]:
    """The server, ready; what it needs and writes stays in the folder."""
    node = shutil.which("node")
    if not node:
        raise RuntimeError("The tests need node 20 or newer")
    authority, log, ca_file = trustme.CA(), folder / "providers.log", folder / "ca.pem"
    ca_file.write_bytes(trustme.CA().cert_pem.bytes() + authority.cert_pem.bytes())
    apns_key, apns_public = private_key()
    account, account_public = service_account("later")
    own = authority.issue_cert("127.0.0.1", "localhost")
    made = {
        "cert": b"".join(pem.bytes() for pem in own.cert_chain_pems).decode(),
        "private": own.private_key_pem.bytes().decode(),
        "apns": {KEY_ID: apns_public},
        "accounts": {EMAIL: account_public},
        "project": PROJECT,
    }
    (folder / "providers.json").write_text(json.dumps(made))
    with running([node, PROGRAM, folder / "providers.json"], log) as process:
        wait_until(lambda: json.loads(log.read_text()), ValueError, process, log)
        ports = json.loads(log.read_text())
        url = f"https://127.0.0.1:{ports['tls']}"
        account = json.dumps(json.loads(account) | {"token_uri": f"{url}/token"})
        yield Providers(url, f"http://127.0.0.1:{ports['plain']}", ca_file, apns_key, account, log)


def _pem(key: Any) -> str:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


def _public(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()
