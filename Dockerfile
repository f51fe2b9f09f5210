# waterflow serve, without root: see docs/deploy.md
FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --constraint constraints.txt --wheel-dir /wheels .

FROM python:3.11-slim
# pyarrow and scikit-learn bring the libraries they need; nothing else is installed.
COPY --from=build /wheels /src/constraints.txt /wheels/
RUN pip install --no-cache-dir --constraint /wheels/constraints.txt /wheels/*.whl \
    && rm -r /wheels \
    && useradd --uid 10001 --create-home waterflow \
    && mkdir /model \
    && python -c "import waterflow_cli.serving.server"

USER waterflow
WORKDIR /home/waterflow
# What is compiled for the machine on first use is kept here.
ENV NUMBA_CACHE_DIR=/home/waterflow/.cache/numba PYTHONUNBUFFERED=1
VOLUME /model
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["python", "-c", \
    "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["waterflow"]
CMD ["serve", "--host", "0.0.0.0", "--model", "/model", "--token-file", "/run/secrets/waterflow-token"]
