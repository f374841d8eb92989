"""Token files of every format, chosen by suffix on writing and recognised by content on reading."""

import io
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from codec.atomic import atomic_file
from codec.errors import CodecError
from codec.reading import Source, open_seekable, path_of
from codec.tokens.pt import read_pt, write_pt
from codec.tokens.rvq import MAGIC, from_rvq, to_rvq
from codec.tokens.stream import MAGIC as STREAM_MAGIC
from codec.tokens.stream import read_stream
from codec.tokens.tokens import Tokens

TOKEN_SUFFIXES = (".pt", ".rvq")
"""Suffixes of files that can be written."""
READ_SUFFIXES = (*TOKEN_SUFFIXES, ".crvs")
"""The same with token streams that were kept in files."""

_PICKLE = b"\x80"
_ZIP = b"PK"  # torch.save writes zip archives


class Model(Protocol):
    """What makes tokens of bare codes, as :class:`codec.model.codec.Codec` does."""

    def tokens_of(self, codes: Any) -> Tokens: ...


def save_tokens(path: str | Path, tokens: Any, model: Model | None = None, overwrite: bool = True) -> None:
    """Write one clip's tokens; the file appears whole or not at all.

    Args:
        path: ends in ``.pt`` or ``.rvq``.
        tokens: a batch of one; of a larger batch save ``tokens[i]``. With a model, also bare codes ``(K, T)``.
        model: of bare codes, which do not say it themselves; of no effect on tokens.

    Raises:
        CodecError: for another suffix or batch size, what is no tokens, or a path that cannot be written.
    """
    path = path_of(path, "a token file")
    check_token_suffix(path)
    if model is not None and not hasattr(model, "tokens_of"):
        raise CodecError(f"{type(model).__name__} is no model; the order is save_tokens(path, tokens, model)")
    if not isinstance(tokens, Tokens):
        if model is None:
            raise CodecError(
                f"{type(tokens).__name__} is no tokens as model.encode returns them; of bare codes give the model "
                "too: save_tokens(path, codes, model)"
            )
        tokens = model.tokens_of(tokens)
    with atomic_file(path, overwrite) as file:
        write_tokens(file, tokens, Path(path).suffix.lower())


def load_tokens(source: Source) -> Tokens:
    """Tokens of one clip, a batch of one, from a ``.pt`` or ``.rvq`` file or a kept ``.crvs`` stream.

    Args:
        source: a path, also of a pipe, a file's bytes, or an open binary file.

    Raises:
        CodecError: when the file is missing, damaged, or not a token file.
    """
    with open_seekable(source, "tokens") as (file, name):
        try:
            return _read_open(file)
        except CodecError as error:
            raise CodecError(f"{name}: {error}") from None


def write_tokens(file: BinaryIO, tokens: Tokens, suffix: str) -> None:
    """Write one clip into an open binary file, in the format of ``.pt`` or ``.rvq``."""
    if suffix == ".rvq":
        file.write(to_rvq(tokens))
        return
    # In memory first: PyTorch hides what the system says about a full disk.
    content = io.BytesIO()
    write_pt(content, tokens)
    file.write(content.getbuffer())


def check_token_suffix(path: str | Path) -> None:
    """Raise a :class:`CodecError` unless the suffix is ``.pt`` or ``.rvq``."""
    if Path(path).suffix.lower() not in TOKEN_SUFFIXES:
        raise CodecError(f"{path}: token files end in {' or '.join(TOKEN_SUFFIXES)}")


def _read_open(file: BinaryIO) -> Tokens:
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
