"""``codec stream``: live audio to tokens and back, on standard input and output."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from codec.atomic import named_errors
from codec.cli.dataclass_options import flag, options_of
from codec.cli.options import FLAGS, ModelOptions
from codec.cli.pipes import STANDARD_OUTPUT, silence_output, standard_input, standard_output
from codec.console import print_note
from codec.errors import CodecError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from codec.model.codec import Codec, Latency
    from codec.model.streaming_decoder import StreamingDecoder
    from codec.tokens.stream import StreamHeader, StreamReader, StreamWriter


@dataclass(frozen=True, kw_only=True)
class StreamOptions(ModelOptions):
    """Options of both directions."""

    device: str = "cpu"
    """cpu, cuda, mps or auto."""
    rate: int | None = None
    """Hz of the PCM; the model's rate by default."""
    format: str = "s16"
    """Of the PCM: s16 or f32, little-endian, mono."""
    deterministic: bool = False
    """Fixed shapes: codes equal to the last bit, a little slower."""

    def __post_init__(self) -> None:
        if self.rate is None:
            return
        # Not at the top: PyTorch comes with it.
        from codec.audio.resample import MAX_RATE, MIN_RATE

        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise CodecError(f"--rate {self.rate} Hz; it must be {MIN_RATE} to {MAX_RATE}")


@dataclass(frozen=True, kw_only=True)
class StreamEncodeOptions(StreamOptions):
    """Options of ``codec stream encode``."""

    codebooks: int | None = None
    """Codebook layers to send, 1 to all."""


@dataclass(frozen=True, kw_only=True)
class StreamDecodeOptions(StreamOptions):
    """Options of ``codec stream decode``."""

    force: bool = False
    """Decode tokens of another model anyway."""


_FLAGS = FLAGS | {"rate": flag("--rate", "-r"), "format": flag("--format", "-f")}
_ENCODE_FLAGS = _FLAGS | {"codebooks": flag("--codebooks", "-k")}
_ORDER = ("rate", "format", "model", "device", "engine", "deterministic")
_ENCODE_ORDER = ("rate", "format", "codebooks", "model", "device", "engine", "deterministic")

_PIPE_CLOSED = 128 + 13
"""Exit status of a program that SIGPIPE ended."""

app = typer.Typer(help="Live audio to tokens and back, on standard input and output.")


@app.command("encode")
@options_of(StreamEncodeOptions, _ENCODE_FLAGS, _ENCODE_ORDER)
def stream_encode(options: StreamEncodeOptions) -> None:
    """Raw PCM from standard input to a token stream on standard output, frame by frame.

    arecord -q -t raw -f S16_LE -r 16000 |
    codec stream encode | codec stream decode |
    aplay -q -t raw -f S16_LE -r 16000
    """
    from codec.audio.pcm import PcmReader, check_pcm_format
    from codec.audio.resample import StreamResampler
    from codec.model.files import load_model
    from codec.tokens.stream import StreamWriter

    check_pcm_format(options.format)
    source, sink = standard_input(), standard_output()
    loaded = load_model(options.model, options.device, options.engine)
    encoder = loaded.streaming_encoder(num_codebooks=options.codebooks, deterministic=options.deterministic)
    rate = options.rate or loaded.sample_rate
    reader = PcmReader(source, options.format)
    if source.seekable():
        reader.begin()  # of a live stream, the header is written before its first samples come
    with _quiet_when_closed():
        writer = StreamWriter(sink, _header(loaded, encoder.num_codebooks))
        _tell("tokens", encoder.latency, rate, loaded.sample_rate)
        for block in StreamResampler(rate, loaded.sample_rate).run(reader):
            _write_frames(writer, encoder.push(block)[0], loaded.hop_length)
        codes, rest = encoder.flush()[0], int(encoder.num_samples) % loaded.hop_length
        last = codes.shape[1] - bool(rest)
        _write_frames(writer, codes[:, :last], loaded.hop_length)
        _write_frames(writer, codes[:, last:], rest)
        writer.end()
    reader.check_end()


