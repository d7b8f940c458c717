"""The command line: exit codes, one line for every failure, and what the commands print."""

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest

from schemas import decode
from stream.cli import main
from stream.commands.common import RunError
from stream.demo.settings import DemoWish, PortTakenError, demo_options, free_port
from stream.demo.table import as_line, as_lines
from stream.settings import load
from tools import manual

COMMANDS = [
    "demo",
    "kafka",
    "topics",
    "worker",
    "simulate",
    "send",
    "replay",
    "backtest",
    "report",
    "config",
    "dead-letters",
]
DOCS = Path(__file__).parent.parent / "docs"
WRONG_USAGE = {
    ("nope",): "callgauge: no such command 'nope'; see callgauge --help",
    ("--nope",): "callgauge: no such option: --nope; see callgauge --help",
    ("kafka", "--port", "x"): "callgauge: invalid value for '--port': ",
    ("kafka", "--port", "70000"): "callgauge: invalid value for '--port': ",
    ("replay", "-"): "callgauge: replay needs SOURCE and --to KIND",
    ("replay", "-", "--to", "openmetrics"): "callgauge: --to openmetrics needs --out: a directory",
    ("replay", "-", "--to", "csv", "--resume"): "callgauge: --to csv is written in one go",
    ("replay", "-", "--to", "csv", "--step", "5"): "callgauge: --step '5' needs a unit",
    (
        "replay",
        "-",
        "--to",
        "jso",
    ): "callgauge: invalid value for '--to': 'jso' is not one of 'json', 'csv', ",
    (
        "backtest",
        "none.yml",
        "e.jsonl",
    ): "callgauge: none.yml does not exist; name a file of Prometheus rules",
    ("backtest", "e.jsonl"): "callgauge: missing argument 'SOURCE'; see callgauge backtest --help",
    ("backtest", "e.jsonl", "nofile"): "callgauge: nofile does not exist; name a file of JSON lines",
    ("report", "-"): "callgauge: missing option '--out'; see callgauge report --help",
    ("report", "nofile", "--out", "x"): "callgauge: nofile does not exist; name a file of JSON lines",
    ("report", "-", "--out", "no/x"): "callgauge: --out no/x: there is no directory no; make it first",
    ("send",): "callgauge: missing argument 'FILE'; see callgauge send --help",
    (
        "send",
        "nofile",
    ): "callgauge: nofile does not exist; name a file of JSON lines, or - for stand",
    ("send", "."): "callgauge: . is a directory; name a file of JSON lines, or - for standard input",
    ("replay", "nofile", "--to", "json"): "callgauge: nofile does not exist; name a file of JSON lines",
    ("replay", "e.jsonl", "--to", "json", "--json"): "callgauge: --json needs --out FILE: ",
    ("simulate", "--start", "tomorrow", "--out", "x"): "callgauge: --start tomorrow is no time; write now, ",
    ("simulate", "--delay", "5", "--out", "x"): 'callgauge: --delay 5 needs a unit; write "5s"',
    ("simulate", "--disturb", "flood all 10:00 5m", "--out", "x"): "callgauge: --disturb: ",
    ("simulate", "--disturb", "outage salse +1m 5m", "--out", "x"): "callgauge: --disturb: outage: no queue",
    ("simulate", "--out", "-", "--json"): "callgauge: --json cannot go with --out -, ",
    ("config", "--config", "none.toml"): "callgauge: none.toml cannot be read: no such file or directory; ",
    ("config", "--set", "http.prt=1"): "callgauge: --set http.prt is no known key; the nearest is http.port",
    ("worker", "--port", "99999"): "callgauge: --port http.port 99999 is out of range; it must lie between",
    ("worker", "--host", "0.0.0.0"): 'callgauge: --host http.host "0.0.0.0" can be reached from other mach',  # noqa: S104
    (
        "demo",
        "--port",
        "-1",
    ): "callgauge: --port http.port -1 is out of range; it must lie between 0 and 65535",
    ("dead-letters", "show"): "callgauge: missing argument 'LETTER'; see callgauge dead-letters show --help",
    ("dead-letters", "show", "dead:1"): "callgauge: 'dead:1' is no letter; write TOPIC:PARTITION:OFFSET as ",
    ("dead-letters", "show", "dead:1:2", "dead:1:2"): "callgauge: a letter is named twice",
    ("dead-letters", "list", "--since", "soon"): "callgauge: --since 'soon' is no time; write 2026-",
    ("dead-letters", "list", "--limit", "0"): "callgauge: invalid value for '--limit': ",
    (
        "dead-letters",
        "resend",
    ): "callgauge: name letters, or choose them with --reason or --all, or give --edit",
    ("dead-letters", "resend", "dead:0:1", "--all"): "callgauge: name letters, or choose them with --reason ",
    (
        "dead-letters",
        "resend",
        "dead:0:1",
        "--since",
        "2h",
    ): "callgauge: --topic, --since, --until and --parti",
    ("dead-letters", "resend", "--edit", "nofile"): "callgauge: nofile does not exist; name a file of JSON ",
    (
        "topics",
        "--bootstrap-servers",
        "x",
    ): 'callgauge: --bootstrap-servers kafka.bootstrap_servers "x" is',
}


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """Work in an empty directory with one file of events, without variables of ours."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CALLGAUGE_")]:
        monkeypatch.delenv(name)
    Path("e.jsonl").write_bytes(
        b'{"type":"queued","call_id":"a","at":1772409630000,"queue":"sales"}\n'
        b'{"type":"answered","call_id":"a","at":1772409633000}\n'
    )
    return tmp_path


@pytest.fixture
def listener():
    """Give a server that only counts who connects."""
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                seen.append(connection)
                connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", seen
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def run(*arguments, stdin=b"", timeout=60, **environ):
    """Run the command as users do, and return the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "stream", *arguments],
        input=stdin,
        capture_output=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": str(DOCS.parent), **environ},
    )


