"""A world in which every table gets rows, played through the server and the commands, with all its secrets noted.

play(server, …)   plays it → World
World             the secrets; what stays in clear on purpose; the users

It is a day of the people of the demo (`stolen/day.py`) and what the day leaves out: e-mails and logins that are phones
or e-mails, devices, pushes that wait, one-time codes, events, test pushes, webhooks, an import, admins, refusals and
erasures.
"""

import base64
import json
import re
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asking import PASSWORD, Person, ask, lines, opened, rows
from dashboard.visiting import Visitor
from push.listener import PushService
from push.providers import Providers, apns_token, fcm_token
from sealed import application_behind
from servers import SEAL, Application, Server, eventually, ringbook
from stolen.day import Day
from stolen.needles import Secrets
from verify.gateway import Gateway

from ringbook.core import applications
from ringbook.store import db as databases

DAY = Day()
# Stays in clear, and says so in docs/privacy.md: full_name and custom_data.
OPEN_NAME, OPEN_DATA = "Openly Named", "openly-kept-data"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"thirty bytes that sign a webhook").decode()
GATEWAY_HEADERS = '{"Authorization": "Bearer gateway-token-7d1f", "Content-Type": "application/json"}'
TWILIO_TOKEN = "twilio-auth-token-3b9e"
ADMIN, OTHER_ADMIN = "Operator.One@admins.example", "operator.two@admins.example"
INVITED = "invited.three@admins.example"
CODE_NUMBERS = ("+44 7700 900985", "+44 7700 900986")  # one signs in by code, one only asks for a code
IMPORTED = ("+44 7700 900981", "+44 7700 900982")
LATE = "+44 7700 900990"  # joins last: everybody who holds the number is told
WRONG_PASSWORD = "not-the-password-of-anybody"


