"""The configuration: what is accepted, what is refused in which words, and where every value comes from."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from stream.core.opening import Opening
from stream.core.rules import (
    HISTOGRAM_BOUNDS_S,
    BoardRules,
    Clock,
    FoldRules,
    Formula,
    QueuePolicy,
    QueueRule,
)
from stream.settings import ConfigError, Option, board_rules, fold_rules, load, parse_set
from stream.settings.keys import key_at, keys_of, known_keys, queue_keys
from stream.settings.load import Configuration
from stream.settings.model import Section, Settings
from stream.settings.show import HIDDEN, as_json, as_toml, toml_value
from stream.settings.sources import from_text, lines_of
from stream.settings.spans import format_span, parse_span
from tools import manual

DOCS = Path(__file__).parent.parent / "docs"

BAD_FILES = {
    # unknown keys
    '[windows]\nclok = "wall"': "c.toml:2 windows.clok is no known key; the nearest is windows.clock",
    '[kafka]\nbootstrap_server = "a:1"': "c.toml:2 kafka.bootstrap_server is no known key; "
    "the nearest is kafka.bootstrap_servers",
    '[queues.s]\ntarge = "5s"': "c.toml:2 queues.s.targe is no known key; the nearest is queues.s.target",
    'target = "20s"': "c.toml:1 target is no known key; the nearest is queue_defaults.target",
    '[windows]\ntarget = "20s"': "c.toml:2 windows.target is no known key; "
    "the nearest is queue_defaults.target",
    '[queue]\ntarget = "5s"': "c.toml:2 queue is no known key; the nearest is queues",
    "zzz = 1": "c.toml:1 zzz is no known key; known are time_zone, kafka, events, windows, queue_defaults, "
    "http, worker, alerts, queues",
    # the wrong kind of value
    '[http]\nport = "9660"': 'c.toml:2 http.port "9660" must be a whole number',
    "[http]\nport = true": "c.toml:2 http.port true must be a whole number",
    "[http]\nport = 1.5": "c.toml:2 http.port 1.5 must be a whole number",
    '[http]\nallow_remote = "yes"': 'c.toml:2 http.allow_remote "yes" must be true or false',
    '[queue_defaults]\nobjective = "80%"': 'c.toml:2 queue_defaults.objective "80%" must be a number',
    "[kafka]\ngroup_id = 7": "c.toml:2 kafka.group_id 7 must be text in quotes",
    "kafka = 3": "c.toml:1 kafka 3 must be a table; write it as [kafka]",
    "queues = 3": "c.toml:1 queues 3 must be a table; write it as [queues.NAME]",
    "queues.s = 3": "c.toml:1 queues.s 3 must be a table; write it as [queues.s]",
    # spans
    "[events]\ngrace = 300": 'c.toml:2 events.grace 300 needs a unit; write "300s"',
    '[events]\ngrace = "300"': 'c.toml:2 events.grace "300" needs a unit; write "300s"',
    '[events]\ngrace = "5 minutes"': 'c.toml:2 events.grace "5 minutes" is no span of time; '
    'write it like "20s", "1m30s", "1h" or "500ms"',
    "[events]\ngrace = true": 'c.toml:2 events.grace true must be a span of time in quotes, like "20s"',
    '[events]\ngrace = "25h"': 'c.toml:2 events.grace "25h" is out of range; it must lie between 0s and 24h',
    # bounds
    "[http]\nport = 70000": "c.toml:2 http.port 70000 is out of range; it must lie between 0 and 65535",
    "[kafka]\npartitions = 0": "c.toml:2 kafka.partitions 0 is out of range; it must lie between 1 and 1024",
    "[queue_defaults]\nobjective = 80": "c.toml:2 queue_defaults.objective 80 is out of range; "
    "it must lie between 0 and 1",
    "[queue_defaults]\nobjective = nan": "c.toml:2 queue_defaults.objective NaN is out of range; "
    "it must lie between 0 and 1",
    # choices
    '[windows]\nclock = "wal"': 'c.toml:2 windows.clock "wal" is none of wall, stream; the nearest is "wall"',
    "[windows]\nclock = 7": "c.toml:2 windows.clock 7 is none of wall, stream",
    '[queues.s]\nformula = "abandoned_ignore"': 'c.toml:2 queues.s.formula "abandoned_ignore" is none of '
    "abandoned_ignored, abandoned_negative, abandoned_positive, answered_only; "
    'the nearest is "abandoned_ignored"',
    '[windows]\ninterval = "20m"': 'c.toml:2 windows.interval "20m" must be 15m or 30m; the nearest is "15m"',
    # windows
    '[windows]\nrolling = ["7s"]': 'c.toml:2 windows.rolling ["7s"] has "7s", which is not made of whole 5s; '
    'the nearest is "5s"',
    '[windows]\nrolling = [\n  "5m",\n  "25h",\n]': 'c.toml:2 windows.rolling ["5m", "25h"] has "25h"; '
    "a window lies between 5s and 24h",
    '[windows]\nrolling = ["60m", "1h"]': 'c.toml:2 windows.rolling ["60m", "1h"] has "60m" and "1h", '
    "which are the same window",
    '[windows]\nrolling = "5m"': 'c.toml:2 windows.rolling "5m" must be a list of spans '
    'like ["5m", "30m", "1h"]',
    # names
    'time_zone = "Europe/Amsterdm"': 'c.toml:1 time_zone "Europe/Amsterdm" is no time zone; '
    'the nearest is "Europe/Amsterdam"',
    'time_zone = ""': 'c.toml:1 time_zone "" is no time zone; write it like "Europe/Amsterdam"',
    '[kafka]\nbootstrap_servers = "kafka"': 'c.toml:2 kafka.bootstrap_servers "kafka" is not like '
    '"127.0.0.1:9092", or several of that with commas between',
    '[kafka]\nbootstrap_servers = ["a:1", "b:99999"]': 'c.toml:2 kafka.bootstrap_servers ["a:1", "b:99999"] '
    "has the port 99999; ports lie between 1 and 65535",
    '[kafka]\ntopic_late = "a b"': 'c.toml:2 kafka.topic_late "a b" is no name for Kafka; '
    "use 1 to 249 letters, digits, dots, _ and -",
    '[kafka]\ngroup_id = ""': 'c.toml:2 kafka.group_id "" is no name for a group; '
    "use 1 to 200 letters, digits, dots, _ and -",
    '[http]\nhost = ""': 'c.toml:2 http.host "" is no address to listen on; write it like "127.0.0.1"',
    '[queues.""]': 'c.toml:1 queues "" has 0 characters; a queue\'s name has 1 to 128',
    '[queues.s]\nopening = "Mo 8-9"': "c.toml:2 queues.s.opening \"Mo 8-9\" cannot be read: 'Mo 8-9' is not "
    "like 'Mo-Fr 08:00-20:00'",
    # contradictions
    '[queues.s]\ntarget = "5s"\nshort_abandon = "6s"': 'c.toml:3 queues.s.short_abandon "6s" is above the '
    'target of "5s"; write at most "5s"',
    '[queue_defaults]\nshort_abandon = "30s"': 'c.toml:2 queue_defaults.short_abandon "30s" is above the '
    'target of "20s"; write at most "20s"',
    '[queue_defaults]\nshort_abandon = "6s"\n[queues.s]\ntarget = "5s"': "c.toml:4 queues.s.short_abandon "
    '"6s" is above the target of "5s"; write at most "5s"',
    '[events]\ncall_age_max = "1m"\n[queues.a]\ntarget = "2m"': 'c.toml:4 queues.a.target "2m" is above the '
    'age at which a visit expires (events.call_age_max); write at most "1m"',
    '[kafka]\ntopic_late = "call-events"': 'c.toml:2 kafka.topic_late "call-events" is the topic of '
    "kafka.topic_events too; give each another name",
    "[events]\nqueues_max = 1\n[queues.a]\n[queues.b]": "c.toml:2 events.queues_max 1 is below the 2 "
    "configured queues; write at least 2",
    '[http]\nhost = "0.0.0.0"': 'c.toml:2 http.host "0.0.0.0" can be reached from other machines; if that is '
    'meant, add --allow-remote (http.allow_remote = true), otherwise use "127.0.0.1"',
    # TLS and passwords
    '[kafka]\nsecurity_protocol = "SASL_TLS"': 'c.toml:2 kafka.security_protocol "SASL_TLS" is none of PLAINTEXT, '
    'SSL, SASL_PLAINTEXT, SASL_SSL; the nearest is "SASL_SSL"',
    '[kafka]\nsasl_mechanism = "SCRAM-512"': 'c.toml:2 kafka.sasl_mechanism "SCRAM-512" is none of SCRAM-SHA-512, '
    'SCRAM-SHA-256, PLAIN; the nearest is "SCRAM-SHA-512"',
    '[kafka]\nsasl_username = "u"': "c.toml:2 kafka.sasl_username means nothing with kafka.security_protocol "
    '"PLAINTEXT"; set that to "SASL_SSL", or leave kafka.sasl_username out',
    '[kafka]\nsecurity_protocol = "SSL"\nsasl_password = "hunter2"': "c.toml:3 kafka.sasl_password means nothing "
    'with kafka.security_protocol "SSL"; set that to "SASL_SSL", or leave kafka.sasl_password out',
    '[kafka]\nssl_cafile = "ca.pem"': "c.toml:2 kafka.ssl_cafile means nothing with kafka.security_protocol "
    '"PLAINTEXT"; set that to "SSL", or leave kafka.ssl_cafile out',
    '[kafka]\nsecurity_protocol = "SASL_SSL"': 'c.toml:2 kafka.security_protocol "SASL_SSL" needs a user; '
    "set kafka.sasl_username",
    '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_username = "u"': 'c.toml:2 kafka.security_protocol "SASL_SSL" '
    "needs a password; set kafka.sasl_password_file, or CALLGAUGE_KAFKA__SASL_PASSWORD",
    '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_username = "u"\nsasl_password = "hunter2"\n'
    'sasl_password_file = "f"': "c.toml:5 kafka.sasl_password and kafka.sasl_password_file are both set; "
    "keep one of them",
    '[kafka]\nsecurity_protocol = "SSL"\nssl_keyfile = "k.pem"': "c.toml:3 kafka.ssl_keyfile is a key without a "
    "certificate; set kafka.ssl_certfile too",
    # a secret in the wrong place is not repeated
    "[kafka]\nsasl_password = 77123": "c.toml:2 kafka.sasl_password must be text in quotes",
    '[[kafka]]\nsasl_password = "hunter2"': "c.toml:1 kafka must be a table; write it as [kafka]",
    '[kafka]\nsasl_pasword = "hunter2"': "c.toml:2 kafka.sasl_pasword is no known key; the nearest is "
    "kafka.sasl_password",
    '[kafka]\nbootstrap_servers = "u:hunter2@k:9092"': 'c.toml:2 kafka.bootstrap_servers "***@k:9092" has a user in '
    "it; brokers are host:port, and users go into kafka.sasl_username",
    # of two, the first in the file; what a queue inherits is wrong where it was written
    '[queue_defaults]\ntarget = "x"\n[queues.a]\n[queues.b]\nobjective = 7': "c.toml:2 queue_defaults.target "
    '"x" is no span of time; write it like "20s", "1m30s", "1h" or "500ms"',
}
BAD_VARIABLES = {
    ("CALLGAUGE_HTTP__PORT", "70000"): "CALLGAUGE_HTTP__PORT http.port 70000 is out of range; "
    "it must lie between 0 and 65535",
    ("CALLGAUGE_HTTP_PORT", "x"): 'CALLGAUGE_HTTP_PORT http.port "x" must be a whole number',
    ("CALLGAUGE_QUEUES__SALES__TARGET", "0s"): "CALLGAUGE_QUEUES__SALES__TARGET queues.sales.target "
    '"0s" is out of range; it must lie between 1s and 168h',
}
BAD_SETS = {
    "http.prt=1": "--set http.prt is no known key; the nearest is http.port",
    "http.port=x": '--set http.port "x" must be a whole number',
    "a b=1": '--set "a b" is no key; write it like queue_defaults.target',
    "kafka.sasl_password=hunter2": "--set kafka.sasl_password would show a secret to everyone on this machine "
    "(list of processes); use the variable CALLGAUGE_KAFKA__SASL_PASSWORD, or a file",
    "kafka.sasl_password hunter2": '--set "kafka.sasl_password" is not KEY=VALUE; '
    "write it like --set windows.clock=stream",
    "clock": '--set "clock" is not KEY=VALUE; write it like --set windows.clock=stream',
}


@pytest.fixture
def config_file(tmp_path, monkeypatch):
    """Give a file `c.toml` in an empty current directory."""
    monkeypatch.chdir(tmp_path)
    return Path("c.toml")


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_bad_file_is_one_line_that_names_the_place_and_the_nearest_valid_choice(text, config_file):
    """Whatever is wrong in the file, the message is exactly what the table says."""
    config_file.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load(config_file)

    assert BAD_FILES[text] == str(caught.value)


@pytest.mark.parametrize("variable", BAD_VARIABLES)
def test_a_bad_variable_is_named(variable, config_file):
    """The place of a value from the environment is the variable."""
    config_file.write_text("")

    with pytest.raises(ConfigError) as caught:
        load(config_file, dict([variable]))

    assert BAD_VARIABLES[variable] == str(caught.value)


@pytest.mark.parametrize("text", BAD_SETS)
def test_a_bad_option_is_named(text):
    """The place of a value from the command line is the option."""
    with pytest.raises(ConfigError) as caught:
        load(None, {}, [parse_set(text)])

    assert BAD_SETS[text] == str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a b", r"c\.toml:1 is no TOML: column 3: expected '=' after a key.*"),
        (b"\n[kafka\n", r"c\.toml:2 is no TOML: column 7: expected ']'.*"),
        (b"[http]\nport = 1\n# again\nport = 2\nhost = 'x'", r"c\.toml:4 is no TOML: .*overwrite a value"),
        (b'[kafka]\n[http]\n[kafka]\nx = """', r"c\.toml:\d is no TOML: .*"),
        (b"x = '''", r"c\.toml:1 is no TOML: .*"),
        (b"time_zone = 'UTC'\n# \xff", r"c\.toml:2 is not UTF-8; save the file as UTF-8"),
        (b"#" * 262_145, r"c\.toml is too large; a configuration has at most 262144 bytes"),
    ],
)
def test_a_file_that_is_no_toml_is_one_line_with_its_place(content, message, config_file):
    """A file that cannot be parsed at all is told by line and column."""
    config_file.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load(config_file)

    assert re.fullmatch(message, str(caught.value))


