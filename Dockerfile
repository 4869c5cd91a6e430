FROM python:3.11-slim

WORKDIR /app

# The dependencies change less often than the router, so they get a layer of their own.
COPY pyproject.toml setup.cfg ./
RUN python -c "import configparser; c = configparser.ConfigParser(); c.read('setup.cfg'); \
print(c['options']['install_requires'])" > /tmp/requirements.txt \
 && pip install --no-cache-dir --requirement /tmp/requirements.txt

COPY . /tmp/source
# twistd --help caches the list of plugins, which the unprivileged user cannot write.
RUN pip install --no-cache-dir --no-deps /tmp/source \
 && rm -rf /tmp/source /tmp/requirements.txt pyproject.toml setup.cfg \
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
