"""`callgauge config`: what is in force, and why."""

from stream.commands.common import (
    ConfigFile,
    Json,
    Servers,
    Sets,
    configuration,
    kafka_options,
    say,
    say_json,
)


def config(
    *, config_file: ConfigFile = None, sets: Sets = None, servers: Servers = None, as_json: Json = False
) -> int:
    """Print the effective configuration, with the source of every value; secrets hidden.

    The output is a configuration file itself. Nothing is connected to.
    """
    from stream.settings import show  # noqa: PLC0415 - start fast

    effective = configuration(config_file, sets, kafka_options(servers))
    if as_json:
        say_json(show.as_json(effective))
    else:
        say(show.as_toml(effective).rstrip("\n"))
    return 0