def test_a_file_that_cannot_be_read_says_what_to_do(tmp_path):
    """A missing file and a directory are the user's slip, not a crash."""
    with pytest.raises(ConfigError, match="no such file or directory; name a readable file with --config"):
        load(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path)


def test_a_message_is_one_line_whatever_the_value(config_file):
    """A value with line breaks, or a very long one, is quoted on one short line."""
    config_file.write_text('time_zone = """a\nb' + "c" * 500 + '"""')

    with pytest.raises(ConfigError) as caught:
        load(config_file)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_without_any_source_everything_is_at_its_default(tmp_path):
    """The defaults of the models are those of the core and of the contract."""
    settings = load(directory=tmp_path).settings

    assert fold_rules(settings) == FoldRules()
    assert (settings.kafka.partitions, settings.http.host, settings.http.port) == (12, "127.0.0.1", 9660)
    assert settings.windows.rolling == BoardRules(None, 12).rolling


def test_the_file_of_the_current_directory_is_read_without_being_named(config_file):
    """`callgauge.toml` is found; another file is read only when named."""
    config_file.write_text("[http]\nport = 1")
    Path("callgauge.toml").write_text("[http]\nport = 2")

    assert load().settings.http.port == 2
    assert load(config_file).settings.http.port == 1


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(config_file):
    """Each source covers the ones below it, and the source of every value is known."""
    config_file.write_text('time_zone = "Asia/Tokyo"\n[http]\nport = 1\nhost = "::1"\n[events]\ngrace = "1m"')
    environ = {"CALLGAUGE_HTTP__PORT": "2", "CALLGAUGE_EVENTS_GRACE": "2m", "CALLGAUGE_TIME_ZONE": ""}

    loaded = load(config_file, environ, [Option("http.port", 3, "--port")])

    assert (loaded.settings.http.port, loaded.settings.events.grace_ms) == (3, 120_000)
    assert loaded.settings.time_zone == "Asia/Tokyo"
    sources = {
        ("http", "port"): "--port",
        ("events", "grace"): "CALLGAUGE_EVENTS_GRACE",
        ("http", "host"): "c.toml:4",
        ("time_zone",): "c.toml:1",
        ("worker", "publish_interval"): "default",
    }
    assert sources == {path: str(loaded.source(path)) for path in sources}


