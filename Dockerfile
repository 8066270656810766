# One image, two commands: the UI (below) and the daemon that loads.
# docs/operations.md shows how to run both.
FROM python:3.11-slim AS build
WORKDIR /opt/pushloss
COPY pyproject.toml uv.lock bootstrap.txt README.md ./
RUN python -m venv .venv \
    && .venv/bin/pip install --quiet --require-hashes --no-deps --requirement bootstrap.txt \
    && .venv/bin/uv export --quiet --frozen --no-dev --no-emit-project --output-file lock.txt \
    && .venv/bin/pip install --quiet --require-hashes --no-deps --no-build-isolation --requirement lock.txt
COPY sql sql
COPY pushloss_pipeline pushloss_pipeline
RUN .venv/bin/pip install --quiet --no-deps --no-build-isolation . \
    && .venv/bin/pip uninstall --quiet --yes uv hatchling editables setuptools trove-classifiers tomlkit

FROM python:3.11-slim
COPY --from=build /opt/pushloss/.venv /opt/pushloss/.venv
COPY workspace.yaml dagster.yaml /opt/pushloss/
RUN sed -i 's#\.dagster_home#/var/lib/pushloss/dagster#' /opt/pushloss/dagster.yaml \
    && useradd --system --uid 10001 --home-dir /var/lib/pushloss pushloss \
    && install --directory --owner pushloss --mode 750 /var/lib/pushloss
ENV PATH=/opt/pushloss/.venv/bin:$PATH \
    PUSHLOSS_CONFIG=/etc/pushloss/pushloss.toml \
    PUSHLOSS_DATA_DIR=/var/lib/pushloss/data \
    DAGSTER_HOME=/opt/pushloss
USER pushloss
WORKDIR /var/lib/pushloss
VOLUME /var/lib/pushloss
EXPOSE 3000
HEALTHCHECK --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:3000/server_info', timeout=10)"]
CMD ["dagster-webserver", "--host", "0.0.0.0", "--port", "3000", "--workspace", "/opt/pushloss/workspace.yaml"]
