"""All settings of ``codec lm train``, read from one YAML file."""

import math
from dataclasses import dataclass, field
from typing import Literal

from codec.errors import CodecError


@dataclass(frozen=True)
class SizeConfig:
    """A Llama of random weights; of no effect with ``base``."""

    dim: int = 256
    """Width of the layers."""
    layers: int = 4
    heads: int = 4
    feed_forward: int = 1024
    """Units between the two matrices of a layer."""

    def __post_init__(self) -> None:
        if min(self.dim, self.layers, self.heads, self.feed_forward) < 1 or self.dim % (2 * self.heads):
            raise CodecError("config size: all must be 1 or more, and dim a multiple of 2 * heads")


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank updates of a ``base`` (Hu et al. 2022), merged into it at the end; embeddings train in full."""

    rank: int = 8
    """0 trains all weights."""
    alpha: int = 16
    modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Names of the linear layers that get updates."""


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with warm-up and a cosine decay to 0, as transformers' Trainer has them."""

    lr: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    batch_size: int = 8
    """Sequences of a step, of each process."""
    accumulate: int = 1
    """Batches whose gradients are added up before a step."""


@dataclass(frozen=True)
class SamplingConfig:
    """How ids are drawn when the model speaks."""

    temperature: float = 0.9
    """0 takes the most probable id."""
    top_k: int = 50
    """Draw from this many of the most probable ids; 0: from all."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf or self.top_k < 0:
            raise CodecError("temperature and top_k must be 0 or more, and finite")


@dataclass(frozen=True)
class LmConfig:
    """A language model on a corpus of tokens."""

    task: Literal["continuation", "tts"] = "continuation"
    """continuation: speech goes on; tts: text is read out, codebook 1 first, then the others (VALL-E)."""
    corpus: str = "corpus"
    """Folder of codec tokenize."""
    speakers: str = ""
    """Only clips of speakers whose name begins so; all by default."""
    test_corpus: str | None = None
    """Another corpus of the same codec to measure on; by default clips of the corpus are held out."""
    output: str = "runs/lm"
    """Folder for checkpoints, the model (export) and report.json."""
    codec: str = "default"
    """The codec of the tokens, which codec lm generate loads."""
    layout: Literal["flat", "delay"] = "flat"
    """Order of the codes, see docs/llm.md; tts has its own unless a base is given."""
    codebooks: int | None = None
    """First codebooks to learn; all by default."""
    base: str | None = None
    """Folder of a causal language model of transformers that is extended by the tokens; flat layout."""
    align: bool = False
    """tts: learn from the tokens when each symbol is spoken, and show the first stage its place in the text."""
    spelling: Literal["characters", "phones"] = "characters"
    """What a text is to tts with align; phones are those of CMU's dictionary, US English."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    size: SizeConfig = field(default_factory=SizeConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    max_frames: int = 500
    """Longer clips are cut into pieces of this many frames; tts leaves them out."""
    held_out: float = 0.05
    """Share of the clips, drawn by a hash of their ids, that is measured on and not trained on."""
    max_test_clips: int = 200
    """Limit on the clips that are measured on."""
    order: int = 4
    """Of the longest n-gram in the report, 2 or more."""
    max_steps: int = 1000
    save_every: int = 250
    """Steps between checkpoints."""
    log_every: int = 50
    measure_every: int = 0
    """Steps between lines of curve.jsonl, held-out bits on 40 pieces; 0: none."""
    seed: int = 0
    device: str = "auto"
    """auto or cpu; auto takes a GPU where there is one."""
    bf16: bool = False
    """Compute in bfloat16; weights and optimizer stay float32."""
    resume: bool = False
    """Go on from the newest checkpoint in output."""

    def __post_init__(self) -> None:
        for name in ("max_frames", "max_test_clips", "max_steps", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise CodecError(f"config {name}: expected at least 1, got {getattr(self, name)}")
        if not 0 < self.held_out < 1:
            raise CodecError(f"config held_out: expected a share between 0 and 1, got {self.held_out:g}")
        if self.order < 2:
            raise CodecError(f"config order: expected 2 or more, got {self.order}")
        if self.base is not None and self.layout != "flat":
            raise CodecError("config layout: a base reads one sequence of ids; take flat")
        if self.align and (self.task != "tts" or self.base is not None):
            raise CodecError("config align: is for task tts without a base")
        if self.spelling != "characters" and not self.align:
            raise CodecError("config spelling: phones need align=true")