def test_an_unknown_variable_is_ignored_but_can_be_seen(tmp_path):
    """Orchestrators add variables of their own, so they are no error; `callgauge config` lists them."""
    environ = {"CALLGAUGE_KAFKA__BOOTSTRAP_SERVER": "x:1", "CALLGAUGE_DEBUG": "1", "PATH": "/bin"}

    loaded = load(environ=environ, directory=tmp_path)

    assert loaded.settings == Settings()
    assert loaded.ignored == (("CALLGAUGE_KAFKA__BOOTSTRAP_SERVER", "CALLGAUGE_KAFKA__BOOTSTRAP_SERVERS"),)


def test_two_variables_for_one_key_must_agree(tmp_path):
    """Both forms of a name may be set, if they say the same."""
    both = {"CALLGAUGE_HTTP__PORT": "1", "CALLGAUGE_HTTP_PORT": "1"}

    assert load(environ=both, directory=tmp_path).settings.http.port == 1
    with pytest.raises(ConfigError, match=r"both set http\.port; keep one of them"):
        load(environ=both | {"CALLGAUGE_HTTP_PORT": "2"}, directory=tmp_path)


def test_no_two_keys_share_a_variable():
    """Neither with two underscores nor with one is any name ambiguous."""
    names = [key.environment for key in known_keys().values()]
    short = [name.replace("__", "_") for name in names]

    assert len(set(names)) == len(names)
    assert len(set(short)) == len(short)


