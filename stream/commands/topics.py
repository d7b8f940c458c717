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
    from stream.engine.topics import (  # noqa: PLC0415 - start fast
        KafkaUnreachableError,
        TopicsUnfitError,
        ensure_topics,
    )
    from stream.wiring import engine_settings  # noqa: PLC0415

    quiet_libraries()
    with failing(TopicsUnfitError), failing(KafkaUnreachableError, advice="; `callgauge kafka` starts one"):
        report = ensure_topics(engine_settings(settings))
    if as_json:
        say_json({"created": list(report.created), "checked": list(report.checked)})
    else:
        for verb, names in (("created", report.created), ("fits", report.checked)):
            for name in names:
                say(f"{verb} {name}")
    return 0
