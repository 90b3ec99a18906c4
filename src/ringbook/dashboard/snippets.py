"""Code snippets for each SDK, with the endpoint and the keys filled in.

snippets(app, endpoint)    the snippets, in the order of the SDKs' popularity
first_try(app, endpoint)   JavaScript in which one user finds another, to try a new server
endpoint_of(text, …)       the endpoint that an admin has typed, or the one that the request came to

Source: README.md, "Point your SDK at it". The snippets of the native SDKs come from the SDKs' public interfaces.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from ..model import App

SECRET = "YOUR_AUTH_SECRET"


@dataclass(frozen=True, slots=True)
class Snippet:
    """The code for one SDK.

    plain   whether it accepts http:// for development
    signs   whether it signs its requests, and so needs the secret
    """

    id: str
    title: str
    package: str
    code: str
    plain: str = "yes"
    signs: bool = False


JAVASCRIPT = """import ConnectyCube from "connectycube";

ConnectyCube.init({{ appId: {id}, authKey: "{key}" }}, {{ endpoints: {{ api_url: "{url}" }} }});
await ConnectyCube.createSession({{ login: "ann", password: "ann-12345" }});

await ConnectyCube.addressbook.uploadAddressBook([{{ name: "Bobby", phone: "12025550142" }}]);
const here = await ConnectyCube.addressbook.getRegisteredUsers();"""

REACT_NATIVE = """// Version 6 of the package connectycube: as in JavaScript.
// react-native-connectycube 5 speaks only https, to a certificate that the phone trusts:
import ConnectyCube from "react-native-connectycube";

ConnectyCube.init({{ appId: {id}, authKey: "{key}" }}, {{ endpoints: {{ api: "{host}" }} }});
await ConnectyCube.createSession({{ login: "ann", password: "ann-12345" }});"""

FLUTTER = """import 'package:connectycube_sdk/connectycube_sdk.dart';

init("{id}", "{key}");  // versions 1 and 2: init("{id}", "{key}", "{secret}");
setEndpoints("{url}", "chat.invalid");  // both must be given; Ringbook has no chat

await createSession(CubeUser(login: "ann", password: "ann-12345"));
await uploadAddressBook([CubePhoneNumber("Bobby", "12025550142")], true, null);
final here = await getRegisteredUsers(false, null);"""

ANDROID = """// Version 2, Kotlin:
ConnectyCube.init(
    "{id}", "{key}",
    connectycubeConfig = ConnectycubeConfig(apiEndpoint = "{url}", chatEndpoint = "chat.invalid")
)

// Version 1, after init with the auth secret:
ConnectycubeSettings.getInstance().setEndpoints("{url}", "chat.invalid", ServiceZone.PRODUCTION)
ConnectycubeSettings.getInstance().setZone(ServiceZone.PRODUCTION)"""

IOS = """// Version 2, Swift:
ConnectyCube().doInit(
    applicationId: "{id}", authorizationKey: "{key}",
    connectycubeConfig: ConnectycubeConfig(apiEndpoint: "{url}", chatEndpoint: "chat.invalid")
)

// Version 1, after the application id, key and secret:
CYBSettings.apiEndpoint = "{url}"
CYBSettings.chatEndpoint = "chat.invalid\""""

QUICKBLOX = """import QB from "quickblox";

// Give both endpoints, without https://, which this SDK always uses.
QB.init({id}, "{key}", "{secret}", {{ endpoints: {{ api: "{host}", chat: "chat.invalid" }} }});
QB.createSession({{ login: "ann", password: "ann-12345" }}, (error, session) => console.log(error, session));"""

FIRST_TRY = """import ConnectyCube from "connectycube";

ConnectyCube.init({{ appId: {id}, authKey: "{key}" }}, {{ endpoints: {{ api_url: "{url}" }}, debug: {{ mode: 0 }} }});

// Dora signs in. Nobody has her login yet, so this signs her up.
await ConnectyCube.createSession({{ login: "dora", password: "dora-12345" }});

// Emil signs up with his number.
const emil = {{ login: "emil", password: "emil-12345", full_name: "Emil", phone: "+1 (202) 555-0107" }};
await ConnectyCube.users.signup(emil).catch(() => console.log("Emil has signed up before."));

// Dora's phone uploads its address book. Which of her contacts are registered?
await ConnectyCube.addressbook.uploadAddressBook([{{ name: "Emil (chess)", phone: "12025550107" }}]);
console.log(JSON.stringify(await ConnectyCube.addressbook.getRegisteredUsers()));"""

SNIPPETS = (
    Snippet("javascript", "JavaScript", "connectycube 6: browsers, node, React Native", JAVASCRIPT),
    Snippet("react-native", "React Native", "connectycube 6, react-native-connectycube 5", REACT_NATIVE, "version 6"),
    Snippet("flutter", "Flutter", "connectycube_sdk", FLUTTER),
    Snippet("android", "Android", "connectycube-android-sdk", ANDROID, "if the app allows clear text"),
    Snippet("ios", "iOS", "ConnectyCube", IOS, "if App Transport Security allows it"),
    Snippet("quickblox", "QuickBlox", "quickblox 2", QUICKBLOX, "no", signs=True),
)


def snippets(app: App, endpoint: str) -> list[tuple[Snippet, str]]:
    """Each SDK with its code."""
    parts = urlsplit(endpoint)
    values = {"id": app.id, "key": app.auth_key, "secret": SECRET, "url": endpoint, "host": parts.netloc}
    return [(one, one.code.format(**values)) for one in SNIPPETS]


def first_try(app: App, endpoint: str) -> str:
    """JavaScript in which one user finds another. It runs any number of times."""
    return FIRST_TRY.format(id=app.id, key=app.auth_key, url=endpoint)


def endpoint_of(text: str, otherwise: str) -> tuple[str, str]:
    """The endpoint for the snippets, and the error in the typed one ("" for none). On an error, `otherwise` is used."""
    typed = text.strip().rstrip("/")
    if not typed:
        return otherwise, ""
    try:
        parts = urlsplit(typed)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    plain = typed.isascii() and typed.isprintable() and not any(sign in typed for sign in " \"'\\`<>@?#")
    if not (good and plain and len(typed) < 200):
        return otherwise, "must be an address such as https://your.host"
    return typed, ""