def test_a_queues_variable_means_the_queue_that_reads_like_it(config_file):
    """Names with blanks and capitals can be set too; an unknown one makes a queue in lower case."""
    config_file.write_text('[queues."Sales EU"]\ntarget = "30s"')
    environ = {"CALLGAUGE_QUEUES__SALES_EU__TARGET": "45s", "CALLGAUGE_QUEUES__NEW__OBJECTIVE": "0.9"}

    queues = load(config_file, environ).settings.queues

    assert {"Sales EU", "new"} == set(queues)
    assert (queues["Sales EU"].target_ms, queues["new"].objective) == (45_000, 0.9)


def test_a_queue_takes_what_it_does_not_set_from_the_defaults(config_file):
    """Inheritance is by key, whatever source set the default; an empty table is a queue as well."""
    config_file.write_text(
        '[queue_defaults]\ntarget = "25s"\nobjective = 0.7\n[queues.a]\nobjective = 0.9\n[queues.b]'
    )

    loaded = load(config_file, {"CALLGAUGE_QUEUE_DEFAULTS__TARGET": "35s"})

    queues = loaded.settings.queues
    assert {name: (queue.target_ms, queue.objective) for name, queue in queues.items()} == {
        "a": (35_000, 0.9),
        "b": (35_000, 0.7),
    }
    shown = as_json(loaded)["values"]
    assert shown["queues.a.objective"] == {"value": 0.9, "source": "c.toml:5"}
    assert shown["queues.b.objective"] == {"value": 0.7, "source": "queue_defaults.objective: c.toml:3"}


