"""docker-compose.yml: valid, hardened, and in agreement with the code and with what it mounts."""

import json
import re
import subprocess
import sys

import jsonschema
import pytest

from stream.commands.replay import STEP
from stream.kafka.properties import RECORD_BYTES_MAX
from stream.settings import Settings
from stream.settings.keys import environment_name, known_keys
from tests.compose.stack import (
    REQUIRED,
    ROOT,
    callgauge_services,
    compose,
    environment,
    load,
    mounts,
    ports,
    services,
)
from tests.dashboards.boards import NAMES, variables
from tools.dashboards.queries import JOB

DEFAULTS = Settings()
ONE_SHOT = {"topics"}
WITHOUT_HEALTH = ONE_SHOT | {"simulator"}
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|(^|_)KEY($|_)", re.IGNORECASE)
every_service = pytest.mark.parametrize("name", sorted(services()))


def test_the_file_obeys_the_compose_specification():
    """By the schema that Docker Compose itself validates with."""
    schema = json.loads((ROOT / "tests" / "compose" / "compose-spec.json").read_text())
    errors = [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for error in jsonschema.Draft202012Validator(schema).iter_errors(compose())
    ]

    assert errors == []


def test_the_schema_refuses_a_key_that_compose_does_not_know():
    """The validation above can fail."""
    schema = json.loads((ROOT / "tests" / "compose" / "compose-spec.json").read_text())
    broken = compose()
    broken["services"]["worker"]["port"] = ["9660"]

    assert not jsonschema.Draft202012Validator(schema).is_valid(broken)


def test_everything_that_was_promised_is_there():
    """Kafka, topics, worker, Prometheus, Alertmanager, Grafana; on demand a simulator, and a store for history."""
    assert set(services()) == {
        "kafka",
        "topics",
        "worker",
        "simulator",
        "prometheus",
        "prometheus-replay",
        "alertmanager",
        "grafana",
    }
    profiles = {name: service["profiles"] for name, service in services().items() if "profiles" in service}
    assert profiles == {"simulator": ["demo"], "prometheus-replay": ["replay"]}


def test_images_are_pinned_by_version_and_digest():
    """Of the file and of the Dockerfile; without the host of a registry."""
    images = [service["image"] for service in services().values() if "build" not in service]
    images += re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert len(images) == 7
    for image in images:
        assert re.fullmatch(r"([a-z]+/)?[a-z]+:v?\d+\.\d+\.\d+[a-z-]*@sha256:[0-9a-f]{64}", image), image


@every_service
def test_a_container_is_not_root_and_cannot_write_into_its_image(name):
    """Nor get rights that it does not have."""
    service = services()[name]
    user, _ = service["user"].split(":")

    assert int(user) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service)
    for target, (source, writable) in mounts(name).items():
        assert writable == (source in compose()["volumes"]), f"{target}: only volumes can be written"


@every_service
def test_a_container_has_limits_a_restart_policy_and_a_bound_on_its_log(name):
    """No service takes the machine down with it."""
    service = services()[name]
    limits = service["deploy"]["resources"]["limits"]

    assert set(limits) == {"cpus", "memory", "pids"}
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    restart = {"topics": "on-failure:5", "simulator": "no"}
    assert service["restart"] == restart.get(name, "unless-stopped")


