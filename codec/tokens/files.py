"""Token files of every format, chosen by suffix on writing and recognised by content on reading."""

import io
from pathlib import Path
from typing import BinaryIO

from codec.atomic import atomic_file
from codec.errors import CodecError
from codec.model.network import Network
from codec.reading import open_seekable
from codec.tokens.clip import TokenClip
from codec.tokens.pt import read_pt, write_pt
from codec.tokens.rvq import MAGIC, from_rvq, to_rvq
from codec.tokens.stream import MAGIC as STREAM_MAGIC
from codec.tokens.stream import read_stream
from codec.tokens.tokens import Tokens
from codec.version import __version__

TOKEN_SUFFIXES = (".pt", ".rvq")
"""Suffixes of files that can be written."""
READ_SUFFIXES = (*TOKEN_SUFFIXES, ".crvs")
"""The same with token streams that were kept in files."""

_PICKLE = b"\x80"
_ZIP = b"PK"  # torch.save writes zip archives


def save_tokens(path: str | Path, tokens: Tokens, model: Network, overwrite: bool = True) -> None:
    """Write one clip's tokens; the file appears whole or not at all.

    Args:
        path: ends in ``.pt`` or ``.rvq``.
        tokens: a batch of one; of a larger batch save ``tokens[i]``.
        model: the model that made them.

    Raises:
        CodecError: for another suffix or batch size, or a path that cannot be written.
    """
    check_token_suffix(path)
    clip = clip_of(tokens, model)
    with atomic_file(path, overwrite) as file:
        write_clip(file, clip, Path(path).suffix.lower())


def load_tokens(path: str | Path) -> Tokens:
    """Tokens of one clip, a batch of one, from a ``.pt`` or ``.rvq`` file or a kept ``.crvs`` stream.

    Raises:
        CodecError: when the file is missing, damaged, or not a token file.
    """
    return read_clip(path).to_tokens()


def clip_of(tokens: Tokens, model: Network) -> TokenClip:
    """The content of a file of these tokens.

    Raises:
        CodecError: for a batch of more than one clip.
    """
    if len(tokens) != 1:
        raise CodecError(f"a token file holds one clip, got {len(tokens)}; save tokens[i] one by one")
    one, sizes = tokens[0], model.quantizer.sizes[: tokens.num_codebooks]
    return TokenClip(
        codes=one.codes[0].cpu(),
        num_samples=int(one.num_samples[0]),
        sample_rate=one.sample_rate,
        hop_length=model.hop_length,
        codebook_size=max(sizes),
        fingerprint=one.fingerprint,
        codec_version=__version__,
        codebook_sizes=sizes if len(set(sizes)) > 1 else (),
    )


def write_clip(target: Path | BinaryIO, clip: TokenClip, suffix: str) -> None:
    """Write to a path or an open binary file in the format of ``.pt`` or ``.rvq``."""
    if isinstance(target, Path):
        with target.open("wb") as file:
            write_clip(file, clip, suffix)
    elif suffix == ".rvq":
        target.write(to_rvq(clip))
    else:
        # In memory first: PyTorch hides the system's error for a full disk.
        content = io.BytesIO()
        write_pt(content, clip)
        target.write(content.getbuffer())


def read_clip(source: str | Path | BinaryIO) -> TokenClip:
    """One clip's tokens with all fields of its file.

    Args:
        source: a path, also of a pipe, or an open binary file.

    Raises:
        CodecError: when the file is missing, damaged, or not a token file.
    """
    with open_seekable(source, "tokens") as (file, name):
        try:
            return _read_open(file)
        except CodecError as error:
            raise CodecError(f"{name}: {error}") from None


def check_token_suffix(path: str | Path) -> None:
    """Raise a :class:`CodecError` unless the suffix is ``.pt`` or ``.rvq``."""
    if Path(path).suffix.lower() not in TOKEN_SUFFIXES:
        raise CodecError(f"{path}: token files end in {' or '.join(TOKEN_SUFFIXES)}")


def _read_open(file: BinaryIO) -> TokenClip:
    start = file.read(len(MAGIC))
    file.seek(0)
    if start == MAGIC:
        return from_rvq(file.read())
    if start == STREAM_MAGIC:
        return read_stream(file)
    if start[:1] == _PICKLE:
        raise CodecError("refused: a pickle, which could run code; make tokens with `codec encode`")
    if start[:2] != _ZIP:
        raise CodecError("not a token file: neither .rvq nor .pt; make one with `codec encode`")
    return read_pt(file)