def test_the_core_gets_what_was_configured(config_file):
    """Rules, policies and histogram bounds follow the file."""
    config_file.write_text(
        'time_zone = "Europe/Amsterdam"\n[events]\ngrace = "1m30s"\n[windows]\nrolling = [" 10m ", "90m"]\n'
        'interval = "15m"\nclock = "stream"\n[queue_defaults]\ntarget = "25s"\n[queues.sales]\n'
        'target = "30s"\nformula = "answered_only"\nshort_abandon = "3s"\nopening = "Mo 08:00-09:00"'
    )
    settings = load(config_file).settings

    board = board_rules(settings, by_arrival=True)

    fold = board.fold
    assert (fold.grace_ms, fold.by_arrival, fold.shards) == (90_000, True, 4)
    assert fold.rule("sales") == QueueRule(30_000, 3_000, Formula.ANSWERED_ONLY)
    assert fold.rule("other") == QueueRule(25_000)
    assert fold.histogram_bounds_ms == tuple(sorted({*(1_000 * b for b in HISTOGRAM_BOUNDS_S), 25_000}))
    assert board.policy("sales") == QueuePolicy(opening=Opening(((0, 480, 540),)))
    assert board.rolling == (("10m", 600_000), ("90m", 5_400_000))
    assert (str(board.time_zone), board.clock, board.interval_ms) == (
        "Europe/Amsterdam",
        Clock.STREAM,
        900_000,
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_address_needs_no_permission(host, tmp_path):
    """Only an address that others can reach has to be allowed."""
    assert load(None, {"CALLGAUGE_HTTP__HOST": host}, directory=tmp_path).settings.http.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])  # noqa: S104
