"""Settings: their sources, which source wins, and the messages about wrong settings."""

import pytest

from ringbook.config import ADDRESSES, ConfigError, load, settings


def test_without_any_setting_the_defaults_hold():
    defaults = load({})
    assert (defaults.database, defaults.host, defaults.port) == ("sqlite:///ringbook.db", "127.0.0.1", 8080)
    assert defaults.limits.max_body_bytes == 8 * 1024 * 1024
    assert defaults.limits.permits == 50_000


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path):
    file = tmp_path / "ringbook.toml"
    file.write_text("port = 1001\nthreads = 3\nworkers = 5\nmax_books = 7\n")
    read = load({"RINGBOOK_PORT": "1002", "RINGBOOK_THREADS": "4", "PATH": "/bin"}, file, {"port": 1003, "host": None})
    assert (read.port, read.threads, read.workers, read.limits.max_books) == (1003, 4, 5, 7)
    assert read.host == "127.0.0.1"


@pytest.mark.parametrize("typed, meant", [("on", True), ("TRUE", True), ("1", True), ("no", False), ("", False)])
def test_booleans_are_read_as_people_write_them(typed, meant):
    assert load({"RINGBOOK_ALLOW_PRIVATE_ADDRESSES": typed}).allow_private_addresses is meant


def test_trusted_proxies_become_whole_networks(tmp_path):
    file = tmp_path / "ringbook.toml"
    file.write_text('trusted_proxies = ["10.0.0.5/8", "::1"]\n')
    assert load({}, file).trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert load({"RINGBOOK_TRUSTED_PROXIES": "192.0.2.1, 10.1.2.3/16"}).trusted_proxies == (
        "192.0.2.1/32",
        "10.1.0.0/16",
    )


def test_ports_are_separated_by_commas_or_stand_in_a_list(tmp_path):
    file = tmp_path / "ringbook.toml"
    file.write_text("outgoing_ports = [8443]\n")
    assert load({}).outgoing_ports == ()
    assert load({}, file).outgoing_ports == (8443,)
    assert load({"RINGBOOK_OUTGOING_PORTS": "8443, 9443"}, file).outgoing_ports == (8443, 9443)
    for wrong in ("https", "0", "65536", "8443;9443"):
        with pytest.raises(ConfigError, match="RINGBOOK_OUTGOING_PORTS: .* is not accepted; it takes ports from 1"):
            load({"RINGBOOK_OUTGOING_PORTS": wrong})


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path):
    (tmp_path / "token").write_text("open-sesame\n")
    file = tmp_path / "ringbook.toml"
    file.write_text(f'metrics_token_file = "{tmp_path}/token"\n')
    assert load({"RINGBOOK_METRICS_TOKEN_FILE": f"{tmp_path}/token"}).metrics_token == "open-sesame"
    assert load({}, file).metrics_token == "open-sesame"
    assert load({"RINGBOOK_METRICS_TOKEN": "nearer"}, file).metrics_token == "nearer"


