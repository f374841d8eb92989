# docker build -t codec . && docker run --rm -v "$PWD:/data" codec encode in.wav tokens.pt
FROM python:3.11-slim

# PIP_ARGS may name an index with PyTorch's CPU build, which keeps CUDA out of the image.
ARG PIP_ARGS=""
RUN pip install --no-cache-dir ${PIP_ARGS} torch==2.13.0

WORKDIR /opt/codec
COPY pyproject.toml README.md LICENSE ./
COPY codec codec
COPY checkpoints checkpoints
RUN pip install --no-cache-dir ".[demo]"

WORKDIR /data
ENTRYPOINT ["codec"]
CMD ["--help"]