def test_another_address_needs_permission(host, tmp_path):
    """The setting is enough, from whatever source."""
    environ = {"CALLGAUGE_HTTP__HOST": host}

    with pytest.raises(ConfigError, match="can be reached from other machines"):
        load(None, environ, directory=tmp_path)
    allowed = load(None, environ | {"CALLGAUGE_HTTP__ALLOW_REMOTE": "yes"}, directory=tmp_path)
    assert allowed.settings.http.host == host


@given(st.integers(min_value=0, max_value=10**12))
def test_a_span_survives_being_written_and_read(span_ms):
    """What is printed means the same when it is read back."""
    assert span_ms == parse_span(format_span(span_ms))


@pytest.mark.parametrize(
    ("text", "span_ms"),
    [
        ("500ms", 500),
        ("20s", 20_000),
        ("5m", 300_000),
        ("1m30s", 90_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
    ],
)
def test_a_span_is_written_as_people_do(text, span_ms):
    """The forms that the documentation shows."""
    assert span_ms == parse_span(text)


@pytest.mark.parametrize(
    "text",
    ["", "s", "5", "5 m", "-5s", "1.5s", "30s1m", "5M", "\N{ARABIC-INDIC DIGIT FIVE}s", "9" * 50 + "s", None],
)
def test_a_span_is_nothing_else(text):
    """No signs, fractions, blanks, other orders or digits of other scripts."""
    with pytest.raises(ValueError):
        parse_span(text)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20), st.text(max_size=30) | st.integers(0, 9) | st.booleans(), max_size=6
    ),
    st.text("# \n", max_size=5),
)
def test_the_line_of_every_key_is_found(table, gap):
    """Whatever names, values, comments and empty lines a file has, a key's line holds that key."""
    names = [toml_value(key_at(("time_zone",)), name) for name in table]
    gap = "".join(f"{line}#\n" for line in gap.split("#"))
    lines = [
        f"{name} = {toml_value(key_at(('time_zone',)), value)}"
        for name, value in zip(names, table.values(), strict=True)
    ]
    text = f"{gap}[t]\n{gap}" + f"\n{gap}".join(lines)

    found = lines_of(text)

    for name, line in zip(table, lines, strict=True):
        assert text.split("\n")[found["t", name] - 1] == line


def test_what_config_prints_can_be_read_back(config_file):
    """The effective configuration is a configuration file that means the same."""
    config_file.write_text('[queues."a \\"b\\" \\\\ ü"]\ntarget = "30s"\n[windows]\nrolling = []')
    loaded = load(config_file, {"CALLGAUGE_WORKER__PUBLISH_INTERVAL": "1s"})
    printed = Path("printed.toml")
    printed.write_text(as_toml(loaded))

    assert loaded.settings == load(printed).settings


def test_a_secret_is_never_printed():
    """Neither as TOML nor as a value for programs."""

    class Secretive(Section):
        password: SecretStr = Field(default=SecretStr("hunter2"), description="x")

    (key,) = keys_of(Secretive)

    assert toml_value(key, SecretStr("hunter2")) == f'"{HIDDEN}"'
    assert toml_value(key, "hunter2") == f'"{HIDDEN}"'
    assert "hunter2" not in repr(key)


