"""TLS handshakes have a share for each address and second, because each takes a server about a millisecond.

Handshakes    says how long the handshake of a new connection waits
"""

PRUNED_ABOVE = 4096  # addresses


class Handshakes:
    """The handshakes of one process.

    per_second     of one address; as many may begin at once; 0 = no limit
    most_seconds   the longest wait
    """

    def __init__(self, per_second: int, most_seconds: float) -> None:
        self._per_second = per_second
        self._most_seconds = most_seconds
        self._free_at: dict[str, float] = {}  # by address: when all that were begun have had their time

    def wait(self, group: str | None, now: float) -> float | None:
        """The seconds that a new handshake waits; None if that is too long.

        group   the address; None for one without a share, such as a trusted proxy
        """
        if group is None or not self._per_second:
            return 0
        free_at = max(now, self._free_at.get(group, 0.0)) + 1 / self._per_second
        seconds = max(0.0, free_at - now - 1)
        if seconds > self._most_seconds:
            return None
        self._free_at[group] = free_at
        if len(self._free_at) > PRUNED_ABOVE:
            self._free_at = {one: at for one, at in self._free_at.items() if at > now}
        return seconds
