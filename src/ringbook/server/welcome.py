"""What `ringbook serve` prints on a terminal: the addresses, and at the first start the keys and a first password.

first_start(app, …)      the text of the first start
start(…)                 the text of each later start
STOPPED                  the last line
print_on_terminal(text)  prints a text in colour, where the terminal has colours
url(config, port)        the URL of the server on this machine
dashboard(config, url)   the URL of its dashboard

The texts fit a terminal of 80 columns and 24 lines; long paths and addresses are never broken. In a text, «» stands
around what is bold. docs/tutorial.md shows the first one.
"""

import sys
from pathlib import Path
from urllib.parse import urlsplit

from .. import __version__
from ..config import Config
from ..model import App

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
STOPPED = "Ringbook has stopped."

RUNNING = """
Ringbook {version} is running at «{url}»    (Ctrl+C stops it)
"""

PLACES = """
  Dashboard       {dashboard}
{admin}  API reference   {documents}/docs
  Guide           {documents}/guide
  Database        {database}
"""

ADMIN = """\
    e-mail        {email}
    password      «{password}»    (it is shown only now)
"""

FIRST = """\
  Its key         {key_file}
                  Keep a copy elsewhere. Without it the database cannot be read.

Build these keys into your app:

  application id  «{id}»
  auth key        «{key}»
  auth secret     «{secret}»

  «ringbook app connect {id}»          code for each SDK, with these keys
  «ringbook app show {id} --secrets»   the keys again
"""


def url(config: Config, port: int) -> str:
    """The URL of the server on this machine."""
    scheme = "https" if config.tls_cert else "http"
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{scheme}://{EVERYWHERE.get(config.host, host)}:{port}"


def dashboard(config: Config, url: str) -> str:
    """The URL of the dashboard of the server at `url`."""
    address = urlsplit(url)
    host = address.netloc.removesuffix(f":{address.port}")
    return f"{address.scheme}://{host}:{config.admin_port or address.port}/dashboard"


def start(url: str, database: str, dashboard: str, admin: tuple[str, str] | None = None) -> str:
    """The text for a server at `url`.

    database   the database without its password, for people
    admin      e-mail and password of an admin who was created just now
    """
    shown = ADMIN.format(email=admin[0], password=admin[1]) if admin else ""
    places = PLACES.format(
        dashboard=dashboard, admin=shown, documents=dashboard.removesuffix("/dashboard"), database=database
    )
    return RUNNING.format(version=__version__, url=url) + places


def first_start(
    app: App, url: str, database: str, key_file: Path | None, dashboard: str, admin: tuple[str, str] | None
) -> str:
    """The text for a server at `url` that has just created `app`, and perhaps an admin (e-mail, password).

    key_file   the file of the database's key
    """
    more = FIRST.format(key_file=key_file, id=app.id, key=app.auth_key, secret=app.auth_secret)
    return start(url, database, dashboard, admin) + more


def plain(text: str) -> str:
    """The text without the marks for bold."""
    return text.replace("«", "").replace("»", "")


def print_on_terminal(text: str) -> None:
    """Print a text on standard output. Lines that are longer than the terminal is wide stay whole."""
    from rich.console import Console
    from rich.text import Text

    console, shown, is_bold = Console(file=sys.stdout, highlight=False), Text(), False
    for part in text.replace("»", "«").split("«"):
        shown.append(part, "bold cyan" if is_bold else "")
        is_bold = not is_bold
    console.print(shown, soft_wrap=True)
    sys.stdout.flush()