def test_a_secret_is_shown_neither_by_the_configuration_nor_by_its_settings(config_file):
    """That there is none may be seen, what it is may not; the source of it may."""
    config_file.write_text('[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_username = "u"\n')
    loaded = load(config_file, {"CALLGAUGE_KAFKA__SASL_PASSWORD": "hunter2"})
    texts = [as_toml(loaded), repr(as_json(loaded)), repr(loaded), str(loaded.settings.model_dump())]

    assert loaded.settings.kafka.sasl_password.get_secret_value() == "hunter2"
    assert all("hunter2" not in text for text in texts)
    assert f'sasl_password = "{HIDDEN}"  # CALLGAUGE_KAFKA__SASL_PASSWORD' in texts[0]
    assert 'sasl_password = ""  # default' in as_toml(load())


@pytest.mark.parametrize("key", known_keys().values(), ids=lambda key: key.name)
def test_every_key_explains_itself_and_its_default_is_valid(key, tmp_path):
    """A key has a text, and its own default is accepted from the environment."""
    assert key.description.endswith((".", "none."))
    text = toml_value(key, key.default).strip('"')

    loaded = load(None, {key.environment: text} if text else {}, directory=tmp_path)

    assert loaded.settings == Settings()
    assert not text or str(loaded.source(key.path)) == key.environment


def test_the_bounds_of_a_key_hold_at_one_below_and_one_above(tmp_path):
    """Bounds are inclusive, and tested on both sides of both ends."""
    for key in known_keys().values():
        if key.low is None or key.high is None or key.high <= 1:
            continue
        name = key.name
        # the target's own bound is behind the expiry of calls, a short abandon behind the target
        more = {"queue_defaults.target": "168h", "events.call_age_max": "168h"}
        for value, good in ((key.low, True), (key.high, True), (key.low - 1, False), (key.high + 1, False)):
            if value < 0 and key.kind.value == "span":
                continue
            text = format_span(int(value)) if key.kind.value == "span" else str(int(value))
            options = [Option(other, span) for other, span in more.items() if other != name]
            options = [] if name == "events.call_age_max" and value == key.low else options
            options.append(Option(name, text))
            if good:
                load(None, {}, options, directory=tmp_path)
            else:
                with pytest.raises(ConfigError, match="out of range"):
                    load(None, {}, options, directory=tmp_path)


def test_text_is_turned_into_what_toml_would_hold():
    """Variables and --set are text; what does not fit stays text and is refused by name."""
    cases = {
        ("http", "port", "12"): 12,
        ("http", "port", "1_2"): "1_2",
        ("http", "allow_remote", "ON"): True,
        ("http", "allow_remote", "perhaps"): "perhaps",
        ("queue_defaults", "objective", "0.9"): 0.9,
        ("windows", "rolling", '["5m", "1h"]'): ["5m", "1h"],
        ("windows", "rolling", "5m,1h"): ["5m", "1h"],
    }

    assert cases == {(*path, text): from_text(known_keys()[tuple(path)], text) for *path, text in cases}


def test_the_example_of_the_documentation_is_the_defaults(tmp_path):
    """The file to copy says what holds anyway, and adds one queue."""
    text = manual.example_file().removeprefix("```toml\n").partition("```")[0]
    file = tmp_path / "example.toml"
    file.write_text(text)

    settings = load(file).settings

    assert set(tomllib.loads(text)["queues"]) == {"sales"}
    assert settings.model_copy(update={"queues": {}}) == Settings()


@pytest.mark.parametrize("page", manual.PAGES)
def test_the_generated_parts_of_the_documentation_are_current(page):
    """`python -m tools.manual` has been run since the last change."""
    text = (DOCS / page).read_text(encoding="utf-8")

    assert manual.filled(page, text) == text


def test_every_key_is_documented_with_its_default():
    """The page names each key, its default and its variable."""
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")

    for key in known_keys().values():
        assert f"| `{key.path[-1]}` | `{toml_value(key, key.default)}` |" in text
        assert key.environment in text
    assert set(queue_keys()) <= {key.path[-1] for key in known_keys().values()}


def test_a_configuration_without_sources_knows_only_defaults():
    """Settings that were made by hand have no place to name."""
    configuration = Configuration(Settings())

    assert str(configuration.source(("http", "port"))) == "default"
    assert configuration.own_keys("sales") == frozenset()
