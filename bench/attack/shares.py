"""An attack on the memory for request bodies: connections of one address that each send a part of a body (A6).

2,050 connections send all but the last byte of a log-in of 16 KiB, the largest body of a caller who is not known.
Meanwhile users at another address and at the same one upload a contact again and again. The server trusts the
loopback as a proxy, so the addresses are those of X-Forwarded-For.
"""

import json
import resource
import socket
import time
from collections import Counter
from contextlib import ExitStack, suppress

from accounts import running
from attack import Attack, Figure
from served import NO_LIMITS
from turns import CAFE, HOME, Side

CONNECTIONS, SIZE, UPLOADS = 2_050, 16 * 1024, 30


def held() -> list[Figure]:
    """The answers to the user's uploads beside the attack."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    head = f"POST /session HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {CAFE}\r\nContent-Length: {SIZE}\r\n\r\n".encode()
    statuses: Counter[int] = Counter()
    with running(**NO_LIMITS) as server, ExitStack() as stack:
        keys = {"application_id": server.app["application_id"], "auth_key": server.app["auth_key"]}
        honest, known = Side(server.port, keys, "honest", HOME), Side(server.port, keys, "neighbour", CAFE)
        for _ in range(CONNECTIONS):
            with suppress(OSError):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
                one.sendall(head + b" " * (SIZE - 1))
        neighbours: Counter[int] = Counter()
        began = time.monotonic()
        for number in range(UPLOADS):
            body = json.dumps({"contacts": [{"phone": "+12025550123", "name": f"Name {number}"}]}).encode()
            statuses[honest.ask("POST", "/address_book", body)[0]] += 1
            neighbours[known.ask("POST", "/address_book", body)[0]] += 1
        seconds = time.monotonic() - began
    return [
        Figure("uploads of another address, 200", str(statuses[200]), str(UPLOADS), statuses[200] == UPLOADS),
        Figure("uploads of a known user at that address, 200", str(neighbours[200]), "", True),
        Figure("seconds for both", f"{seconds:.1f}", "", True),
    ]


ATTACKS = (Attack("2,050 connections of one address with unfinished bodies", held),)
