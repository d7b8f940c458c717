"""The files in `schemas/json` are what the models say, and say what the decoder does."""

import json

import jsonschema
import pytest

from schemas import Event, decode
from schemas.events import EVENT_TYPES
from tools import generate

VALID = [
    {"type": "offered", "call_id": "c", "at": 0},
    {"type": "offered", "call_id": "c", "at": 0, "queue": None, "channel": None, "schema_version": None},
    {"type": "queued", "call_id": "c", "at": "2024-02-29T12:34:56.789+02:00", "queue": "sales"},
    {
        "type": "answered",
        "call_id": "c",
        "at": 1,
        "queue": "sales",
        "agent": "a",
        "event_id": "e",
        "channel": "chat",
    },
    {"type": "abandoned", "call_id": "c", "at": 1, "unknown": [1]},
    {"type": "left", "call_id": "c", "at": 1, "reason": "overflow"},
    {"type": "blocked", "call_id": "c", "at": 1, "reason": "busy"},
    {"type": "hold", "call_id": "c" * 128, "at": 253_402_300_799_999},
    {"type": "resumed", "call_id": "c", "at": 1, "schema_version": 2},
    {"type": "ended", "call_id": "c", "at": 1, "reason": "customer"},
    {"type": "wrap_up", "call_id": "c", "at": 1, "duration_ms": 0},
]
INVALID = [
    {"type": "transferred", "call_id": "c", "at": 0},
    {"call_id": "c", "at": 0},
    {"type": "offered", "at": 0},
    {"type": "offered", "call_id": "", "at": 0},
    {"type": "offered", "call_id": "c" * 129, "at": 0},
    {"type": "queued", "call_id": "c", "at": 0},
    {"type": "queued", "call_id": "c", "at": 0, "queue": None},
    {"type": "queued", "call_id": "c", "at": -1, "queue": "q"},
    {"type": "queued", "call_id": "c", "at": "yesterday", "queue": "q"},
    {"type": "queued", "call_id": "c", "at": "2024-02-29T12:34:60Z", "queue": "q"},
    {"type": "left", "call_id": "c", "at": 1, "reason": "busy"},
    {"type": "blocked", "call_id": "c", "at": 1, "reason": "overflow"},
    {"type": "wrap_up", "call_id": "c", "at": 1, "duration_ms": True},
    [],
]


def stored(name):
    return json.loads((generate.DIRECTORY / name).read_text(encoding="utf-8"))


def validator(name):
    schema = stored(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def references(node):
    if isinstance(node, dict):
        yield from ([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_no_generated_file_is_stale():
    """What is committed is what the models say today; `python -m tools.generate` repairs it."""
    assert generate.stale() == []
    assert set(generate.DIRECTORY.iterdir()) == set(generate.outputs())


def test_a_stale_file_is_named_and_then_repaired(tmp_path, monkeypatch, capsys):
    """`--check` writes nothing and exits 1; without it the file is written and all is well."""
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "DIRECTORY", tmp_path / "json")

    assert generate.main(["--check"]) == 1
    assert not (tmp_path / "json").exists()
    assert generate.main([]) == 0
    assert "wrote json/asyncapi.json" in capsys.readouterr().out
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize("event", VALID)
def test_the_schemas_accept_what_the_decoder_accepts(event):
    """A producer that checks against the schemas is not refused afterwards."""
    validator(f"{event['type']}.schema.json").validate(event)
    validator("event.schema.json").validate(event)

    assert isinstance(decode(json.dumps(event).encode()), Event)


@pytest.mark.parametrize("event", INVALID)
def test_the_schemas_refuse_what_the_decoder_refuses(event):
    """A producer hears of a mistake from the schemas already."""
    assert not validator("event.schema.json").is_valid(event)
    assert not isinstance(decode(json.dumps(event).encode()), Event)


def test_the_asyncapi_document_names_every_topic_and_event():
    """Four channels, ten kinds of event, and no reference that leads nowhere."""
    document = stored("asyncapi.json")

    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == {
        "call-events",
        "call-events-dead",
        "call-events-late",
        "queue-intervals",
    }
    assert tuple(document["channels"]["call-events"]["messages"]) == EVENT_TYPES
    for reference in references(document):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


@pytest.mark.parametrize("message", ["dead", "late"])
def test_records_that_are_sent_on_have_the_headers_of_the_contract(message):
    """Whoever reads the two topics finds where a record came from and why it is there."""
    headers = stored("asyncapi.json")["components"]["messages"][message]["headers"]

    assert headers["required"] == ["reason", "topic", "partition", "offset", "error"]
    assert set(headers["properties"]) - set(headers["required"]) == {"resent", "key_bytes", "value_bytes"}