@app.command("decode")
@options_of(StreamDecodeOptions, _FLAGS, _ORDER)
def stream_decode(options: StreamDecodeOptions) -> None:
    """A token stream from standard input to raw PCM on standard output, frame by frame."""
    from codec.audio.pcm import check_pcm_format, to_pcm
    from codec.audio.resample import StreamResampler
    from codec.model.files import load_model
    from codec.tokens.stream import StreamReader

    check_pcm_format(options.format)
    source, sink = standard_input(), standard_output()
    loaded = load_model(options.model, options.device, options.engine)
    decoder = loaded.streaming_decoder(deterministic=options.deterministic)
    rate = options.rate or loaded.sample_rate
    reader = StreamReader(source)
    _check_header(reader.header, loaded, options.force)
    _tell("audio after tokens", decoder.latency, loaded.sample_rate, rate)
    with _quiet_when_closed():
        for wav in StreamResampler(loaded.sample_rate, rate).run(_sound(decoder, reader)):
            sink.write(to_pcm(wav, options.format))
            sink.flush()
    reader.check_end()


def _write_frames(writer: "StreamWriter", codes: "Tensor", num_samples: int) -> None:
    """Codes ``(K, n)``, one packet a frame of ``num_samples``."""
    from codec.tokens.stream import Frame

    for frame in codes.unbind(1):
        writer.write(Frame(frame, num_samples))


def _sound(decoder: "StreamingDecoder", reader: "StreamReader") -> Iterator["np.ndarray"]:
    """``(n,)`` samples of every frame, and of the overlap after the last."""
    num_samples = 0
    for frame in reader:
        num_samples += frame.num_samples
        # Only a last frame is shorter than the hop.
        end = num_samples if frame.num_samples < reader.header.hop_length else None
        yield decoder.push(frame.codes[None, :, None], num_samples=end)[0].numpy()
    yield decoder.flush()[0].numpy()


def _header(model: "Codec", num_codebooks: int) -> "StreamHeader":
    from codec import __version__
    from codec.tokens.stream import StreamHeader

    sizes = model.quantizer.sizes[:num_codebooks]
    return StreamHeader(
        num_codebooks=num_codebooks,
        codebook_size=max(sizes),
        sample_rate=model.sample_rate,
        hop_length=model.hop_length,
        fingerprint=model.fingerprint,
        codec_version=__version__,
        codebook_sizes=sizes if len(set(sizes)) > 1 else (),
    )


def _check_header(header: "StreamHeader", model: "Codec", force: bool) -> None:
    """Raise a :class:`CodecError` unless ``model`` can decode such a stream."""
    if not force and not model.understands(header.fingerprint):
        raise CodecError(
            f"the token stream was made by model {header.fingerprint}, this is {model.fingerprint}; "
            "give that model (--model), or --force the decoding and expect noise"
        )
    model.quantizer.check_count(header.num_codebooks)
    expected = _header(model, header.num_codebooks)
    for name in ("codebook_size", "codebook_sizes", "sample_rate", "hop_length"):
        found, wanted = getattr(header, name), getattr(expected, name)
        if found != wanted:
            raise CodecError(f"the token stream has {name} {found}, the model {wanted}; they do not fit")


def _tell(what: str, latency: "Latency", source_rate: int, target_rate: int) -> None:
    """The stated latency, on standard error."""
    from codec.audio.delay import resampling_delay

    extra = 1000 * resampling_delay(source_rate, target_rate)
    resampling = f" + up to {extra:.0f} ms resampling {source_rate} to {target_rate} Hz" if extra else ""
    print_note(f"latency of {what}: {round(latency.milliseconds, 1):g} ms{resampling}")


@contextmanager
def _quiet_when_closed() -> Iterator[None]:
    """End without a word when the reader of standard output goes away, as other filters do; name it when it is full."""
    try:
        yield
    except BrokenPipeError:
        silence_output()
        raise typer.Exit(_PIPE_CLOSED) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        silence_output()
        with named_errors(STANDARD_OUTPUT):
            raise
