"""One HTTP connection to a server that is measured.

    Client.sent(…)         one request: its cost, the body of the answer
    Client.repeated(…)     the same request several times: the mean cost of one

The time is measured from the first byte of the request to the last byte of the response. The processor time is that of
the server's process, all threads. It is read a moment later, because a server still works when the last byte has
arrived, and the system counts the time of a thread when the thread rests.
"""

import http.client
import time

import machine
from raw import Cost, expect

SILENT_SECONDS, REST_SECONDS = 2, 0.002


class Client:
    """A connection that is kept alive."""

    def __init__(self, port: int, pid: int) -> None:
        self.pid = pid
        self.port = port
        self._used = 0.0
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def sent(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None, *, status: int = 200
    ) -> tuple[Cost, bytes]:
        """Send one request; a wrong status ends the benchmark."""
        self._connect()
        cpu, started = machine.cpu_seconds(self.pid), time.perf_counter()
        seen, answer = self._answer(method, path, headers, body)
        clock = time.perf_counter() - started
        time.sleep(REST_SECONDS)
        cpu = machine.cpu_seconds(self.pid) - cpu
        expect(seen, status, f"{method} {path}, which answered {answer[:200]!r}")
        return Cost(clock, cpu, len(answer)), answer

    def repeated(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, times: int
    ) -> tuple[Cost, bytes]:
        """Send one request so many times, for requests that are too short to be measured alone."""
        self._connect()
        cpu, started = machine.cpu_seconds(self.pid), time.perf_counter()
        answers = [self._answer(method, path, headers, body) for _ in range(times)]
        clock = time.perf_counter() - started
        time.sleep(REST_SECONDS)
        cpu = machine.cpu_seconds(self.pid) - cpu
        expect({seen for seen, _ in answers}, {200}, f"{method} {path}")
        last = answers[-1][1]
        return Cost(clock / times, cpu / times, len(last)), last

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> tuple[int, bytes]:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def _connect(self) -> None:
        """Connect before the time is measured, because the server closes a connection after 5 silent seconds."""
        if time.monotonic() - self._used > SILENT_SECONDS:
            self._connection.close()
            self._connection.connect()
        self._used = time.monotonic()
