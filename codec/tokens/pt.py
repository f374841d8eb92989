"""``.pt`` token files: a plain dict of a tensor, ints and strings, for use from PyTorch.

Read and written with ``torch.load(weights_only=True)`` in mind: no object in the file can run
code. docs/formats.md lists the keys.
"""

import dataclasses
import warnings
from typing import Any, BinaryIO

import torch

from codec.errors import CodecError
from codec.tokens.clip import TokenClip

FORMAT = "codec-tokens"
VERSION = 2
"""Written where codebooks differ in size; else 1, which has no ``codebook_sizes``."""


def write_pt(file: BinaryIO, clip: TokenClip) -> None:
    """Write one clip."""
    content = {
        "format": FORMAT,
        "version": VERSION if clip.codebook_sizes else 1,
        "codes": clip.codes.contiguous().clone(),
        "num_samples": clip.num_samples,
        "sample_rate": clip.sample_rate,
        "hop_length": clip.hop_length,
        "codebook_size": clip.codebook_size,
        "fingerprint": clip.fingerprint,
        "codec_version": clip.codec_version,
    }
    if clip.codebook_sizes:
        content["codebook_sizes"] = list(clip.codebook_sizes)
    torch.save(content, file)


def read_pt(file: BinaryIO) -> TokenClip:
    """Read one clip.

    Raises:
        CodecError: when the file is damaged, holds other objects, or another version.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about strange pickles, which are refused below
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 (damaged data raise anything, EOFError to KeyError)
        raise CodecError(
            f"refused: not plain tensors, or damaged ({type(error).__name__}); "
            "make the tokens again with `codec encode`"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CodecError("not a token file, though PyTorch can read it; make one with `codec encode`")
    version = content.get("version")
    reader = _READERS.get(version) if isinstance(version, int) else None
    if reader is None:
        raise CodecError(f"token file version {version!r} is unknown; update codec to read it")
    return reader(content)


def _read_v1(content: dict[str, Any]) -> TokenClip:
    return _read(content, {field.name for field in dataclasses.fields(TokenClip)} - {"codebook_sizes"})


def _read_v2(content: dict[str, Any]) -> TokenClip:
    sizes = content.get("codebook_sizes")
    if not isinstance(sizes, list):
        raise CodecError(f"codebook_sizes must be a list, got {sizes!r}")
    known = {field.name for field in dataclasses.fields(TokenClip)}
    return _read(content | {"codebook_sizes": tuple(sizes)}, known)


def _read(content: dict[str, Any], expected: set[str]) -> TokenClip:
    values = {key: value for key, value in content.items() if key not in ("format", "version")}
    if values.keys() != expected:
        raise CodecError(f"missing or unknown keys: {sorted(values.keys() ^ expected, key=str)}")
    return TokenClip(**values)


_READERS = {1: _read_v1, 2: _read_v2}