@dataclass
class World:
    """The world while it is played."""

    server: Server
    app: Application
    providers: Providers
    browsers: PushService
    gateway: Gateway
    folder: Path
    secrets: Secrets = field(default_factory=Secrets)
    users: dict[int, Person] = field(default_factory=dict)

    def command(self, *words: str) -> str:
        """Run a `ringbook` command on the server's database; its output."""
        settings = {"allow_private_addresses": "true", "erasures_folder": str(self.folder / "erasures")}
        return ringbook(*words, database_url=self.server.database_url, **settings).stdout

    # ── applications and admins

    def set_up(self) -> None:
        """Settings with secrets, given on the command line; the application's own keys."""
        settings = self.providers.settings | {
            "default_region": "GB",
            "require_verified_number": "off",  # else nobody is told of numbers that nobody verified
            "contact_joined_enabled": "true",
            "web_push_contact": "mailto:push@example.org",
            "webhook_url": f"{self.gateway.url}/hook",
            "webhook_secret": WEBHOOK_SECRET,
            "sms_gateway": "http",
            "sms_regions": "GB,US",
            "sms_gateway_url": f"{self.gateway.url}/send",
            "sms_gateway_headers": GATEWAY_HEADERS,
            "sms_twilio_auth_token": TWILIO_TOKEN,
        }
        for key, value in settings.items():
            self.command("app", "set", str(self.app.application_id), key, str(value))
        for line in (self.providers.apns_key + json.loads(self.providers.service_account)["private_key"]).splitlines():
            if "-----" not in line:
                self.secrets.text(line, "applications.settings: a line of a private key")
        self.secrets.text(WEBHOOK_SECRET.removeprefix("whsec_"), "applications.settings: webhook_secret")
        self.secrets.text("gateway-token-7d1f", "applications.settings: sms_gateway_headers")
        self.secrets.text(TWILIO_TOKEN, "applications.settings: sms_twilio_auth_token")
        self.secrets.text(self.app.auth_secret, "applications.auth_secret")
        with closing(databases.connect(self.server.database_url, pool=1, seal=SEAL)) as db:
            hash_key = applications.get(db, self.app.application_id).hash_key
            vapid = applications.vapid_private_key(db, self.app.application_id)
        self.secrets.key(hash_key, "applications.hash_key")
        self.secrets.text(vapid, "applications.vapid_private_key")
        self.secrets.key(base64.urlsafe_b64decode(vapid + "=="), "applications.vapid_private_key")

    def administer(self) -> None:
        """Admins log in, once with a wrong password, look at the pages, reveal, and leave entries in the audit log."""
        for email in (ADMIN, OTHER_ADMIN, INVITED):
            self.address(email, "admins.email")
        password = json.loads(self.command("admin", "create", ADMIN, "--json"))["password"]
        other = json.loads(self.command("admin", "create", OTHER_ADMIN, "--json"))["password"]
        for secret in (password, other, WRONG_PASSWORD):
            self.secrets.text(secret, "a password")
        assert Visitor(self.server).post("/login", email=ADMIN, password=WRONG_PASSWORD).status == 303
        unknown = "nobody@admins.example"
        assert Visitor(self.server).post("/login", email=unknown, password=WRONG_PASSWORD).status == 303
        self.address(unknown, "buckets.name: a refused log-in")
        visitor = Visitor(self.server)
        assert visitor.post("/login", email=ADMIN, password=password).status == 303
        self.secrets.text(visitor.cookies["ringbook_admin"], "admin_sessions.token_hash")
        visitor.get("/account")
        here, holder = f"/apps/{self.app.application_id}", self.users[1]
        person = DAY.people[0]
        assert "users/" in visitor.follow(visitor.post(f"{here}/users", q=person["phone"])).html
        place = rows(self.server, "SELECT MIN(seq) AS place FROM contacts WHERE owner_id = :id", id=holder.id)[0][
            "place"
        ]
        revealed = visitor.follow(visitor.post(f"{here}/users/{holder.id}/books/0", place=place))
        assert revealed.status == 200 and ">revealed<" in revealed.html
        asked = visitor.post(f"{here}/why", user=str(holder.id), contact=person["phone"], names="on")
        assert visitor.follow(asked).status == 200
        assert visitor.post(f"{here}/users/export").status == 200
        assert visitor.post("/admins/invite", email=INVITED, role="viewer").status == 303
        kept = visitor.post("/apps", name="Second", nonce="a-nonce").goes_to  # its secret waits to be shown
        self.secrets.text(application_behind(self.server, int(kept.split("/")[3])).auth_secret, "admin_answers.sealed")
        assert visitor.post(f"{here}/users/{holder.id}/export").status == 200
        assert visitor.post(f"{here}/users/settings/test", test=str(self.users[2].id)).status == 303
        self.secrets.text("Your friend Annie joined.", "pushes.message: a test push")
        self.command("admin", "delete", OTHER_ADMIN, "--yes")

    # ── users

    def sign_up(self, person: dict[str, Any]) -> None:
        """A user with phone and e-mail. Some logins are a phone, some an e-mail."""
        n = person["id"]
        email = f"Person.{n:03}@mail.example"
        login = {0: f"person{n}-by-name", 1: person["reads"], 2: f"login.{n:03}@logins.example"}[n % 3]
        profile = {"login": login, "password": PASSWORD, "email": email, "phone": person["phone"]}
        known = {"full_name": f"{OPEN_NAME} {n}", "custom_data": f"{OPEN_DATA} {n}"}
        made = ask(self.server, "POST", "/users", {"user": profile | known}, headers={"CB-AuthKey": self.app.auth_key})
        assert made.status == 201, made
        session = opened(self.server, self.app, {"login": login, "password": PASSWORD})
        self.users[n] = Person(self.server, self.app, session["user_id"], session["token"], login)
        self.number(person, "users.phone, numbers")
        self.address(email, "users.email")
        self.secrets.text(session["token"], "sessions.token_hash")
        if n % 3 == 2:
            self.address(login, "users.login: an e-mail")

    def number(self, entry: dict[str, Any], origin: str) -> None:
        """A number, and its spelling."""
        self.secrets.number(entry["reads"], origin)
        self.secrets.text(entry["phone"], origin)
        for value in (entry["reads"], f"+{entry['reads']}", entry["phone"]):
            self.secrets.guessable(value, self.app.application_id, origin)

    def address(self, email: str, origin: str) -> None:
        """An e-mail address."""
        self.secrets.text(email, origin)
        self.secrets.guessable(email, self.app.application_id, origin)

    def upload(self, who: int, contacts: list[dict[str, Any]], **options: Any) -> None:
        """Upload contacts; their names and numbers are secrets, as sent and as the server gives them back."""
        sent = [{key: one[key] for key in ("name", "phone", "destroy") if key in one} for one in contacts]
        assert self.users[who].upload(sent, **options).status == 200
        for one in contacts:
            if "reads" in one:
                self.number(one, "contacts: number")
        asked = "?since=0" + (f"&udid={options['udid']}" if "udid" in options else "")
        assert self.users[who].ask("GET", f"/address_book/registered_users{asked}").status == 200
        for phone, name in self.users[who].book(options.get("udid")):
            self.secrets.text(name, "contacts: name")
            self.secrets.text(phone, "contacts: spelling")

    def people(self, when: str) -> None:
        """Some people sign up and upload their books."""
        joining = {one["id"] for one in DAY.people if one["joins"] == when}
        for one in DAY.people:
            if one["id"] in joining:
                self.sign_up(one)
        for book in DAY.books:
            if book["owner"] in joining:
                device = {"udid": book["device"]} if book["device"] else {}
                self.upload(book["owner"], book["contacts"], force=1, **device)

    def live(self) -> None:
        """Contacts are renamed, removed and added, and users get other numbers."""
        for event in DAY.events:
            if "contacts" in event:
                self.upload(event["who"], event["contacts"], force=int(event["force"]))
                continue
            who = self.users[event["who"]]
            assert who.ask("PUT", f"/users/{who.id}", {"user": {"phone": event["phone"]}}).status == 200
            self.number(event, "users.phone, numbers")

    def refuse(self) -> None:
        """Wrong passwords, an unknown login, a sign-up with a taken e-mail, look-ups by phone and e-mail."""
        keys = {"application_id": self.app.application_id, "auth_key": self.app.auth_key}
        unknown = "+44 7700 900999"  # gets an account
        for login, status in ((self.users[1].login, 401), (self.users[2].login, 401), (unknown, 201)):
            user = {"login": login, "password": WRONG_PASSWORD}
            assert ask(self.server, "POST", "/session", keys | {"user": user}).status == status
        self.number({"reads": "447700900999", "phone": unknown}, "users.login: a phone; buckets.name")
        taken = {"login": "somebody-new", "password": PASSWORD, "email": "person.001@mail.example"}
        made = ask(self.server, "POST", "/users", {"user": taken}, headers={"CB-AuthKey": self.app.auth_key})
        assert made.status == 422, made
        me = self.users[1]
        assert me.ask("GET", "/users/by_email?email=person.002@mail.example").status == 200
        phone = DAY.people[2]["reads"]
        assert me.ask("GET", f"/users/by_phone?phone={phone}").status in (200, 404)
        assert me.ask("GET", f"/users/v2?phone={phone}").status == 200

    def bring(self) -> None:
        """Users are imported from a table of another service."""
        file, table = self.folder / "users.csv", ["id,login,phone,verified,full_name,email"]
        for n, phone in enumerate(IMPORTED):
            email = f"imported.{n}@mail.example"
            table.append(f"{900_001 + n},{phone if n else email},{phone},true,{OPEN_NAME} {900 + n},{email}")
            self.number({"reads": re.sub(r"\D", "", phone), "phone": phone}, "an import: users, numbers")
            self.address(email, "an import: users.email")
        file.write_text("\n".join(table) + "\n")
        self.command("users", "import", str(file), "--app", str(self.app.application_id))
        file.unlink()
        self.command("users", "give-number", "900001", "+447700900983", "--app", str(self.app.application_id), "--yes")
        self.secrets.number("447700900983", "users give-number")
        self.secrets.text(
            json.loads(self.command("users", "reset-password", "900002", "--json"))["password"], "a password"
        )

    def ask_for_codes(self) -> None:
        """One user signs in by a code, another number only gets one."""
        keys = {"application_id": self.app.application_id, "auth_key": self.app.auth_key, "provider": "phone"}
        for n, phone in enumerate(CODE_NUMBERS):
            first = ask(self.server, "POST", "/session", keys | {"phone": {"number": phone}})
            assert first.status == 202, first
            text = json.loads(next(one.body for one in reversed(self.gateway.asked) if one.path == "/send"))["text"]
            code = text.split()[0]
            self.number({"reads": re.sub(r"\D", "", phone), "phone": phone}, "codes")
            self.secrets.code(code, "codes.code_hash")
            if n == 0:
                request_id = first.json["verification"]["request_id"]
                second = ask(
                    self.server, "POST", "/session", keys | {"phone": {"request_id": request_id, "code": code}}
                )
                assert second.status == 201, second
                self.secrets.text(second.json["session"]["token"], "sessions.token_hash")

    # ── pushes

    def subscribe(self) -> None:
        """Devices: one that pushes reach, one whose pushes wait because its provider is down, a browser."""
        shown = json.loads(self.command("app", "show", str(self.app.application_id), "--json"))
        browser = self.browsers.subscribe(shown["vapid_public_key"])
        web = {"web_endpoint": browser.endpoint, "web_auth": browser.auth, "web_p256dh": browser.p256dh}
        devices = [
            (1, "gcm", "android", {"client_identification_sequence": fcm_token(serial=1)}),
            (1, "apns", "ios", {"client_identification_sequence": apns_token(serial=2)}),
            (1, "web", "web", web),
            (2, "gcm", "android", {"client_identification_sequence": fcm_token("down", 3)}),
            (2, "apns", "ios", {"client_identification_sequence": apns_token("down", 4)}),
        ]
        for who, channel, platform, token in devices:
            asked = {
                "notification_channel": channel,
                "device": {"platform": platform, "udid": f"{platform}-of-{who}"},
                "push_token": {"environment": "production", **token},
            }
            answer = self.users[who].ask("POST", "/subscriptions", asked)
            assert answer.status == 201, answer
            for key in ("client_identification_sequence", "web_endpoint", "web_auth"):
                if key in token:
                    self.secrets.text(token[key], f"subscriptions: {key}")
        # What APNs gets is written in capitals by some apps.
        self.secrets.text(apns_token("down", 4).upper(), "subscriptions: client_identification_sequence")

    def tell(self) -> None:
        """A user joins whose number two users hold; one of them cannot be reached, and the push waits."""
        entry = {"name": "Late Newcomer at the Club", "phone": LATE, "reads": "447700900990"}
        for who in (1, 2):
            self.upload(who, [entry])
        self.sign_up({"id": 990, "phone": LATE, "reads": entry["reads"]})
        about = "SELECT outcome FROM pushes WHERE about_user_id = :joiner AND channel <> 'webhook'"
        joiner = self.users[990].id

        def outcomes() -> list[str]:
            return sorted(row["outcome"] or "" for row in rows(self.server, about, joiner=joiner))

        eventually(lambda: outcomes() == ["", "", *["accepted"] * 3], "the joined pushes are not sent")
        self.secrets.text("Your friend Late Newcomer at the Club joined.", "pushes.message: a joined push")

    def send_events(self) -> None:
        """An event arrives at one user and waits for another."""
        told = {"message": "Meet me at the harbour at noon", "place": "the old lighthouse keeper"}
        message = base64.b64encode(json.dumps(told).encode()).decode()
        event = {"message": message, "user": {"ids": [self.users[1].id, self.users[2].id]}}
        answer = self.users[3].ask("POST", "/events", {"event": {"environment": "production", **event}})
        assert answer.status == 201, answer
        for text in told.values():
            self.secrets.text(text, "events.message, pushes.message")

    def erase(self) -> None:
        """One user deletes the account, another is erased by an admin."""
        gone = self.users[4]
        assert gone.ask("DELETE", f"/users/{gone.id}").status == 200
        self.command("users", "erase", str(self.users[5].id), "--yes")
        assert self.users[6].upload(lines(0, 3, "Somebody in a Removed Book"), force=1).status == 200
        assert self.users[6].upload([], force=1).status == 200

    def write_last(self) -> None:
        """A last write, so that the write-ahead log has what was written last."""
        self.sign_up({"id": 991, "phone": "+44 7700 900991", "reads": "447700900991"})


def play(
    server: Server, app: Application, providers: Providers, browsers: PushService, gateway: Gateway, folder: Path
) -> World:
    """Play the whole world."""
    world = World(server, app, providers, browsers, gateway, folder)
    world.set_up()
    world.people("morning")
    world.subscribe()
    world.live()
    world.people("evening")
    world.refuse()
    world.bring()
    world.ask_for_codes()
    world.tell()
    world.send_events()
    world.administer()
    world.erase()
    world.secrets.text(PASSWORD, "users.password_hash")
    return world
