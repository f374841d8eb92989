"""One clip through the codec: files, a picture and a table of metrics."""

import time
from pathlib import Path

from pystoi import stoi
from rich.console import Console
from rich.table import Table
from torch import Tensor

from codec.atomic import reason
from codec.audio.io import load_audio, save_audio
from codec.console import print_note
from codec.demo.figure import RoundTrip, draw
from codec.demo.spectrum import log_mel, mel_distance
from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.files import load_model
from codec.tokens.files import save_tokens

BUNDLED_CLIP = Path(__file__).resolve().parents[1] / "assets" / "speech.flac"


def run_demo(out: Path, clip: Path | None, model_name: str, device: str) -> None:
    """Write the demo's files to ``out`` and print its table.

    Raises:
        CodecError: when the clip, the model or the folder cannot be used.
    """
    model = load_model(model_name, device)
    audio = load_audio(clip or BUNDLED_CLIP, model.sample_rate)
    for note in audio.notes:
        print_note(f"note: {clip}: {note}")
    original = audio.wav
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"{out}: cannot be made ({reason(error)}); choose another folder") from None
    trip = round_trip(model, original)
    save_audio(out / "original.wav", trip.original, model.sample_rate)
    save_audio(out / "decoded.wav", trip.decoded, model.sample_rate)
    save_tokens(out / "tokens.pt", trip.tokens)
    draw(out / "demo.png", trip, model)
    print_table(trip, model)
    print_note(f"{out}: original.wav, decoded.wav, tokens.pt, demo.png")


def round_trip(model: Codec, original: Tensor) -> RoundTrip:
    """Encode and decode ``(T,)``, once to warm up and once on the clock."""
    model.decode(model.encode(original))
    start = time.perf_counter()
    tokens = model.encode(original)
    middle = time.perf_counter()
    decoded = model.decode(tokens)[0]
    end = time.perf_counter()
    return RoundTrip(original, tokens, decoded, middle - start, end - middle)


def print_table(trip: RoundTrip, model: Codec) -> None:
    """Bitrate, frames, speed and two measures of quality."""
    seconds = len(trip.original) / model.sample_rate
    rate = model.sample_rate
    similarity = stoi(trip.original.numpy(), trip.decoded.numpy(), rate)
    distance = mel_distance(log_mel(trip.original, rate), log_mel(trip.decoded, rate))
    table = Table("", "value", "meaning", title=f"codec demo: {seconds:.2f} s of speech")
    table.columns[1].justify = "right"
    layers, frames = trip.tokens.num_codebooks, int(trip.tokens.lengths[0])
    table.add_row("bitrate", f"{model.bitrate(layers) / 1000:g} kbps", f"{layers} codebooks")
    table.add_row("frames", f"{frames}", f"{model.config.frame_rate:g} per second")
    table.add_row("RTF encode", f"{trip.encode_seconds / seconds:.4f}", "computing time / duration")
    table.add_row("RTF decode", f"{trip.decode_seconds / seconds:.4f}", "computing time / duration")
    table.add_row("mel distance", f"{distance:.3f}", "mean |difference| of log10 mel; lower is better")
    table.add_row("STOI", f"{similarity:.3f}", "intelligibility, 0 to 1; higher is better")
    Console().print(table)
