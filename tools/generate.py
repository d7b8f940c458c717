"""Write what is derived from the code into files: the JSON Schemas and the AsyncAPI document.

`python -m tools.generate` writes them; with `--check` it writes nothing and exits 1 when one is stale.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from schemas.decode import RejectReason
from schemas.events import EVENT_TYPES, MODELS, SCHEMA_VERSION_DEFAULT, AnyEvent, CallEvent, name_of, type_of
from schemas.limits import CALL_ID_CHARACTERS_MAX, CALL_ID_CHARACTERS_MIN
from stream.letters.layout import KEY_BYTES, RESENT, VALUE_BYTES
from stream.letters.limits import VALUE_BYTES_MAX

ROOT = Path(__file__).resolve().parent.parent
DIRECTORY = ROOT / "schemas" / "json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Json = dict[str, Any]


def event_schema(model: type[CallEvent]) -> Json:
    """Return the JSON Schema of one event type."""
    return model.model_json_schema()


def union_schema() -> Json:
    """Return the JSON Schema of any event."""
    return {
        "title": "Event",
        "description": "Any call event; `type` says which.",
        **TypeAdapter(AnyEvent).json_schema(),
    }


def _key() -> Json:
    return {
        "type": "string",
        "description": "The event's call_id, so all events of a contact are in one partition, in order.",
        "minLength": CALL_ID_CHARACTERS_MIN,
        "maxLength": CALL_ID_CHARACTERS_MAX,
    }


def _event_message(model: type[CallEvent]) -> Json:
    return {
        "name": type_of(model),
        "title": name_of(model),
        "summary": model.__doc__,
        "contentType": "application/json",
        "payload": event_schema(model),
        "bindings": {"kafka": {"key": _key()}},
    }


def _returned_message(title: str, summary: str, reason: Json) -> Json:
    text = {"type": "string"}
    number = text | {"pattern": "^[0-9]+$"}
    return {
        "title": title,
        "summary": summary,
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "required": ["reason", "topic", "partition", "offset", "error"],
            "properties": {
                "reason": reason,
                "topic": text | {"description": "The topic that the record was read from."},
                "partition": number | {"description": "Its partition, in decimal."},
                "offset": number | {"description": "Its offset, in decimal."},
                "error": text | {"description": "What was wrong, in a few words, without field values."},
                RESENT: number | {"description": "How often it has been sent again; absent: never."},
                KEY_BYTES: number | {"description": "Length of the key, where it had to be cut."},
                VALUE_BYTES: number | {"description": "Length of the value, where it had to be cut."},
            },
        },
        "payload": {
            "description": f"The record's value, byte for byte, but for what is beyond {VALUE_BYTES_MAX} bytes."
        },
    }


def _interval_message() -> Json:
    instant = {"type": "string", "format": "date-time"}
    return {
        "name": "interval",
        "title": "Interval",
        "summary": "One queue's figures for one interval; a later record with the same key replaces it.",
        "contentType": "application/json",
        "payload": {
            "type": "object",
            "required": ["queue", "start", "end", "final"],
            "properties": {
                "queue": {"type": "string"},
                "start": instant,
                "end": instant,
                "final": {"type": "boolean", "description": "Whether nothing can change any more."},
            },
        },
        "bindings": {
            "kafka": {"key": {"type": "string", "description": "The queue and the start: queue|start."}}
        },
    }


def _channel(address: str, description: str, *messages: str) -> Json:
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }


def _operation(action: str, channel: str, summary: str) -> Json:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def asyncapi() -> Json:
    """Return the AsyncAPI 3.0.0 document: the topics, what is in them, and who writes to them."""
    rejections = {"type": "string", "enum": [reason.value for reason in RejectReason]}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "callgauge",
            "version": str(SCHEMA_VERSION_DEFAULT),
            "description": "Call events in; closed intervals, rejected and late records out.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "call-events": _channel(
                "call-events", "What happens to contacts, one event a record.", *EVENT_TYPES
            ),
            "call-events-dead": _channel("call-events-dead", "Records that are no event.", "dead"),
            "call-events-late": _channel(
                "call-events-late", "Events that came too late to be counted.", "late"
            ),
            "queue-intervals": _channel("queue-intervals", "The figures of closed intervals.", "interval"),
        },
        "operations": {
            "receiveCallEvents": _operation("receive", "call-events", "Count what happens to contacts."),
            "sendDead": _operation("send", "call-events-dead", "Keep what could not be read."),
            "sendLate": _operation("send", "call-events-late", "Keep what came too late."),
            "sendIntervals": _operation("send", "queue-intervals", "Publish closed intervals."),
        },
        "components": {
            "messages": {type_of(model): _event_message(model) for model in MODELS}
            | {
                "dead": {"name": "dead"}
                | _returned_message("Dead", "A rejected record, unchanged.", rejections),
                "late": {"name": "late"}
                | _returned_message("Late", "A late record, unchanged.", {"type": "string", "const": "late"}),
                "interval": _interval_message(),
            }
        },
    }


def _text(document: Json) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _schema_text(file: str, schema: Json) -> str:
    return _text({"$schema": DIALECT, "$id": file, **schema})


def outputs() -> dict[Path, str]:
    """Return every derived file with the text it ought to have."""
    files = {f"{type_of(model)}.schema.json": event_schema(model) for model in MODELS}
    files["event.schema.json"] = union_schema()
    texts = {DIRECTORY / file: _schema_text(file, schema) for file, schema in files.items()}
    return texts | {DIRECTORY / "asyncapi.json": _text(asyncapi())}


def stale() -> list[Path]:
    """Return the derived files that are missing or differ from what the code says."""
    return [
        path
        for path, text in outputs().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str] | None = None) -> int:
    """Write the stale files, or only name them."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    check: bool = parser.parse_args(arguments).check
    texts = outputs()
    for path in stale():
        print(f"{'stale' if check else 'wrote'} {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path], encoding="utf-8")
    return 1 if check and stale() else 0


if __name__ == "__main__":
    sys.exit(main())
