"""The configuration: one definition; file, environment and command line; every value with its source."""

from stream.settings.load import Configuration, is_loopback, load
from stream.settings.model import Alerts, OnRetentionGap, Settings
from stream.settings.rules import board_rules, fold_rules
from stream.settings.sources import ConfigError, Option, parse_set

__all__ = [
    "Alerts",
    "ConfigError",
    "Configuration",
    "OnRetentionGap",
    "Option",
    "Settings",
    "board_rules",
    "fold_rules",
    "is_loopback",
    "load",
    "parse_set",
]
