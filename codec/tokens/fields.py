"""The fields of a token file, which all formats share, to tokens and back."""

from typing import Any

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.tokens.tokens import Tokens

_NUMBERS = ("num_samples", "sample_rate", "hop_length", "codebook_size")
_TEXTS = ("fingerprint", "codec_version")
FIELDS = frozenset({"codes", *_NUMBERS, *_TEXTS})
"""Keys of every file; where the codebooks differ in size it has ``codebook_sizes`` too."""


def fields_of(tokens: Tokens) -> dict[str, Any]:
    """What a file holds of one clip, in the order of the keys in files: plain numbers, texts, and codes ``(K, T)``.

    Raises:
        CodecError: for a batch of more than one clip, or what :func:`tokens_of` would refuse.
    """
    if len(tokens) != 1:
        raise CodecError(f"a token file holds one clip, got {len(tokens)}; save tokens[i] one by one")
    one, sizes = tokens[0].map(Tensor.cpu), tokens.codebook_sizes
    fields = {
        "codes": one.codes[0].contiguous().clone(),
        "num_samples": int(one.num_samples[0]),
        "sample_rate": one.sample_rate,
        "hop_length": one.hop_length,
        "codebook_size": max(sizes, default=0),
        "fingerprint": one.fingerprint,
        "codec_version": one.codec_version,
    }
    if len(set(sizes)) > 1:
        fields["codebook_sizes"] = list(sizes)
    tokens_of(fields)
    return fields


def tokens_of(fields: dict[str, Any]) -> Tokens:
    """The tokens of a file, a batch of one.

    Raises:
        CodecError: for fields that are missing, unknown, of a wrong type, or do not belong together.
    """
    if strange := (fields.keys() - {"codebook_sizes"}) ^ FIELDS:
        raise CodecError(f"missing or unknown keys: {sorted(strange, key=str)}")
    for name in _NUMBERS:
        value = fields[name]
        if type(value) is not int or value < 1:
            raise CodecError(f"{name} must be a whole number above 0, got {value!r}")
    for name in _TEXTS:
        if not isinstance(fields[name], str):
            raise CodecError(f"{name} must be a string, got {fields[name]!r}")
    codes, samples, hop = fields["codes"], fields["num_samples"], fields["hop_length"]
    if not isinstance(codes, Tensor) or codes.ndim != 2 or codes.dtype != torch.int64:
        shape = f"{codes.dtype} {tuple(codes.shape)}" if isinstance(codes, Tensor) else repr(codes)
        raise CodecError(f"codes must be an int64 tensor (K, T), got {shape}")
    if codes.layout != torch.strided or codes.is_meta:
        raise CodecError(f"codes must be a plain tensor, got one of {codes.layout} on {codes.device}")
    frames = -(-samples // hop)
    if codes.shape[0] < 1 or codes.shape[1] != frames:
        raise CodecError(
            f"{samples} samples are {frames} frames of {hop}, but the codes have shape {tuple(codes.shape)}"
        )
    sizes = _sizes(fields, len(codes))
    _check_range(codes, sizes)
    return Tokens(
        codes=codes.unsqueeze(0),
        lengths=torch.tensor([frames], device="cpu"),
        num_samples=torch.tensor([samples], device="cpu"),
        sample_rate=fields["sample_rate"],
        fingerprint=fields["fingerprint"],
        hop_length=hop,
        codebook_sizes=sizes,
        codec_version=fields["codec_version"],
    )


def _sizes(fields: dict[str, Any], layers: int) -> tuple[int, ...]:
    """Entries of each codebook."""
    largest = fields["codebook_size"]
    sizes = fields.get("codebook_sizes", [largest] * layers)
    if not isinstance(sizes, list | tuple) or not all(type(size) is int and size > 0 for size in sizes):
        raise CodecError(f"codebook_sizes must be a list of whole numbers above 0, got {sizes!r}")
    if "codebook_sizes" in fields and (max(sizes, default=0) != largest or len(set(sizes)) == 1):
        raise CodecError(f"codebook_sizes {list(sizes)} do not fit codebook_size {largest}")
    if len(sizes) != layers:
        raise CodecError(f"{layers} layers of codes, but {len(sizes)} codebook_sizes")
    return tuple(sizes)


def _check_range(codes: Tensor, sizes: tuple[int, ...]) -> None:
    uniform = len(set(sizes)) == 1
    for layer, size in zip([codes] if uniform else codes, sizes, strict=False):
        low, high = (int(limit) for limit in layer.aminmax())
        if low < 0 or high >= size:
            wrong = low if low < 0 else high
            raise CodecError(f"code {wrong} is out of range; codes lie in 0..{size - 1}")
