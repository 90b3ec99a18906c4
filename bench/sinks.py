"""A server that accepts all pushes (sink.cjs), and the settings that send pushes to it.

    sinking(folder)      the server, during a block
    Sink                 its counts, its credentials, its tokens
    bare(sink, count)    the rate of the HTTP library alone

The server speaks HTTP/2 over TLS. It answers at once or with a given delay, and does not look at the requests.
"""

import asyncio
import json
import shutil
import ssl
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import machine
import trustme
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from processes import running, wait_until
from pyreqwest.client import Client, ClientBuilder

from ringbook.worker import courier

PROGRAM = Path(__file__).with_name("sink.cjs")
NEED_NODE = "bench needs node 20 or newer"
PROJECT = "demo-ringbook"
BODY = b'{"user_id":20000001,"type":"contact_joined","aps":{"alert":{"body":"Your friend Ann Example 1234 joined."}}}'


@dataclass(frozen=True)
class Counts:
    """The pushes that arrived: count, bytes, connections, and the times of the first and last in seconds since 1970."""

    pushes: int
    bytes: int
    connections: int
    first: float
    last: float


@dataclass(frozen=True)
class Sink:
    """The server: `url` accepts pushes, `others` all other requests."""

    url: str
    others: str
    ca_file: Path
    pid: int

    @cached_property
    def credentials(self) -> dict[str, str]:
        """The settings of an application that sends here."""
        account = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "k1",
            "private_key": pem(rsa.generate_private_key(65537, 2048)),
            "client_email": f"push@{PROJECT}.iam.example.com",
            "token_uri": f"{self.others}/token",
        }
        return {
            "apns_key": pem(ec.generate_private_key(ec.SECP256R1())),
            "apns_key_id": "RINGBOOK01",
            "apns_team_id": "TEAM123456",
            "apns_topic": "org.example.ringbook",
            "fcm_service_account": json.dumps(account),
            "web_push_contact": "mailto:push@example.org",
        }

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a process that sends here, as `served.environment` takes them."""
        return {
            "APNS_ENDPOINT": self.url,
            "FCM_ENDPOINT": self.url,
            "CA_FILE": str(self.ca_file),
            "ALLOW_PRIVATE_ADDRESSES": "true",
        }

    def counts(self) -> Counts:
        """The counts since the last `empty`."""
        found = self._ask("GET", "/counts")
        return Counts(**found | {name: (found[name] or 0) / 1e3 for name in ("first", "last")})

    def empty(self, wait_seconds: float = 0.0) -> None:
        """Reset the counts, and set the delay of the responses."""
        self._ask("DELETE", f"/counts?wait={round(wait_seconds * 1e3)}")

    def _ask(self, method: str, path: str) -> Any:
        trusted = ssl.create_default_context(cafile=str(self.ca_file))
        request = urllib.request.Request(self.others + path, method=method)
        with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
            return json.loads(answer.read())


@contextmanager
def sinking(folder: Path) -> Iterator[Sink]:
    """The server, when it is ready."""
    node = shutil.which("node")
    if not node:
        raise SystemExit(NEED_NODE)
    authority, ca_file, log = trustme.CA(), folder / "ca.pem", folder / "sink.log"
    authority.cert_pem.write_to_path(str(ca_file))
    own = authority.issue_cert("127.0.0.1")
    chain = b"".join(one.bytes() for one in own.cert_chain_pems).decode()
    (folder / "sink.json").write_text(json.dumps({"cert": chain, "private": own.private_key_pem.bytes().decode()}))
    with running([node, PROGRAM, folder / "sink.json"], log) as process:
        wait_until(lambda: json.loads(log.read_text()), ValueError, process, log)
        ports = json.loads(log.read_text())
        urls = [f"https://127.0.0.1:{ports[name]}" for name in ("pushes", "others")]
        yield Sink(*urls, ca_file, process.pid)


def pem(key: Any) -> str:
    """A private key in PEM."""
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text.decode()


# ── without Ringbook ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Bare:
    """Requests per second, and processor seconds per request, of the client and of the sink."""

    rate: float
    cpu: float
    sink_cpu: float


def bare(sink: Sink, count: int) -> Bare:
    """Send requests like those to APNs from this process, on one connection, with as many in flight as a worker has."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_bare(sink, count))


async def _bare(sink: Sink, count: int) -> Bare:
    builder = ClientBuilder().add_root_certificate_pem(sink.ca_file.read_bytes()).http2_prior_knowledge()
    async with builder.build() as client:
        await _requests(client, sink, iter([0]))
        numbers, started = iter(range(count)), time.perf_counter()
        before, sink_before = time.process_time(), machine.cpu_seconds(sink.pid)
        await asyncio.gather(*(_requests(client, sink, numbers) for _ in range(courier.PLACES // 2)))
        seconds = time.perf_counter() - started
        cpu, sink_cpu = time.process_time() - before, machine.cpu_seconds(sink.pid) - sink_before
    return Bare(count / seconds, cpu / count, sink_cpu / count)


async def _requests(client: Client, sink: Sink, numbers: Iterator[int]) -> None:
    """Send requests one after the other."""
    for number in numbers:
        headers = {
            "authorization": "bearer " + "x" * 200,
            "apns-topic": "org.example.ringbook",
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": "2000000000",
            "apns-id": str(uuid.UUID(int=number)),
            "apns-collapse-id": str(uuid.UUID(int=number)),
            "content-type": "application/json",
        }
        request = client.post(f"{sink.url}/3/device/{number:064x}").headers(headers).body_bytes(BODY)
        async with request.build_streamed() as response:
            await response.body_reader.read_chunk()
            if response.status != 200:
                raise SystemExit(f"the sink answered {response.status}")
