"""``.pt`` token files: a plain dict of a tensor, ints and strings, for use from PyTorch.

Read and written with ``torch.load(weights_only=True)`` in mind: no object in the file can run
code. docs/formats.md lists the keys.
"""

import warnings
from typing import BinaryIO

import torch

from codec.errors import CodecError
from codec.tokens.fields import fields_of, tokens_of
from codec.tokens.tokens import Tokens

FORMAT = "codec-tokens"
VERSION = 2
"""Written where codebooks differ in size; else 1, which has no ``codebook_sizes``."""


def write_pt(file: BinaryIO, tokens: Tokens) -> None:
    """Write one clip."""
    fields = fields_of(tokens)
    version = VERSION if "codebook_sizes" in fields else 1
    torch.save({"format": FORMAT, "version": version} | fields, file)


def read_pt(file: BinaryIO) -> Tokens:
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
    if not isinstance(version, int) or version not in (1, VERSION):
        raise CodecError(f"token file version {version!r} is unknown; update codec to read it")
    if ("codebook_sizes" in content) is not (version == VERSION):
        raise CodecError(f"codebook_sizes belong to version {VERSION} alone, and this file says version {version}")
    return tokens_of({key: value for key, value in content.items() if key not in ("format", "version")})
