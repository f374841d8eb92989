"""What every language model on tokens offers, whatever its layout."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from codec.errors import CodecError
from codec.lm.characters import Characters
from codec.lm.config import SamplingConfig, SizeConfig
from codec.lm.phones import Phones
from codec.lm.pieces import Piece
from codec.tokens.layouts import Layout

Batch = dict[str, Tensor]
WEIGHTS = "model.safetensors"
IGNORED = -100
"""Label of a position that is not learned."""


@dataclass(frozen=True)
class Request:
    """What is to be said.

    Attributes:
        prompt: ``(K, T)`` codes of a voice, T may be 0.
        text: to be read out; ``None`` goes on with the prompt.
        prompt_text: what the prompt says.
        max_frames: limit on the new frames.
        window: frames that the second stage of tts fills at a time.
        seed: of the draws.
    """

    prompt: Tensor
    text: str | None
    prompt_text: str | None
    max_frames: int
    window: int
    sampling: SamplingConfig
    seed: int


class SpeechLm(ABC):
    """A model, the layout of its ids, and how both are trained, measured, sampled and kept.

    Attributes:
        module: what is trained; its forward takes a batch and returns a mapping with ``loss``.
        characters: what a text is to the model; ``None`` where it reads none, or as a tokenizer has it.
    """

    kind: str
    layout: Layout
    module: Any
    characters: Characters | Phones | None = None

    @abstractmethod
    def collate(self, pieces: Sequence[Piece]) -> Batch:
        """A batch of pieces, padded."""

    @abstractmethod
    def bits(self, pieces: Sequence[Piece]) -> Tensor:
        """``(B, K)`` float64: bits of the codes of each piece, by codebook, given that the frames exist."""

    @abstractmethod
    def frames(self, request: Request) -> Iterator[Tensor]:
        """New codes ``(K, n)``, each as soon as its ids are drawn.

        Raises:
            CodecError: when the request does not fit the model.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the weights, and what they need beyond the layout, which is saved apart."""


def build_llama(size: SizeConfig, ids: int, positions: int = 4096) -> Any:
    """A Llama of random weights as a causal model over ``ids``."""
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = LlamaConfig(
        vocab_size=ids,
        hidden_size=size.dim,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=positions,
        bos_token_id=None,
        eos_token_id=None,
    )
    return LlamaForCausalLM(settings)


def pad_rows(rows: Sequence[Tensor], value: int) -> Tensor:
    """Tensors ``(N, ...)`` of different lengths as ``(B, max N, ...)``."""
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def mask_of(lengths: Sequence[int]) -> Tensor:
    """``(B, max length)`` int64: 1 where a row has something."""
    return (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)).long()


def code_bits(logits: Tensor, codes: Tensor) -> Tensor:
    """Sum over the positions of ``-log2 p``: logits ``(T, V)`` of one codebook's codes, codes ``(T,)``."""
    nats = F.cross_entropy(logits.double(), codes, reduction="sum")
    return nats / torch.log(torch.tensor(2.0, dtype=torch.float64))


def draw(logits: Tensor, sampling: SamplingConfig, generator: torch.Generator) -> int:
    """An index into logits ``(V,)``."""
    logits = logits.float().cpu()
    if sampling.temperature == 0:
        return int(logits.argmax())
    if 0 < sampling.top_k < len(logits):
        lowest = logits.topk(sampling.top_k).values[-1]
        logits = logits.masked_fill(logits < lowest, float("-inf"))
    # Next to 0, too, the most probable id has a share, and it is 1.
    temperature = max(sampling.temperature, torch.finfo(logits.dtype).tiny)
    shares = ((logits - logits.max()) / temperature).softmax(0)
    return int(torch.multinomial(shares, 1, generator=generator))


def check_no_text(request: Request, what: str) -> None:
    """Raise a :class:`CodecError` where text is given to a model that reads none."""
    if request.text is not None or request.prompt_text is not None:
        raise CodecError(f"{what} reads no text; leave --text out, or train with task=tts")


class CausalSteps:
    """A causal model of transformers, step by step with its cache."""

    def __init__(self, model: Any):
        self._model, self._past = model, None

    @torch.inference_mode()
    def __call__(self, **inputs: Tensor) -> Any:
        """The output of the model for more inputs ``(1, n, ...)``."""
        output = self._model(**inputs, past_key_values=self._past, use_cache=True)
        self._past = output.past_key_values
        return output


def save_weights(module: nn.Module, folder: Path) -> None:
    """Write a module of our own."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    save_file(weights, folder / WEIGHTS)


def load_weights(module: nn.Module, folder: Path) -> None:
    """Read what :func:`save_weights` wrote.

    Raises:
        CodecError: for weights of another shape, or none.
    """
    try:
        module.load_state_dict(read_tensors(folder / WEIGHTS))
    except RuntimeError as error:
        raise CodecError(f"{folder}: its weights do not fit ({' '.join(str(error).split())[:200]})") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file.

    Raises:
        CodecError: for a file that is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CodecError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from None