@pytest.mark.parametrize("arguments", WRONG_USAGE, ids=" ".join)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, capsys):
    """Whatever is wrong with the call, stderr has one line and stdout nothing."""
    code = main(list(arguments))

    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(WRONG_USAGE[arguments])


@pytest.mark.parametrize("command", [["topics"], ["worker"], ["send", "e.jsonl"], ["simulate"], ["demo"]])
def test_a_bad_configuration_ends_before_anything_is_connected(command, listener, capsys):
    """Exit code 2 comes first; no server has seen us then."""
    servers, seen = listener
    Path("callgauge.toml").write_text(f'[kafka]\nbootstrap_servers = "{servers}"\n[windows]\nclok = "wall"\n')

    code = main(command)

    expected = "callgauge: callgauge.toml:4 windows.clok is no known key; the nearest is windows.clock\n"
    assert (2, ("", expected)) == (code, capsys.readouterr())
    assert seen == []


@pytest.mark.parametrize(
    "command",
    [
        ["topics"],
        ["send", "e.jsonl"],
        ["simulate", "--calls", "1"],
        ["dead-letters", "list"],
        ["dead-letters", "show", "dead:0:1"],
        ["dead-letters", "resend", "--all"],
    ],
)
def test_a_kafka_that_is_away_is_one_line_and_exit_code_1(command, capsys):
    """The line says where it looked and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        servers = f"127.0.0.1:{server.getsockname()[1]}"

    code = main([*command, "--bootstrap-servers", servers])

    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"callgauge: cannot reach Kafka at {servers} (")
    assert err.endswith("; `callgauge kafka` starts one\n")


def test_a_real_process_says_the_same(directory):
    """Exit code and line come out of the process, not only of the function."""
    done = run("config", "--set", "x=1")

    assert (done.returncode, done.stdout) == (2, b"")
    assert re.fullmatch(rb"callgauge: --set x is no known key; known are .*\n", done.stderr)


def test_help_and_version_are_quick():
    """Neither imports Kafka, Faust or the HTTP server: that alone would take a second."""
    code = (
        "import sys; from stream.cli import main; code = main(sys.argv[1:]); "
        "print([m for m in ('faust', 'aiokafka', 'kafka', 'aiohttp', 'rich') if m in sys.modules]); "
        "sys.exit(code)"
    )
    for arguments in (["--help"], ["--version"], ["config"], ["simulate", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, check=True, cwd=DOCS.parent
        )
        assert done.stdout.endswith(b"\n[]\n")


def test_the_version_is_that_of_the_package(capsys):
    """`--version` prints name and version."""
    assert main(["--version"]) == 0
    assert re.fullmatch(r"callgauge \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_without_a_command_the_help_is_printed(capsys):
    """Who types only the name wants to know what there is."""
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^  {command} ", out, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_explains_itself_in_help_and_manual(command, capsys):
    """No option is without words, and the page has each of them."""
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    page = (DOCS / "cli.md").read_text(encoding="utf-8").partition(f"### `callgauge {command}`")[2]
    options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)(.*(?:\n {10,}\S.*)*)", out, re.MULTILINE)

    assert options
    for option, words in options:
        assert re.search(r"[A-Z][^.]*\.", words), f"{option} is not explained"
        assert option == "--help" or option in page


def test_the_manual_has_every_command():
    """A command that is added without documentation fails here."""
    reference = manual.command_reference()

    assert re.findall(r"### `callgauge ([\w-]+)`", reference) == COMMANDS
    assert re.findall(r"### `callgauge dead-letters (\w+)`", reference) == ["list", "show", "resend"]


def test_config_prints_toml_and_json_with_the_source_of_every_value(capsys):
    """People get a file that can be used, programs an object."""
    Path("callgauge.toml").write_text("[http]\nport = 1\n")
    assert main(["config", "--set", "windows.clock=stream"]) == 0
    text = capsys.readouterr().out
    assert main(["config", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)["values"]

    assert (tomllib.loads(text)["http"]["port"], tomllib.loads(text)["windows"]["clock"]) == (1, "stream")
    assert "port = 1  # callgauge.toml:2\n" in text
    assert 'clock = "stream"  # --set\n' in text
    assert values["http.port"] == {"value": 1, "source": "callgauge.toml:2"}
    assert values["kafka.partitions"] == {"value": 12, "source": "default"}


def test_simulate_writes_the_same_events_for_the_same_seed(capsys):
    """A seed is a file, packed or not; another seed is another file."""
    assert main(["simulate", "--seed", "7", "--calls", "20", "--out", "a.jsonl", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert main(["simulate", "--seed", "7", "--calls", "20", "--out", "b.jsonl.gz"]) == 0
    assert re.fullmatch(r"\d+ events of 20 calls to b.jsonl.gz\n", capsys.readouterr().out)
    assert main(["simulate", "--seed", "8", "--calls", "20", "--out", "c.jsonl"]) == 0

    lines = Path("a.jsonl").read_bytes()
    assert lines == gzip.decompress(Path("b.jsonl.gz").read_bytes())
    assert lines != Path("c.jsonl").read_bytes()
    assert (20, lines.count(b"\n")) == (summary["calls"], summary["events"])
    assert all(hasattr(decode(line), "call_id") for line in lines.splitlines())


def test_a_simulation_goes_through_replay_without_kafka():
    """Standard output to standard input; the last line accounts for every record."""
    events = run("simulate", "--calls", "30", "--out", "-")
    done = run("replay", "-", "--to", "json", stdin=events.stdout)

    last = json.loads(done.stdout.splitlines()[-1])["summary"]
    assert (done.returncode, done.stderr) == (0, b"")
    assert events.stdout.count(b"\n") == last["read"] == last["applied"]


def test_replay_to_a_file_prints_the_summary(capsys):
    """The file has the lines, standard output what became of the records."""
    assert main(["replay", "e.jsonl", "--to", "json", "--out", "out.jsonl"]) == 0
    said = capsys.readouterr().out
    assert main(["replay", "e.jsonl", "--to", "json", "--out", "out.jsonl", "--json", "--by", "arrival"]) == 0
    counts = json.loads(capsys.readouterr().out)

    assert said == (
        "2 records: 2 applied, 0 duplicate, 0 late, 0 rejected; intervals and days are in out.jsonl\n"
    )
    assert json.loads(Path("out.jsonl").read_text().splitlines()[-1])["summary"] == counts
    assert not list(Path().glob("*.part"))


def test_replay_follows_the_configuration(capsys):
    """The answer after 3 s is outside a target of 2 s."""
    assert main(["replay", "e.jsonl", "--to", "json", "--set", "queue_defaults.target=2s"]) == 0

    day = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (day["answered"], day["answered_within_target"], day["service_level"]) == (1, 0, 0.0)


def test_a_damaged_file_is_one_line_and_exit_code_1():
    """A file that breaks off in the middle is no crash, and leaves no half of a result."""
    Path("d.jsonl.gz").write_bytes(gzip.compress(Path("e.jsonl").read_bytes() * 100)[:-20])

    for command in (["replay", "d.jsonl.gz", "--to", "json", "--out", "out.jsonl"], ["send", "d.jsonl.gz"]):
        done = run(*command, "--set", "kafka.bootstrap_servers=127.0.0.1:1")
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert not Path("out.jsonl").exists()
    assert not list(Path().glob("*.part"))


def test_a_reader_that_goes_away_ends_the_command_quietly():
    """`callgauge simulate --out - | head` is no failure of ours."""
    with subprocess.Popen(
        [sys.executable, "-m", "stream", "simulate", "--out", "-", "--calls", "20000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(DOCS.parent)},
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert (process.wait(timeout=30), err) == (0, b"")


def test_a_bug_is_one_line_and_with_debug_a_traceback(monkeypatch, capsys):
    """Users are asked to report it; developers see where it was."""

    def broken(*_, **__):
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr("stream.settings.show.as_toml", broken)
    assert main(["config"]) == 1
    line = capsys.readouterr().err
    monkeypatch.setenv("CALLGAUGE_DEBUG", "1")
    assert main(["config"]) == 1
    trace = capsys.readouterr().err

    assert line.startswith("callgauge: this is a bug, please report it: ZeroDivisionError (")
    assert "oh" not in line
    assert line.count("\n") == 1
    assert trace.startswith("Traceback (most recent call last):")


def test_an_interrupted_command_says_so(monkeypatch, capsys):
    """Ctrl-C in a command that has nothing to end in order is exit code 1."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("stream.settings.show.as_toml", interrupted)

    assert main(["config"]) == 1
    assert capsys.readouterr().err == "callgauge: interrupted\n"


