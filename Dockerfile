# docker build -t codec .
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" codec encode in.wav tokens.pt
# docker build -t codec-serve --target serve . ; compose.yaml starts it
#
# PyTorch for CPUs. For NVIDIA GPUs: --build-arg DEVICE=cuda, and docker run --gpus all.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG DEVICE=cpu
ARG PIP_ARGS=""
RUN python -m venv /opt/codec
ENV PATH=/opt/codec/bin:$PATH
WORKDIR /src
COPY requirements.txt requirements-serve.txt ./
# PyPI's PyTorch for Linux is the one for CUDA; the index of CPU builds has 2.13.0+cpu, which pip prefers to 2.13.0.
# PIP_ARGS are several words.
# hadolint ignore=SC2086
RUN case "${DEVICE}" in \
        cpu) index="--extra-index-url https://download.pytorch.org/whl/cpu" ;; \
        cuda) index="" ;; \
        *) echo "DEVICE is ${DEVICE}; it has to be cpu or cuda" >&2; exit 1 ;; \
    esac \
    && pip install --no-cache-dir ${PIP_ARGS} ${index} -r requirements-serve.txt
COPY pyproject.toml README.md LICENSE ./
COPY codec codec
COPY checkpoints checkpoints
RUN pip install --no-cache-dir --no-build-isolation --no-deps .

FROM python:${PYTHON}-slim AS runtime
COPY --from=build /opt/codec /opt/codec
# Whoever runs the container has no home in it; matplotlib wants a folder for its cache.
ENV PATH=/opt/codec/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["codec"]

FROM runtime AS serve
EXPOSE 8765
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8765/healthz', timeout=4)"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8765"]

# What is built when no target is named: the command, without the server's health check.
FROM runtime AS command
CMD ["--help"]
