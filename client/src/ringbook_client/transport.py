"""How a request travels: the only file that knows what the HTTP library's requests, answers and errors look like.

address(url)        the server's address, checked
key, can_be_sent    an auth key, checked; whether a token can travel
is_open_to_others   whether requests travel as they are
sent(step)          a step → what the library is given
answer(response)    what came back
failure(error)      what did not
"""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2

from . import errors
from .retries import Send
from .version import __version__
from .wire import Answer

NOT_SENT_ERRORS = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
USER_AGENT = f"ringbook-client/{__version__}"


def checked_url(url: str) -> str:
    """The address without a / at its end; ValueError if it is none."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL()
    if parsed.scheme not in ("http", "https") or not _has_valid_host(parsed) or set(" ?#") & set(url):
        raise ValueError(f"{url!r} is no address of a server: it looks like https://book.example.com")
    return url.rstrip("/")


def is_unencrypted(url: str) -> bool:
    """Requests travel over a network as they are."""
    parsed = httpx2.URL(url)
    return parsed.scheme == "http" and not re.fullmatch(r"localhost|127(\.\d+){3}|::1", parsed.host)


def _has_valid_host(url: httpx2.URL) -> bool:
    """Something that can be looked up (RFC 1035, section 2.3.4), and a port that there is."""
    labels = url.raw_host.decode("ascii").removesuffix(".").split(".")
    return all(0 < len(label) < 64 for label in labels) and (url.port is None or 0 < url.port < 65536)


def is_valid_token(token: str) -> bool:
    """A header can hold it."""
    return token.isascii() and token.isprintable()


def checked_key(auth_key: str) -> str:
    """The auth key; ValueError if it cannot be one."""
    if not (auth_key and auth_key.isascii() and auth_key.isprintable() and " " not in auth_key):
        raise ValueError("the auth key is none: `ringbook app show ID` shows it")
    return auth_key


def request_arguments(base: str, step: Send) -> dict[str, Any]:
    """The arguments of the library's `request`."""
    request = step.request
    token = {"CB-Token": step.token} if step.token else {}
    content_type = {} if request.body is None else {"Content-Type": "application/json"}
    return {
        "method": request.method,
        "url": base + request.path,
        "params": request.query or None,
        "content": None if request.body is None else json_bytes(request.body),
        "headers": {"User-Agent": USER_AGENT, **content_type, **request.headers, **token},
        "follow_redirects": False,  # a token goes to no other place, whatever client this is
    }


def json_bytes(body: Any) -> bytes:
    """JSON in UTF-8; a text with half an emoji, which UTF-8 cannot hold, is escaped: the server rejects that entry."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":")).encode()


def to_answer(response: httpx2.Response) -> Answer:
    """A response, read to its end."""
    if response.is_redirect:
        raise errors.BadAnswer(f"the server sends elsewhere ({response.status_code}): give the client that address")
    return Answer(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.content
    )


def to_error(error: httpx2.RequestError) -> errors.RingbookError:
    """Why there is no answer, in words without the request's."""
    if isinstance(error, httpx2.DecodingError):
        return errors.BadAnswer("the answer cannot be decompressed")
    if isinstance(error, httpx2.TimeoutException):
        unreachable: errors.Unreachable = errors.TimedOut("the server did not answer in time")
    else:
        # Other errors may quote what was sent, such as a header with the token.
        why = str(error) if isinstance(error, httpx2.ConnectError) else type(error).__name__
        unreachable = errors.Unreachable(f"the server cannot be reached ({why})")
    unreachable.sent = not isinstance(error, NOT_SENT_ERRORS)
    return unreachable
