"""Every bound has a name and a row in docs/limits.md, and holds at one below, at, and one above."""

import ast
import importlib
import io
import re
from pathlib import Path

import pytest

from schemas import decode
from schemas.decode import RejectReason
from schemas.limits import EVENT_BYTES_MAX
from stream.cli import main
from stream.commands.delivery import LINE_BYTES_MAX, lines_of
from stream.letters.limits import COORDINATES_MAX, SHOWN_MAX
from stream.replay.lines import read_lines
from stream.settings import ConfigError, limits, load
from stream.settings.checks import quoted

ROOT = Path(__file__).parents[1]
LIMIT = re.compile(r"(_MAX|_MIN|_KEPT|_KEPT_MS|_BUFFERED)\Z")
# What developers run on their own machine; nobody feeds it.
LEFT_OUT = ("stream/simulate/", "stream/kafka/", "stream/demo/")
ROW = re.compile(r"^\| `(\w+)` \| `([\w/.]+)` \| ([-\d,.]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def limits_of_the_code():
    """Return (file, name) -> value of every constant that is named like a bound."""
    files = sorted(
        str(path.relative_to(ROOT))
        for package in ("schemas", "stream")
        for path in (ROOT / package).rglob("*.py")
    )
    found = {}
    for file in files:
        if file.startswith(LEFT_OUT):
            continue
        for node in ast.parse((ROOT / file).read_text()).body:
            target = node.target if isinstance(node, ast.AnnAssign) else None
            if isinstance(node, ast.Assign):
                (target,) = node.targets
            if isinstance(target, ast.Name) and LIMIT.search(target.id):
                module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
                found[file, target.id] = f"{getattr(module, target.id):,}"
    return found


def test_every_limit_is_in_the_table_with_its_value():
    """A bound that is added, moved or changed without its row fails here; so does a row without its bound."""
    rows = ROW.findall((ROOT / "docs" / "limits.md").read_text(encoding="utf-8"))

    assert {(file, name): value for name, file, value, _, _ in rows} == limits_of_the_code()
    assert len(rows) > 60
    assert all(beyond.strip() and seen.strip() for _, _, _, beyond, seen in rows)


def test_reasons_named_in_the_table_exist():
    """Whoever alerts on a reason finds it."""
    text = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    reasons = set(re.findall(r'reason="(\w+)"', text))

    assert reasons <= {reason.value for reason in RejectReason}
    assert {"too_large", "too_deep", "out_of_bounds"} <= reasons


# --- configuration --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_configuration_file_is_bounded_in_bytes(tmp_path, over):
    """A file that is longer is refused before anybody reads it."""
    file = tmp_path / "c.toml"
    file.write_bytes(b"#" * (limits.CONFIG_BYTES_MAX + over - 1) + b"\n")

    if over <= 0:
        assert load(file, {}).settings
    else:
        with pytest.raises(ConfigError, match=f"is too large; .* at most {limits.CONFIG_BYTES_MAX} bytes"):
            load(file, {})


@pytest.mark.parametrize(
    ("key", "longest"),
    [("topic_events", limits.TOPIC_CHARACTERS_MAX), ("group_id", limits.GROUP_ID_CHARACTERS_MAX)],
)
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_names_for_kafka_are_bounded_in_characters(tmp_path, key, longest, over):
    """As long as Kafka allows, and for the group as long as its topics leave room for."""
    file = tmp_path / "c.toml"
    file.write_text(f'[kafka]\n{key} = "{"x" * (longest + over)}"\n')

    if over <= 0:
        assert len(getattr(load(file, {}).settings.kafka, key)) == longest + over
    else:
        with pytest.raises(ConfigError, match=f"use 1 to {longest} letters"):
            load(file, {})


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_rolling_windows_are_bounded_in_number_and_length(tmp_path, over):
    """Eight of them, a day each."""
    file = tmp_path / "c.toml"
    count, length_s = limits.ROLLING_WINDOWS_MAX + over, limits.ROLLING_MS_MAX // 1_000 + 5 * over
    for windows in ([f"{5 * number}s" for number in range(1, count + 1)], [f"{length_s}s"]):
        file.write_text(f"[windows]\nrolling = {windows}\n")
        if over <= 0:
            assert len(load(file, {}).settings.windows.rolling) == len(windows)
        else:
            with pytest.raises(ConfigError, match=r"at most 8 are possible|between 5s and 24h"):
                load(file, {})


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_what_a_message_quotes_is_bounded(over):
    """A message stays one readable line."""
    text = "x" * (limits.QUOTE_CHARACTERS_MAX + over - 2)  # the quotation marks count

    assert quoted(text).endswith("...") == (over > 0)
    assert len(quoted(text)) <= limits.QUOTE_CHARACTERS_MAX + 3


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_statement_of_many_lines_keeps_its_line_number_up_to_the_bound(tmp_path, over):
    """Beyond it the error is said without a line."""
    between = limits.STATEMENT_LINES_MAX + over - 1
    file = tmp_path / "c.toml"
    file.write_text("[windows]\nrolling = [" + "\n" * between + '"5m"]\nclok = 1\n')

    with pytest.raises(ConfigError) as caught:
        load(file, {})

    assert (f"c.toml:{between + 3} " in str(caught.value)) == (over <= 0)
    assert "windows.clok is no known key" in str(caught.value)


# --- lines of files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_line_to_send_is_bounded_in_bytes(over):
    """A longer one is left out and named; the next one is read from its beginning."""
    event = b'{"type":"hold","call_id":"c","at":1}'
    lines = list(lines_of(io.BytesIO(b"x" * (LINE_BYTES_MAX + over) + b"\n" + event + b"\n")))

    assert [line.number for line in lines] == [1, 2]
    assert len(lines[0].value) == (LINE_BYTES_MAX + over if over <= 0 else 0)
    assert lines[0].problem == "too_large"  # no event is that long
    assert lines[1].value == event


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_line_of_history_is_bounded_in_bytes(tmp_path, over):
    """A longer one is rejected like the record it stands for, and passed over without being held in memory."""
    event = b'{"type":"hold","call_id":"c","at":1,"x":""}'
    long = event[:-2] + b"x" * (EVENT_BYTES_MAX + over - len(event)) + event[-2:]
    file = tmp_path / "e.jsonl"
    file.write_bytes(long + b"\n" + b"y" * (10 * EVENT_BYTES_MAX) + b"\n" + event + b"\n")

    values = [line.value for line in read_lines(str(file))]

    assert len(values) == 3
    assert (getattr(decode(values[0]), "reason", None) == RejectReason.TOO_LARGE) == (over > 0)
    assert len(values[1]) <= EVENT_BYTES_MAX + 2
    assert values[2] == event


# --- dead letters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_command_takes_as_many_letters_as_the_bound(over, capsys):
    """More is wrong usage; up to it the command goes on, to a Kafka that is away here."""
    letters = [f"dead:0:{number}" for number in range(COORDINATES_MAX + over)]

    code = main(["dead-letters", "show", *letters, "--bootstrap-servers", "127.0.0.1:1"])

    assert code == (1 if over <= 0 else 2)
    assert ("are too many at once" in capsys.readouterr().err) == (over > 0)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_list_shows_as_many_letters_as_the_bound(over, capsys):
    """More is wrong usage."""
    code = main(
        ["dead-letters", "list", "--limit", str(SHOWN_MAX + over), "--bootstrap-servers", "127.0.0.1:1"]
    )

    assert code == (1 if over <= 0 else 2)
    assert capsys.readouterr().err.count("\n") == 1
