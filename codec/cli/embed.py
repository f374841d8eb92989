"""``codec embed``: embeddings of recordings, by any encoder, as one Parquet file."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from codec.atomic import atomic_path
from codec.audio.io import AUDIO_SUFFIXES, load_audio
from codec.console import counted, print_error, print_note
from codec.data.manifest import Clip, read_manifest
from codec.data.search import search_folder
from codec.encoders.base import EncoderConfig
from codec.encoders.open import open_encoder
from codec.errors import CodecError
from codec.progress import track

if TYPE_CHECKING:
    from torch import Tensor

    from codec.encoders.base import Encoder

Source = Annotated[
    str, typer.Argument(metavar="SRC", help="A recording, a folder of them, or a manifest.jsonl.", show_default=False)
]
Target = Annotated[Path, typer.Argument(metavar="OUT", help="The .parquet file to write.", show_default=False)]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="What codec train or codec distill wrote (RUN/export), a codec's folder or codec:NAME, a released MATPAC "
        "(.pt), a hub id or folder of a transformers audio model, musicnn's folder, basic_pitch, a file.onnx, or "
        "log_mel.",
    ),
]
LevelOption = Annotated[
    Literal["frame", "clip"] | None,
    typer.Option(help="One row a frame, or one a clip, the mean of its frames; what the model gives by default."),
]
Layer = Annotated[str, typer.Option(help="last, avg, or the number of a layer.")]
Output = Annotated[
    str | None, typer.Option(help="Of a codec: latent or quantized; of others as in docs/teachers.md.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]


def embed(
    source: Source,
    target: Target,
    model: Model = "codec:default",
    level: LevelOption = None,
    layer: Layer = "avg",
    output: Output = None,
    device: Device = "cpu",
    overwrite: Overwrite = False,
) -> int:
    """Write embeddings of recordings as Parquet: columns path, time in seconds, embedding.

    What cannot be read is listed at the end, and the exit status is then 1.
    """
    if target.suffix.lower() != ".parquet":
        raise CodecError(f"{target}: embeddings are written as .parquet; give such a name")
    chosen: Any = int(layer) if layer.isdecimal() else layer
    clips, unreadable = find_clips(source)
    config = EncoderConfig(model=model, layer=chosen, output=output, level=level, device=device)
    encoder = open_encoder(config)
    failures: list[str] = []
    with atomic_path(target, overwrite) as temporary:
        rows = write_embeddings(temporary, clips, encoder, failures)
        if not rows:
            raise CodecError(failures[0])
    print_note(
        f"{target}: {counted(rows, 'row')} of {encoder.dim} from {counted(len(clips) - len(failures), 'clip')} "
        f"by {encoder.name} ({encoder.layer})"
    )
    for failure in [*unreadable, *failures]:
        print_error(failure)
    return int(bool(unreadable or failures))


def find_clips(source: str) -> tuple[list[Clip], list[str]]:
    """Clips of a manifest, or of the recordings in a folder, or one recording; a line on each unreadable folder.

    Raises:
        CodecError: when there is none.
    """
    path = Path(source)
    if path.suffix == ".jsonl":
        return read_manifest(path), []
    if path.is_dir():
        search = search_folder(path, AUDIO_SUFFIXES)
        search.print_summary()
        if not search.found:
            reasons = "".join(f"; {words}" for words in search.unreadable)
            raise CodecError(f"{path}: no audio files in this folder ({', '.join(AUDIO_SUFFIXES)}){reasons}")
        clips = [Clip(path=str(file.relative_to(path)), seconds=0.0, root=str(path)) for file in search.found]
        return clips, search.unreadable
    return [Clip(path=path.name, seconds=0.0, root=str(path.parent))], []


def write_embeddings(path: Path, clips: list[Clip], encoder: "Encoder", failures: list[str]) -> int:
    """Write a row group for each clip, so that one clip at a time is in memory; the number of rows.

    Args:
        failures: gets a line about each clip that cannot be read or embedded.
    """
    schema = schema_of(encoder)
    rows = 0
    with pq.ParquetWriter(path, schema) as writer:
        for clip, frames in _embeddings(clips, encoder, failures):
            writer.write_table(_table(clip, frames, encoder, schema))
            rows += len(frames)
    return rows


def schema_of(encoder: "Encoder") -> pa.Schema:
    """Columns, and what the encoder is as metadata."""
    facts = {key: getattr(encoder, key) for key in ("name", "layer", "sample_rate", "rate", "offset", "dim")}
    return pa.schema(
        [
            ("path", pa.string()),
            ("time", pa.float64()),
            ("embedding", pa.list_(pa.float32(), encoder.dim)),
        ],
        metadata={f"codec.{key}": str(value) for key, value in facts.items()},
    )


def _embeddings(
    clips: list[Clip], encoder: "Encoder", failures: list[str]
) -> Iterator[tuple[Clip, "Tensor"]]:
    for clip in track(clips, "embedding", len(clips), quiet=False):
        try:
            yield clip, encoder.encode([load_audio(clip.audio, encoder.sample_rate).wav])[0]
        except CodecError as error:
            text = str(error)
            failures.append(text if clip.path in text else f"{clip.path}: {text}")


def _table(clip: Clip, frames: "Tensor", encoder: "Encoder", schema: pa.Schema) -> pa.Table:
    count = len(frames)
    rate = encoder.rate
    times = [None] * count if rate is None else [encoder.offset + index / rate for index in range(count)]
    values = pa.FixedSizeListArray.from_arrays(pa.array(frames.flatten().numpy(), pa.float32()), encoder.dim)
    return pa.table([[clip.path] * count, pa.array(times, pa.float64()), values], schema=schema)
