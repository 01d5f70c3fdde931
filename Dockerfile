# The web page of persona-affect, with the bundled model and without a GPU.
#
#     docker build -t persona-affect .
#     docker run --rm -p 127.0.0.1:7860:7860 --read-only --tmpfs /tmp persona-affect
#
# The page asks for no password. 127.0.0.1 publishes it to this machine alone; for others, put a proxy
# that asks for a password in front, and add `--origin https://faces.example.org` to the end of
# `docker run`. docs/web.md says more.

FROM python:3.11-slim-bookworm AS build

# An index with builds of torch for the CPU makes the image some gigabytes smaller:
# `--build-arg PIP_EXTRA_INDEX_URL=...`
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY persona_affect persona_affect
RUN python -m venv /opt/persona-affect \
    && /opt/persona-affect/bin/pip install -c constraints.txt ".[app,openvino]"

FROM python:3.11-slim-bookworm

# What OpenCV needs of the system. Debian removes older builds, so that versions cannot be pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home affect
COPY --from=build /opt/persona-affect /opt/persona-affect
ENV PATH=/opt/persona-affect/bin:$PATH PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib
USER 10001
WORKDIR /home/affect

EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/config', timeout=8)"]
ENTRYPOINT ["persona-affect", "serve", "--host", "0.0.0.0", "--port", "7860"]
