# One image for every process of Milo; docker-compose.yml says which one a container runs.

FROM node:22-bookworm-slim AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential cmake \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/milo
ENV PATH=/opt/milo/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# the packages first: this layer is built again only when they change
COPY pyproject.toml constraints.txt README.md LICENSE celery_config.py ./
COPY milo/__init__.py milo/__init__.py
RUN pip install -c constraints.txt '.[chat,train]' && pip uninstall -y milo-voice
COPY milo milo
COPY workers workers
COPY api api
COPY --from=web /src/api/web_client api/web_client
COPY trainer trainer
RUN pip install --no-deps .

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --create-home milo \
    && mkdir -p /data/metrics \
    && chown -R milo:milo /data \
    && chmod 0700 /data
COPY --from=build /opt/milo /opt/milo
ENV PATH=/opt/milo/bin:$PATH MILO_HOME=/data PYTHONUNBUFFERED=1
USER milo
WORKDIR /home/milo
VOLUME /data
EXPOSE 8000
CMD ["uvicorn", "api.app:app", "--host", "0.0.0.0", "--port", "8000", "--http", "api.http.protocol:BoundedHttp", "--timeout-keep-alive", "75"]