@every_service
def test_a_service_that_stays_has_a_health_check(name):
    """And nobody waits for the health of one that has none."""
    assert ("healthcheck" in services()[name]) == (name not in WITHOUT_HEALTH)
    for other, wait in services()[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert wait == {"condition": expected}


@every_service
def test_ports_are_published_to_this_machine_only(name):
    """Nothing of this asks for a password, but Grafana."""
    assert all(address == "127.0.0.1" for address, _, _ in ports(name))


def test_no_port_of_this_machine_is_taken_twice():
    """Ranges included."""
    taken = []
    for name in services():
        for _, outside, _ in ports(name):
            first, _, last = outside.partition("-")
            taken += range(int(first), int(last or first) + 1)

    assert len(taken) == len(set(taken))


@every_service
def test_there_is_no_password_in_the_file(name):
    """A secret comes from outside, and without it a clear message says what to set."""
    for key, value in environment(name).items():
        if SECRET.search(key):
            found = REQUIRED.match(value)
            assert found, f"{name}: {key} must be required, without a default"
            assert found[1] in found[2], "the message names the variable"
        else:
            assert "${" not in value


@every_service
def test_every_mounted_path_exists(name):
    """Else Docker makes an empty directory in its place."""
    for source, _ in mounts(name).values():
        if source in compose()["volumes"]:
            continue
        assert source.startswith("./")
        assert (ROOT / source).exists(), source


def test_every_volume_is_used():
    """And every one that is used is declared, as the test above sees."""
    used = {source for name in services() for source, _ in mounts(name).values()}

    assert set(compose()["volumes"]) <= used


def test_files_named_on_command_lines_are_mounted():
    """Prometheus and Alertmanager find their configuration where they are told to look."""
    option = "--config.file="
    for name in ("prometheus", "prometheus-replay", "alertmanager"):
        (path,) = [
            part.removeprefix(option) for part in services()[name]["command"] if part.startswith(option)
        ]
        folder, file = path.rsplit("/", 1)
        assert (ROOT / mounts(name)[folder][0] / file).is_file()
    folder, file = environment("grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].rsplit("/", 1)
    assert (ROOT / mounts("grafana")[folder][0] / file).is_file()
    config = environment("worker")["CALLGAUGE_CONFIG"]
    assert (ROOT / mounts("worker")[config][0]).is_file()


# addresses


def listeners(key):
    """Return name -> address of Kafka's listeners."""
    return dict(one.split("://") for one in environment("kafka")[key].split(","))


def test_kafka_is_reached_where_the_configuration_says():
    """Inside by the service's name, from this machine by the default of kafka.bootstrap_servers."""
    advertised, bound = listeners("KAFKA_ADVERTISED_LISTENERS"), listeners("KAFKA_LISTENERS")
    inside = environment("worker")["CALLGAUGE_KAFKA__BOOTSTRAP_SERVERS"]

    assert advertised["INTERNAL"] == inside
    assert inside.split(":")[0] in services()
    assert advertised["HOST"] == DEFAULTS.kafka.bootstrap_servers
    for name, address in advertised.items():
        assert bound[name].split(":")[1] == address.split(":")[1]
    assert ports("kafka") == [("127.0.0.1", *[DEFAULTS.kafka.bootstrap_servers.split(":")[1]] * 2)]
    protocols = dict(
        one.split(":") for one in environment("kafka")["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    assert protocols == dict.fromkeys(bound, DEFAULTS.kafka.security_protocol)


def test_kafka_takes_the_records_that_the_worker_writes():
    """The bounds of the embedded broker."""
    for key in ("KAFKA_MESSAGE_MAX_BYTES", "KAFKA_REPLICA_FETCH_MAX_BYTES"):
        assert environment("kafka")[key] == str(RECORD_BYTES_MAX)


def test_the_worker_listens_on_its_default_port_and_has_one_outside_for_each_partition():
    """Also in its health check, in the Dockerfile and where Prometheus looks."""
    port = DEFAULTS.http.port
    ((_, outside, inside),) = ports("worker")
    first, last = map(int, outside.split("-"))

    assert int(inside) == first == port
    assert last - first + 1 == DEFAULTS.kafka.partitions
    assert f"http://127.0.0.1:{port}/healthz" in services()["worker"]["healthcheck"]["test"][-1]
    assert f"EXPOSE {port}\n" in (ROOT / "Dockerfile").read_text()
    assert environment("worker")["CALLGAUGE_HTTP__HOST"] == "0.0.0.0"  # noqa: S104 - inside of a container
    (scraped,) = [
        one for one in load("grafana/prometheus/prometheus.yml")["scrape_configs"] if one["job_name"] == JOB
    ]
    (found,) = scraped["dns_sd_configs"]
    assert (found["names"], found["type"], found["port"]) == (["worker"], "A", port)


def port_of(service):
    """Return the only port of a service's container."""
    ((_, outside, inside),) = ports(service)
    assert inside == outside
    return int(inside)


def test_prometheus_alertmanager_and_grafana_find_each_other():
    """By service name and port."""
    targets = [
        target
        for manager in load("grafana/prometheus/prometheus.yml")["alerting"]["alertmanagers"]
        for group in manager["static_configs"]
        for target in group["targets"]
    ]
    sources = {
        one["name"]: one for one in load("grafana/provisioning/datasources/callgauge.yml")["datasources"]
    }

    assert targets == [f"alertmanager:{port_of('alertmanager')}"]
    assert sources["Live"]["url"] == f"http://prometheus:{port_of('prometheus')}"
    assert sources["Replay"]["url"] == f"http://prometheus-replay:{port_of('prometheus-replay')}"
    assert sources["Alertmanager"]["url"] == f"http://alertmanager:{port_of('alertmanager')}"
    for name in ("prometheus", "prometheus-replay", "alertmanager", "grafana"):
        assert f"http://127.0.0.1:{port_of(name)}/" in services()[name]["healthcheck"]["test"][-1]


def test_grafana_loads_the_dashboards_and_the_data_sources_that_they_ask_for():
    """With the scrape interval of which it makes the span of rates; in a replay, its step."""
    (provider,) = load("grafana/provisioning/dashboards/callgauge.yml")["providers"]
    sources = {
        one["uid"]: one for one in load("grafana/provisioning/datasources/callgauge.yml")["datasources"]
    }
    live, replay = sources["callgauge-live"], sources["callgauge-replay"]

    assert mounts("grafana")[provider["options"]["path"]][0] == "./grafana/dashboards"
    assert mounts("grafana")["/etc/grafana/provisioning"][0] == "./grafana/provisioning"
    for name in NAMES:
        current = variables(name)["datasource"]["current"]
        first = replay if name == "replay" else live
        assert (current["text"], current["value"]) == (first["name"], first["uid"])
    assert (
        live["jsonData"]["timeInterval"]
        == load("grafana/prometheus/prometheus.yml")["global"]["scrape_interval"]
    )
    assert replay["jsonData"]["timeInterval"] == STEP
    assert [source["type"] for source in (live, replay)] == ["prometheus"] * 2
    assert [uid for uid, source in sources.items() if source.get("isDefault")] == [live["uid"]]
    assert (provider["allowUiUpdates"], provider["disableDeletion"]) == (False, True)
    assert not any(source["editable"] for source in sources.values())


def test_the_prometheus_for_history_only_receives():
    """It scrapes nothing, has no rules, and calls nobody: what is replayed pages nobody."""
    config = load("grafana/prometheus/prometheus-replay.yml")
    command = services()["prometheus-replay"]["command"]

    assert config.keys() == {"storage"}
    assert "--web.enable-remote-write-receiver" in command
    assert "--web.enable-remote-write-receiver" not in services()["prometheus"]["command"]
    assert mounts("prometheus-replay")["/prometheus"] == ("prometheus-replay-data", True)
    kept = f"--storage.tsdb.retention.time={config['storage']['tsdb']['out_of_order_time_window']}"
    assert kept in command, "what is taken is kept"


# callgauge in the containers


def run(*arguments, service="worker"):
    """Run callgauge with the configuration and environment of a container."""
    inside = environment(service)
    inside["CALLGAUGE_CONFIG"] = str(ROOT / mounts(service)[inside["CALLGAUGE_CONFIG"]][0])
    return subprocess.run(
        [sys.executable, "-m", "stream", *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"} | inside,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("service", callgauge_services())
def test_the_environment_names_keys_of_the_configuration(service):
    """An unknown variable would be ignored."""
    known = {environment_name(path) for path in known_keys()} | {"CALLGAUGE_CONFIG"}

    assert set(environment(service)) <= known


@pytest.mark.parametrize("service", callgauge_services())
def test_the_configuration_of_the_containers_is_valid_and_keeps_topics_and_ports(service):
    """What the container would run with; all of them count and read the same topics."""
    done = run("config", "--json", service=service)
    assert done.returncode == 0, done.stderr
    values = {key: one["value"] for key, one in json.loads(done.stdout)["values"].items()}

    for name in ("events", "cells", "intervals", "dead", "late"):
        assert values[f"kafka.topic_{name}"] == getattr(DEFAULTS.kafka, f"topic_{name}")
    assert values["kafka.group_id"] == DEFAULTS.kafka.group_id
    assert values["http.port"] == DEFAULTS.http.port
    assert values["http.allow_remote"] is True


@pytest.mark.parametrize("service", callgauge_services())
def test_commands_and_their_options_exist(service):
    """As the container would start them; --help ends them before they connect to anything."""
    command = services()[service]["command"]
    done = run(*command, "--help", service=service)

    assert done.returncode == 0, done.stderr
    assert run(command[0], "--no-such-option", service=service).returncode == 2