@pytest.mark.parametrize(
    "environ, said",
    [
        ({"RINGBOOK_PROT": "1"}, "RINGBOOK_PROT is not a setting; did you mean RINGBOOK_PORT?"),
        ({"RINGBOOK_MAX_BODY_PARTS": "1"}, "RINGBOOK_MAX_BODY_PARTS is not a setting; the guide, "),
        (
            {"RINGBOOK_MAX_BODY_BYTS": "1"},
            "RINGBOOK_MAX_BODY_BYTS is not a setting; did you mean RINGBOOK_MAX_BODY_BYTES?",
        ),
        ({"RINGBOOK_ZZZ": "1"}, "RINGBOOK_ZZZ is not a setting; the guide, which a server shows at /guide, lists all"),
        ({"RINGBOOK_PORT": "80a"}, "RINGBOOK_PORT: '80a' is not accepted; it takes a whole number from 0 to 65535"),
        ({"RINGBOOK_PORT": "65536"}, "RINGBOOK_PORT: '65536' is not accepted; it takes a whole number from 0 to 65535"),
        ({"RINGBOOK_WORKERS": "0"}, "RINGBOOK_WORKERS: '0' is not accepted; it takes a whole number, 1 or more"),
        ({"RINGBOOK_LOG_LEVEL": "loud"}, "it takes one of debug, info, warning, error"),
        ({"RINGBOOK_ALLOW_PRIVATE_ADDRESSES": "maybe"}, "it takes true or false"),
        ({"RINGBOOK_TRUSTED_PROXIES": "proxy.example"}, "RINGBOOK_TRUSTED_PROXIES: 'proxy.example' is not accepted"),
        ({"RINGBOOK_HOST_FILE": "x"}, "RINGBOOK_HOST_FILE is not a setting"),
        ({"RINGBOOK_DATABASE_FILE": "/nowhere"}, "RINGBOOK_DATABASE_FILE: '/nowhere' cannot be read"),
        ({"RINGBOOK_METRICS_TOKEN": "a", "RINGBOOK_METRICS_TOKEN_FILE": "/dev/null"}, "give one of the two"),
        ({"RINGBOOK_TLS_CERT": "cert.pem"}, "RINGBOOK_TLS_CERT and RINGBOOK_TLS_KEY belong together"),
        ({"RINGBOOK_ADMIN_PORT": "8080"}, "RINGBOOK_ADMIN_PORT must differ from RINGBOOK_PORT"),
        (
            {"RINGBOOK_PUBLIC_URL": "contacts.example.com"},
            "RINGBOOK_PUBLIC_URL: 'contacts.example.com' is not accepted",
        ),
        ({"RINGBOOK_PUBLIC_URL": "https://example.com/api"}, "RINGBOOK_PUBLIC_URL: 'https://example.com/api'"),
        ({"RINGBOOK_PUBLIC_URL": "https://a@example.com"}, "RINGBOOK_PUBLIC_URL: 'https://a@example.com'"),
        ({"RINGBOOK_PUBLIC_URL": "https://example.com; x"}, "RINGBOOK_PUBLIC_URL: 'https://example.com; x'"),
    ],
)
def test_what_is_said_about_a_wrong_setting(environ, said):
    with pytest.raises(ConfigError) as refused:
        load(environ)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text, said",
    [
        ("prot = 1", "prot in FILE is not a setting; did you mean port in FILE?"),
        ('port = "x"', "port in FILE: 'x' is not accepted"),
        ("port = true", "port in FILE: True is not accepted"),
        ("[limits]\nmax_books = 3", "limits in FILE is not a setting"),
        ("port = ", "FILE: not TOML"),
    ],
)
def test_what_is_said_about_a_wrong_file(tmp_path, text, said):
    file = tmp_path / "ringbook.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load({}, file)
    assert said in str(refused.value).replace(str(file), "FILE")


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="nowhere.toml: cannot be read"):
        load({}, "nowhere.toml")


@pytest.mark.parametrize("name", [name.upper() for name in ADDRESSES])
def test_where_a_provider_is_must_be_an_address(name):
    for wrong in (
        "localhost:8080",
        "fcm.example.com",
        "https://",
        "ftp://fcm.example.com",
        "https://a:b/",
        "https://[",
    ):
        with pytest.raises(ConfigError, match=f"RINGBOOK_{name}: .* it takes an https:// or http:// address"):
            load({f"RINGBOOK_{name}": wrong})
    assert getattr(load({f"RINGBOOK_{name}": "https://127.0.0.1:9/x"}), name.lower()) == "https://127.0.0.1:9/x"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann@one:5432,two:5433/ringbook?target_session_attrs=read-write",
        "postgresql://ann:hunter2@one,two:5433/ringbook",
        "postgresql://ann@[2001:db8::1]:5432,[2001:db8::2],three/ringbook",
    ],
)
def test_a_database_may_have_several_hosts(url):
    assert load({"RINGBOOK_DATABASE": url}).database == url


@pytest.mark.parametrize(
    "url",
    [
        "mysql://ann:hunter2@db/ringbook",
        "postgresql://ann:hunter2@db:port/ringbook",
        "postgresql://ann:hunter2@one:5432,two:port/ringbook",
        "postgresql://ann:hunter2@one:5432,two:70000/ringbook",
    ],
)
def test_a_wrong_secret_is_not_repeated(url):
    with pytest.raises(ConfigError, match="RINGBOOK_DATABASE: its value is not accepted; it takes sqlite") as refused:
        load({"RINGBOOK_DATABASE": url})
    assert "hunter2" not in str(refused.value)


def test_a_right_secret_is_not_shown_by_accident():
    assert "hunter2" not in repr(load({"RINGBOOK_DATABASE": "postgresql://ann:hunter2@db/ringbook"}))


NO_UNIT = {"port", "admin_port", "worker_metrics_port", "smtp_port", "allow_private_addresses"}


@pytest.mark.parametrize("setting", settings(), ids=lambda setting: setting.name)
def test_every_knob_says_what_it_is_and_takes_its_own_default(setting):
    assert setting.meaning
    assert setting.accepts
    assert setting.unit or setting.name in NO_UNIT or not isinstance(setting.default, int)
    typed = "" if setting.default == () else str(setting.default)
    assert load({setting.variable: typed}) == load({})