def test_a_failed_run_shows_its_cause_only_when_debugging(monkeypatch, capsys):
    """The line stays the same; the traceback comes on top."""

    def failed(*_, **__):
        raise RunError("no luck")

    monkeypatch.setattr("stream.settings.show.as_toml", failed)
    monkeypatch.setenv("CALLGAUGE_DEBUG", "1")

    assert main(["config"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("callgauge: no luck\n")


def test_a_worker_says_that_its_port_is_taken(capsys):
    """The port is tried before Kafka is asked for anything."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("worker", "--port", str(port), "--bootstrap-servers", "127.0.0.1:1")

    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1] == (
        f"callgauge: port {port} of 127.0.0.1 is in use: stop the program there, or choose another port"
    )


def test_a_demo_takes_another_port_unless_one_was_named(directory):
    """A second demo beside the first is no reason to fail, but a named port is kept."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = load(environ={"CALLGAUGE_HTTP__PORT": str(port)}).settings
        assert free_port(settings, DemoWish(None, 1.0, 1, full=False, port_chosen=False)) == 0
        with pytest.raises(PortTakenError, match=f"port {port} of 127.0.0.1 is in use"):
            free_port(settings, DemoWish(None, 1.0, 1, full=False, port_chosen=True))
    assert free_port(settings, DemoWish(None, 1.0, 1, full=False, port_chosen=False)) == port


def test_a_demo_sets_only_what_the_user_did_not(directory):
    """Own queues stay alone; a faster demo goes by the stream's clock."""
    plain = load()
    own = load(environ={"CALLGAUGE_QUEUES__SALES__TARGET": "5s"})

    assert "queues.sales.target" in [option.key for option in demo_options(plain, 1.0)]
    assert demo_options(own, 1.0) == []
    assert [option.key for option in demo_options(own, 10.0)] == ["windows.clock"]
    load(options=demo_options(plain, 2.0))


def test_the_demo_shows_a_board_as_text():
    """A queue without numbers has dashes, one with numbers its ratios and the age of its oldest contact."""
    empty = {"waiting": 0, "waiting_past_target": 0, "in_progress": 0, "oldest_waiting_at": None}
    busy = {**empty, "waiting": 3, "oldest_waiting_at": "2026-03-02T10:00:00.000Z"}
    sums = {"service_level": 0.5, "abandonment": 0.1, "answered": 8}
    queue = {
        "queue": "q" * 30,
        "objective": 0.8,
        "abandonment_limit": 0.05,
        "now": busy,
        "windows": {"30m": sums},
    }
    total = {"objective": None, "now": empty, "windows": {"30m": {}}}
    board = {"clock": "2026-03-02T10:01:05.000Z", "queues": [queue], "total": total}

    assert as_lines(board) == [
        "queue               service level 30m  waiting  longest wait  abandoned 30m  answered 30m  talking",
        "qqqqqqqqqqqqqqqqq…              50.0%        3          1:05          10.0%             8        0",
        "all queues                          -        0             -              -             0        0",
    ]
    assert as_line(board) == f"2026-03-02T10:01:05.000Z waiting 0, talking 0; 30m {'q' * 30} 50.0%"


@pytest.mark.broker
class TestWithKafka:
    """What needs a broker."""

    @pytest.fixture
    def named(self, kafka, unique_name):
        """Give options for topics of our own on the run's broker."""
        keys = ("group_id", "topic_events", "topic_cells", "topic_intervals", "topic_dead", "topic_late")
        sets = [f"--set=kafka.{key}={unique_name}-{key.replace('_', '-')}" for key in keys]
        return ["--bootstrap-servers", kafka.bootstrap_servers, "--set=kafka.partitions=3", *sets]

    def test_topics_are_created_once_and_then_fit(self, named, capsys):
        """The first call creates, the second checks, and another configuration does not fit."""
        assert main(["topics", *named, "--json"]) == 0
        first = json.loads(capsys.readouterr().out)
        assert main(["topics", *named]) == 0
        second = capsys.readouterr().out
        assert main(["topics", *named, "--set", "kafka.partitions=4"]) == 1
        unfit = capsys.readouterr().err

        assert (len(first["created"]), first["checked"]) == (7, [])
        assert [f"fits {name}" for name in first["created"]] == second.splitlines()
        assert unfit.count("\n") == 1
        assert "has 3 partitions, must have 4" in unfit

    def test_send_keeps_bytes_and_keys_and_names_what_it_leaves_out(self, named, kafka, unique_name, capsys):
        """Good lines arrive byte for byte under their call_id; bad ones are told by number."""
        good = b'{ "type":"queued", "call_id":"a", "at":1772409630000, "queue":"sales", "extra":1 }'
        bad = b'{"type":"queued","call_id":"b"}'
        Path("in.jsonl").write_bytes(good + b"\r\n\n" + bad + b"\nnot json\n" + b"x" * 70_000)
        assert main(["topics", *named]) == 0
        capsys.readouterr()

        assert main(["send", "in.jsonl", *named]) == 1
        out, err = capsys.readouterr()
        assert main(["send", "in.jsonl", "--force", "--json", "--event-time", *named]) == 0
        forced = json.loads(capsys.readouterr().out)

        assert out == "sent 1 records\n"
        assert err.splitlines()[:3] == ["line 3: missing_field (at)", "line 4: not_json", "line 5: too_large"]
        assert (forced["sent"], forced["forced"], forced["skipped"]) == (4, 3, {})
        records = _records(kafka.bootstrap_servers, f"{unique_name}-topic-events", 5)
        assert {(b"a", good), (b"b", bad), (None, b"not json")} <= {(key, value) for key, value, _ in records}
        stamps = sorted(stamp for key, _, stamp in records if key == b"a")
        assert stamps[0] == 1_772_409_630_000
        assert stamps[1] > stamps[0]

    def test_nothing_is_sent_to_a_topic_that_does_not_exist(self, named, capsys):
        """A topic made by accident would have the wrong number of partitions."""
        assert main(["send", "e.jsonl", *named]) == 1
        assert "does not exist at" in capsys.readouterr().err

    def test_an_event_of_the_future_is_told(self, named, capsys):
        """The worker would reject it; its own time as the record's makes it right."""
        at_ms = (int(time.time()) + 1800) * 1000  # noqa: TID251 - the real clock is what the broker has
        Path("f.jsonl").write_text(f'{{"type":"offered","call_id":"a","at":{at_ms}}}\n')
        main(["topics", *named])
        capsys.readouterr()

        assert main(["send", "f.jsonl", *named]) == 0
        assert "1 events lie more than 1m ahead" in capsys.readouterr().err
        assert main(["send", "f.jsonl", "--event-time", *named]) == 0
        assert capsys.readouterr().err == ""

    def test_a_simulation_is_sent_and_stops_when_told(self, named, capsys):
        """What is past goes at once; the rest ends with the calls."""
        main(["topics", *named])
        capsys.readouterr()

        assert main(["simulate", "--calls", "5", "--start", "-2h", "--busy", "--json", *named]) == 0
        assert json.loads(capsys.readouterr().out)["calls"] == 5

    def test_a_worker_counts_what_was_sent_and_ends_with_0(self, named):
        """From a file to /metrics through real processes, and an orderly end by SIGTERM."""
        run("topics", *named)
        assert run("send", "e.jsonl", *named).returncode == 0
        process = subprocess.Popen(
            [sys.executable, "-m", "stream", "worker", "--port", "0", *named],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(DOCS.parent)},
        )
        try:
            url = process.stdout.readline().decode().strip()
            wanted = 'callcenter_contacts_answered_total{queue="sales"} 1'
            assert _eventually(lambda: wanted in _text(f"{url}metrics"), 60)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=60)
            process.stdout.close()
        assert code == 0

    def test_a_demo_ends_by_itself_and_leaves_nothing_behind(self, directory):
        """Exit code 0, a last table, and an empty temporary directory."""
        temporary = directory / "tmp"
        temporary.mkdir()

        done = run("demo", "--seconds", "1", "--port", "0", timeout=120, TMPDIR=str(temporary))

        assert (done.returncode, done.stderr) == (0, b"")
        text = done.stdout.decode()
        assert re.search(r"^wall board http://127\.0\.0\.1:\d+/$", text, re.MULTILINE)
        assert re.search(r"^first numbers after [0-9.]+ s$", text, re.MULTILINE)
        assert text.splitlines()[-1].startswith("all queues")
        assert list(temporary.iterdir()) == []


def _records(servers, topic, count):
    from kafka import KafkaConsumer  # noqa: PLC0415 - slow to import

    consumer = KafkaConsumer(
        topic, bootstrap_servers=servers, auto_offset_reset="earliest", consumer_timeout_ms=10_000
    )
    found = []
    for record in consumer:
        found.append((record.key, record.value, record.timestamp))
        if len(found) == count:
            break
    consumer.close()
    return found


def _text(url):
    from urllib.request import urlopen  # noqa: PLC0415 - one test needs it

    with urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server
        return answer.read().decode()


def _eventually(check, seconds):
    for _ in range(seconds * 5):
        if check():
            return True
        time.sleep(0.2)
    return False
