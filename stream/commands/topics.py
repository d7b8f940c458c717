"""`callgauge topics`: create the topics, or check that they fit."""

from stream.commands.common import (
    ConfigFile,
    Json,
    Servers,
    Sets,
    configuration,
    failing,
    kafka_options,
    quiet_libraries,
    reaching,
    say,
    say_json,
)


def topics(
    *, config_file: ConfigFile = None, sets: Sets = None, servers: Servers = None, as_json: Json = False
) -> int:
    """Create the topics that are missing, and check that the others fit.

    Checked are partitions, cleanup and replication. A topic that exists is never changed. May be run as often
    as you like.
    """
    settings = configuration(config_file, sets, kafka_options(servers)).settings
    from stream.access import access_of  # noqa: PLC0415 - start fast
    from stream.engine.topics import TopicsUnfitError, ensure_topics  # noqa: PLC0415
    from stream.wiring import engine_settings  # noqa: PLC0415

    quiet_libraries()
    told = engine_settings(settings, access_of(settings))
    with failing(TopicsUnfitError), reaching():
        report = ensure_topics(told)
    if as_json:
        say_json({"created": list(report.created), "checked": list(report.checked)})
    else:
        for verb, names in (("created", report.created), ("fits", report.checked)):
            for name in names:
                say(f"{verb} {name}")
    return 0
