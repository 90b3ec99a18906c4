"""The text of the first start: the keys, and code to paste for each SDK.

welcome(app, url, …)      the text of the first start
url(config, port)         where this machine reaches the server
dashboard(config, url)    and where its dashboard is
"""

from urllib.parse import urlsplit

from .. import __version__
from ..config import Config
from ..model import App

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}

WELCOME = """
Ringbook {version} serves at {url}    (Ctrl+C ends it)

Its database is {database}
It was empty, so an application has been made. Your apps carry its keys:

    application id    {id}
    auth key          {key}
    auth secret       {secret}

They are shown here this once; afterwards by: ringbook app show {id} --secrets

The dashboard, where you see and steer all this: {dashboard}
{admin}
What the API answers to: {docs}

JavaScript (npm install connectycube@6), in a file app.mjs. Connect and sign Ann in; an unknown login signs up:

    import ConnectyCube from "connectycube";
    ConnectyCube.init({{ appId: {id}, authKey: "{key}" }}, {options});
    await ConnectyCube.createSession({{ login: "ann", password: "ann-12345" }});

    // Then a friend signs up, Ann uploads her address book and sees who of it is here:
    const friend = {{ login: "bob", password: "bob-12345", full_name: "Bob", phone: "+1 (202) 555-0142" }};
    await ConnectyCube.users.signup(friend).catch(() => "Bob was here before");
    await ConnectyCube.addressbook.uploadAddressBook([{{ name: "Bobby", phone: "12025550142" }}]);
    console.log(JSON.stringify(await ConnectyCube.addressbook.getRegisteredUsers()));

Flutter 3 (connectycube_sdk):

    init("{id}", "{key}");
    setEndpoints("{emulator}", "chat.invalid");

Flutter 1 and 2:

    init("{id}", "{key}", "{secret}");
    setEndpoints("{emulator}", "chat.invalid");

From where an app reaches this server:

    Android emulator         {emulator}
    Android phone on USB     {loopback}    after: adb reverse tcp:{port} tcp:{port}
    iOS simulator, browser   {loopback}
    phone in this network    this machine's address, after: ringbook serve --host 0.0.0.0 (make serve HOST=0.0.0.0)
"""


ADMIN = """
    e-mail            {email}
    password          {password}

The password is shown here this once; `ringbook admin reset-password {email}` makes another one, and
`ringbook admin create EMAIL` another admin.
"""


def url(config: Config, port: int) -> str:
    """The address of the server on this machine."""
    scheme = "https" if config.tls_cert else "http"
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{scheme}://{EVERYWHERE.get(config.host, host)}:{port}"


def dashboard(config: Config, url: str) -> str:
    """The address of the dashboard of the server at `url`."""
    address = urlsplit(url)
    host = address.netloc.removesuffix(f":{address.port}")
    return f"{address.scheme}://{host}:{config.admin_port or address.port}/dashboard"


def welcome(app: App, url: str, database: str, dashboard: str, admin: tuple[str, str] | None) -> str:
    """Everything to paste, for a server at `url` that has just made `app` and perhaps an admin (e-mail, password).

    database   says where all of it is kept
    """
    address = urlsplit(url)
    return WELCOME.format(
        version=__version__,
        url=url,
        database=database,
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
