"""The text that the first start prints: the keys, and code for each SDK. docs/tutorial.md shows its beginning.

welcome(app, url, …)      the text
url(config, port)         the URL of the server on this machine
dashboard(config, url)    the URL of its dashboard
"""

from pathlib import Path
from urllib.parse import urlsplit

from .. import __version__
from ..config import Config
from ..model import App

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}

WELCOME = """
Ringbook {version} is running at {url}    (stop it with Ctrl+C)

Database: {database}
Its key:  {key_file}    (without this file nobody can read the database: keep a copy elsewhere)
The database was empty, so Ringbook created an application. Build its keys into your app:

    application id    {id}
    auth key          {key}
    auth secret       {secret}

To show them again: ringbook app show {id} --secrets

Dashboard: {dashboard}
{admin}
Description of the API: {docs}

JavaScript (npm install connectycube@6), in a file app.mjs. Connect and sign in as Ann; an unknown login is signed up:

    import ConnectyCube from "connectycube";
    ConnectyCube.init({{ appId: {id}, authKey: "{key}" }}, {options});
    await ConnectyCube.createSession({{ login: "ann", password: "ann-12345" }});

    // A friend signs up. Ann uploads her address book and gets the contacts who are registered:
    const friend = {{ login: "bob", password: "bob-12345", full_name: "Bob", phone: "+1 (202) 555-0142" }};
    await ConnectyCube.users.signup(friend).catch(() => "Bob has already signed up");
    await ConnectyCube.addressbook.uploadAddressBook([{{ name: "Bobby", phone: "12025550142" }}]);
    console.log(JSON.stringify(await ConnectyCube.addressbook.getRegisteredUsers()));

Flutter 3 (connectycube_sdk):

    init("{id}", "{key}");
    setEndpoints("{emulator}", "chat.invalid");

Flutter 1 and 2:

    init("{id}", "{key}", "{secret}");
    setEndpoints("{emulator}", "chat.invalid");

The address of this server for your app:

    Android emulator         {emulator}
    Android phone on USB     {loopback}    after: adb reverse tcp:{port} tcp:{port}
    iOS simulator, browser   {loopback}
    phone in your network    the address of this machine, after: ringbook serve --host 0.0.0.0 (make serve HOST=0.0.0.0)
"""


ADMIN = """
    e-mail            {email}
    password          {password}

The password is shown only now. `ringbook admin reset-password {email}` sets a new one, and
`ringbook admin create EMAIL` creates another admin.
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


def welcome(
    app: App, url: str, database: str, key_file: Path | None, dashboard: str, admin: tuple[str, str] | None
) -> str:
    """The text for a server at `url` that has just created `app`, and perhaps an admin (e-mail, password).

    database   the database without its password, for people
    key_file   the file of the database's key
    """
    address = urlsplit(url)
    return WELCOME.format(
        version=__version__,
        url=url,
        database=database,
        key_file=key_file,
        dashboard=dashboard,
        docs=dashboard.removesuffix("dashboard") + "docs",
        admin=ADMIN.format(email=admin[0], password=admin[1]) if admin else "",
        options=f'{{ endpoints: {{ api_url: "{url}" }}, debug: {{ mode: 0 }} }}',
        id=app.id,
        key=app.auth_key,
        secret=app.auth_secret,
        port=address.port,
        emulator=f"{address.scheme}://10.0.2.2:{address.port}",
        loopback=f"{address.scheme}://127.0.0.1:{address.port}",
    )
