"""The Faust shell around the two pure stages."""

from stream.access import KafkaUnreachableError
from stream.engine.engine import Engine
from stream.engine.engine_settings import EngineSettings, TopicNames
from stream.engine.topics import (
    TopicReport,
    TopicsUnfitError,
    ensure_topics,
    wait_for_topics,
)
from stream.engine.worker import run_worker

__all__ = [
    "Engine",
    "EngineSettings",
    "KafkaUnreachableError",
    "TopicNames",
    "TopicReport",
    "TopicsUnfitError",
    "ensure_topics",
    "run_worker",
    "wait_for_topics",
]
