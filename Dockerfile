# docker build -t codec .
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" codec encode in.wav tokens.pt
FROM python:3.11-slim

# PyTorch for CPUs. For NVIDIA GPUs: --build-arg TORCH_INDEX=https://pypi.org/simple, and docker run --gpus all.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG PIP_ARGS=""

WORKDIR /opt/codec
COPY requirements.txt ./
RUN pip install --no-cache-dir ${PIP_ARGS} --extra-index-url ${TORCH_INDEX} -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY codec codec
COPY checkpoints checkpoints
RUN pip install --no-cache-dir --no-build-isolation --no-deps .

# Whoever runs the container has no home in it; matplotlib wants a folder for its cache.
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["codec"]
CMD ["--help"]
