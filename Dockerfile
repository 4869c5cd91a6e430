# A release names the base image by its digest: --build-arg PYTHON=python:3.11-slim@sha256:...
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS build
COPY requirements/build.txt /tmp/
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/build.txt
COPY . /tmp/source
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /tmp/wheels /tmp/source

FROM ${PYTHON}
WORKDIR /app

# The dependencies change less often than the router, so they get a layer of their own.
COPY requirements/router.txt /tmp/
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/router.txt && rm /tmp/router.txt

COPY --from=build /tmp/wheels /tmp/wheels
# twistd --help caches the list of plugins, which the unprivileged user cannot write.
RUN pip install --no-cache-dir --no-deps --no-index /tmp/wheels/*.whl \
 && rm -rf /tmp/wheels \
 && twistd --help > /dev/null

USER 65532:65532
EXPOSE 4000

# Both 200 and 503 mean that it serves. /health is the one path that --rate-limit exempts.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import http.client, os; \
c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 4000), timeout=2); \
c.request('GET', '/health'); \
raise SystemExit(c.getresponse().status not in (200, 503))"]

ENTRYPOINT ["twistd", "--nodaemon", "--pidfile=", "infernet-router"]
