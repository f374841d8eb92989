"""Scores that need the run and not only its model: tokens against those of its start, and what its own head reads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from codec.align.transcript import plain_words
from codec.asr.head import ctc_of_clips
from codec.asr.loss import CtcLoss
from codec.audio.io import load_audio
from codec.compare.plan import Trial
from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.merging.tokens import compare_tokens, encode_clips
from codec.model.codec import Codec
from codec.model.files import find_model, load_model
from codec.train.losses.registry import LossContext, build_loss, typed_options

FIGURES = {"tokens": ("first", "all", "frames", "perplexity"), "ctc": ("loss", "cer")}
"""Names of the figures of each kind."""


@dataclass(frozen=True)
class RunFigure:
    """One figure of a run.

    Attributes:
        name: its key behind the slash.
        title: for tables.
        value: as measured; ``value * scale`` is printed with ``digits``.
        better: ``higher`` or ``lower``.
        clips: how many it stands on.
        digits: of the printed value.
        scale: of the printed value.
        resembles: losses that train it.
    """

    name: str
    title: str
    value: float
    better: str
    clips: int
    digits: int
    scale: float
    resembles: tuple[str, ...] = ()


def token_figures(run: Trial, model: Codec, clips: Sequence[Clip]) -> list[RunFigure]:
    """Shares of tokens that are those of the model the run started from, and how many codes of RVQ-1 are in use.

    Raises:
        CodecError: for a run from nothing, or one whose start has other frames.
    """
    if run.config.init_from is None:
        raise CodecError(f"{run.name}: scoring.tokens compares with init_from, and there is none")
    before = encode_clips(load_model(find_model(run.config.init_from), "cpu"), clips)
    after = encode_clips(model, clips)
    same = compare_tokens(before, after)
    usage = _perplexity([tokens.codes for tokens in after]) / _perplexity([tokens.codes for tokens in before])
    shares = {
        "first": ("RVQ-1 tokens kept %", same.first),
        "all": ("all tokens kept %", same.all),
        "frames": ("frames kept whole %", same.frames),
        "perplexity": ("perplexity of RVQ-1, % of the start's", usage),
    }
    return [
        RunFigure(name, title, value, "higher", same.clips, 1, 100.0) for name, (title, value) in shares.items()
    ]


def ctc_figures(run: Trial, model: Codec, clips: Sequence[Clip]) -> list[RunFigure]:
    """CTC loss a character and character error rate of greedy reading, by the head that the run trained.

    None where the run has no such head, as merges of several branches.

    Raises:
        CodecError: when no clip has a text that the head could write.
    """
    head = _head_of(run, model)
    if head is None:
        return []
    losses, wrong, total = [], 0, 0
    for clip in clips:
        labels = head.alphabet.labels(clip.text)
        scores = _scores(head, model, load_audio(clip.audio, model.sample_rate).wav)
        found = ctc_of_clips(scores, torch.tensor([scores.shape[1]]), [labels], [bool(clip.text)])
        if not bool(found.counts.all()):
            continue
        losses.append(float(found.values))
        edits = jiwer.process_characters(plain_words(clip.text), head.alphabet.text(scores[0].argmax(dim=1).tolist()))
        wrong += edits.substitutions + edits.deletions + edits.insertions
        total += edits.hits + edits.substitutions + edits.deletions
    if not losses:
        raise CodecError(f"{run.name}: scoring.ctc has no clip with a text that fits the head's alphabet")
    mean, trained = math.fsum(losses) / len(losses), ("ctc",)
    return [
        RunFigure("loss", "CTC loss a character", mean, "lower", len(losses), 3, 1.0, trained),
        RunFigure("cer", "CER of its own head %", wrong / total, "lower", len(losses), 1, 100.0, trained),
    ]


def _head_of(run: Trial, model: Codec) -> CtcLoss | None:
    """The run's loss ``ctc`` with what it learned."""
    found = [name for name, o in run.config.losses.items() if typed_options(name, o)["type"] == "ctc"]
    if not found or run.heads is None or not run.heads.is_file():
        return None
    name = found[0]
    options = {key: value for key, value in run.config.losses[name].items() if key != "weight"}
    width = model.config.network.latent_dim
    loss = build_loss(name, options, LossContext(model.sample_rate, width, model.num_codebooks))
    learned = load_file(run.heads)
    loss.load_state_dict({k.removeprefix(f"{name}."): v for k, v in learned.items() if k.startswith(f"{name}.")})
    assert isinstance(loss, CtcLoss)
    return loss.eval()


@torch.no_grad()
def _scores(head: CtcLoss, model: Codec, wav: Tensor) -> Tensor:
    """``(1, T, labels)`` of a recording ``(samples,)``, padded to whole frames as in training."""
    latent = model.encoder.whole(F.pad(wav, (0, -len(wav) % model.hop_length)).unsqueeze(0))
    if head.attach != "latent":
        codes = model.quantizer.encode(latent)
        latent = model.quantizer.decode(codes[:, : head.layers])
    return head.head(latent.transpose(1, 2), torch.tensor([latent.shape[2]]))


def _perplexity(codes: Sequence[Tensor]) -> float:
    """Exponential of the entropy of the first layer's codes, of ``codes (1, K, T)`` each."""
    _, counts = np.unique(torch.cat([one[0, 0] for one in codes]).numpy(), return_counts=True)
    shares = counts / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
