# docker build -t codec . && docker run --rm -v "$PWD:/data" codec encode in.wav tokens.pt
FROM python:3.11-slim

# torch from the CPU index keeps CUDA out of the image.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0

WORKDIR /opt/codec
COPY pyproject.toml README.md LICENSE ./
COPY codec codec
COPY checkpoints checkpoints
RUN pip install --no-cache-dir ".[demo]"

WORKDIR /data
ENTRYPOINT ["codec"]
CMD ["--help"]
