"""Audio ids in a text model: its tokenizer and its embeddings grow by a layout's tokens."""

from typing import Any, TypeVar

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.tokens.layouts.base import Layout
from codec.tokens.layouts.grid import GridLayout

L = TypeVar("L", bound=Layout)

MULTIPLE = 64
"""Rows of embeddings are a multiple of this, for the speed of matrix products."""
_NOISE = 0.1
"""Spread of the new rows, in standard deviations of the old ones."""


def extend_model(layout: L, tokenizer: Any, model: Any = None, seed: int = 0) -> L:
    """Add a layout's tokens to a tokenizer of transformers, and rows to the embeddings of a model.

    The new rows, of the output layer too where it is a matrix of its own, are the mean of the old ones with a
    little noise: the model then gives an untrained token about the probability of an average one.

    Args:
        layout: with ids in one table; its ``base`` is of no effect.
        tokenizer: a tokenizer of transformers; changed in place.
        model: a causal language model of transformers; changed in place. By default only the tokenizer is.
        seed: of the noise.

    Returns:
        the layout, with the first new id as its base. Save it with the model.

    Raises:
        CodecError: when the tokenizer has some of the tokens already, or the layout has a table for each codebook.
    """
    if isinstance(layout, GridLayout) and not layout.shared:
        raise CodecError(f"this {layout.name} has a table for each codebook; make it with shared=True")
    tokens, known, base = layout.tokens(), tokenizer.get_vocab(), len(tokenizer)
    if taken := [token for token in tokens if token in known]:
        raise CodecError(f"the tokenizer has {taken[0]} already; load the vocabulary that was saved with it")
    _add_tokens(tokenizer, tokens)
    ids = tokenizer.convert_tokens_to_ids(tokens)
    if ids != list(range(base, base + len(tokens))):
        raise CodecError(f"new tokens begin at {ids[0]}, not at the length {base} of the tokenizer; add them by hand")
    if model is not None:
        _add_rows(model, base, len(tokens), seed)
    return layout.at(base)  # type: ignore[return-value]


def _add_tokens(tokenizer: Any, tokens: list[str]) -> None:
    try:
        from tokenizers import AddedToken
    except ImportError:
        raise CodecError("this needs the package tokenizers; pip install 'codec[llm]'") from None
    # Not special ones: decoding text with skip_special_tokens would leave the audio out.
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in tokens])


def _add_rows(model: Any, base: int, count: int, seed: int) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if rows < base:
        raise CodecError(f"{base} tokens, but {rows} embeddings; give the tokenizer of this model")
    # Some models, Qwen for one, have more rows than tokens: none is taken away.
    needed = -(-(base + count) // MULTIPLE) * MULTIPLE
    if needed > rows:
        model.resize_token_embeddings(needed, mean_resizing=False)
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    weights = {table.weight.data_ptr(): table.weight for table in tables if table is not None}
    for weight in weights.values():
        _fill(weight, base, count, seed)


@torch.no_grad()
def _fill(weight: Tensor, base: int, count: int, seed: int) -> None:
    """Rows from ``base`` on of ``weight (rows, D)``, by the statistics of those before."""
    old = weight[:base].float()
    noise = torch.randn(count, weight.shape[1], generator=torch.Generator().manual_seed(seed))
    rows = old.mean(0) + _NOISE * old.std(0) * noise.to(weight.device)
    weight[base : base + count] = rows.to(weight.dtype)
