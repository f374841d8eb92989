"""``codec corpus export``: which layout, which vocabulary, which form."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from codec.console import counted
from codec.corpora.durable import make_folder
from codec.corpora.exports.rows import Row, open_corpus, shard_rows, vocab_sizes
from codec.corpora.exports.writers import WRITERS, Example, Shards, write_megatron, write_parquet
from codec.corpora.plan import Plan
from codec.corpora.remote import Folder
from codec.errors import CodecError
from codec.progress import ProgressBar
from codec.tokens.layouts.base import VOCAB_FILE, Layout, load_layout, make_layout
from codec.tokens.layouts.flat import SequenceLayout
from codec.tokens.layouts.text import Text
from codec.tokens.layouts.vocabulary import AudioVocab

_SEQUENCES = ("parquet", "megatron")
"""Forms that hold one sequence of ids for each utterance."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Settings of ``codec corpus export``."""

    format: Literal["parquet", "megatron", "webdataset", "jsonl"] = "parquet"
    """parquet: input_ids, attention_mask, labels; megatron: .bin and .idx; webdataset: tars; jsonl."""
    layout: str | None = None
    """Order of the codes (docs/llm.md); by default flat where the form needs one, else codes as they are."""
    vocab: str | None = None
    """An audio_vocab.json, in place of --layout, --codebooks and --base."""
    codebooks: int | None = None
    """First codebooks to take; all by default."""
    base: int = 0
    """First id of the audio in the language model's vocabulary."""
    tokenizer: str | None = None
    """A folder with a tokenizer of transformers: its ids of the text come first, with labels of -100."""


def export_corpus(config: ExportConfig, corpus: Folder, output: Path) -> int:
    """Write a finished corpus in another form; the number of utterances.

    Raises:
        CodecError: when shards are missing, the vocabulary is of another codec, or the layout does not fit the form.
    """
    plan = open_corpus(corpus)
    layout = layout_for(config, plan)
    tokenizer = load_tokenizer(config, layout)
    make_folder(output)
    if strange := sorted(path.name for path in output.iterdir() if path.suffix != ".part"):
        raise CodecError(f"{output}: holds {strange[0]} already; choose an empty folder")
    count = 0

    def examples(shard: int) -> Iterator[Example]:
        nonlocal count
        layers = layout.num_codebooks if layout is not None else config.codebooks
        for row in shard_rows(corpus, plan, shard, layers):
            count += 1
            yield example_of(row, layout, tokenizer)

    with ProgressBar("shards", len(plan.shards)) as bar:

        def shards() -> Shards:
            for shard in range(len(plan.shards)):
                yield shard, examples(shard)
                bar.advance(1, counted(count, "utterance"))

        write(config, output, shards(), layout, tokenizer)
    if layout is not None:
        layout.save(output / VOCAB_FILE)
    return count


def write(config: ExportConfig, output: Path, shards: Shards, layout: Layout | None, tokenizer: Any) -> None:
    """All files of a form but the vocabulary."""
    if config.format in WRITERS:
        WRITERS[config.format](output, shards)
    elif layout is not None and config.format == "parquet":
        write_parquet(output, shards, layout.to_json())
    elif layout is not None:
        size = max(layout.vocab.base + layout.size, len(tokenizer) if tokenizer is not None else 0)
        write_megatron(output, shards, size)


def layout_for(config: ExportConfig, plan: Plan) -> Layout | None:
    """The layout, checked against the corpus and the form; ``None`` where codes are exported as they are.

    Raises:
        CodecError: when one does not fit.
    """
    layout = _layout(config, plan)
    if layout is None:
        vocab_sizes(plan, config.codebooks)
        if config.tokenizer is not None:
            raise CodecError("a tokenizer needs a layout too; give --layout or --vocab")
        if config.base:
            raise CodecError(f"codes as they are have no ids that begin at {config.base}; give --layout too")
        return None
    layout.vocab.check_fingerprint(plan.facts.fingerprint)
    if layout.vocab.codebook_sizes != vocab_sizes(plan, layout.num_codebooks):
        raise CodecError(
            f"the vocabulary has codebooks of {list(layout.vocab.codebook_sizes)} codes, the corpus of "
            f"{list(plan.facts.codebook_sizes)}; make it of the corpus's codec"
        )
    if isinstance(layout, Text):
        raise CodecError("the layout text makes no ids; export flat, whose ids are those of the text's tokens")
    if config.format in _SEQUENCES and not isinstance(layout, SequenceLayout):
        raise CodecError(
            f"{layout.name} has {layout.num_codebooks} ids a step, {config.format} holds one sequence; "
            "take flat, coarse_first, semantic_first or bpe, or export jsonl or webdataset"
        )
    return layout


def _layout(config: ExportConfig, plan: Plan) -> Layout | None:
    if config.vocab is not None:
        if config.layout is not None or config.codebooks is not None or config.base:
            raise CodecError("--vocab says what --layout, --codebooks and --base say; leave these out")
        return load_layout(config.vocab)
    name = config.layout or ("flat" if config.format in _SEQUENCES else None)
    if name is None:
        return None
    if name == "bpe":
        raise CodecError("bpe has to be trained (docs/llm.md); give the file that it was saved in: --vocab")
    facts = plan.facts
    sizes = vocab_sizes(plan, config.codebooks)
    vocab = AudioVocab(facts.fingerprint, facts.sample_rate, facts.hop_length, sizes, config.base)
    # A model that is trained on sequences has to learn where they end; delays end by themselves.
    return make_layout(name, vocab, **({} if name == "delay" else {"markers": True}))


def load_tokenizer(config: ExportConfig, layout: Layout | None) -> Any:
    """The tokenizer, or ``None``.

    Raises:
        CodecError: when it is not there, or its tokens overlap the audio's.
    """
    if config.tokenizer is None or layout is None:
        return None
    tokenizer = _read_tokenizer(config.tokenizer)
    audio = range(layout.vocab.base, layout.vocab.base + layout.size)
    texts = layout.tokens()
    taken = [n for token, n in tokenizer.get_vocab().items() if n in audio and token != texts[n - audio.start]]
    if taken:
        raise CodecError(
            f"{config.tokenizer}: id {min(taken)} is a token of the text and of the audio, which begins at "
            f"{layout.vocab.base}; give --base {len(tokenizer)}, or the vocabulary that was saved with the model"
        )
    return tokenizer


@functools.lru_cache(maxsize=1)
def _read_tokenizer(path: str) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise CodecError("a tokenizer needs the package transformers; pip install 'codec[llm]'") from None
    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CodecError(f"{path}: no tokenizer of transformers ({' '.join(str(error).split())[:200]})") from None


def example_of(row: Row, layout: Layout | None, tokenizer: Any) -> Example:
    """Ids of an utterance, after those of its text where there is a tokenizer."""
    if layout is None:
        return Example(row, None)
    ids = layout.encode(torch.from_numpy(row.codes.astype("int64"))).numpy()
    prompt = tuple(tokenizer(row.text).input_ids) if tokenizer is not None and row.text is not None else ()
    return Example(row, ids, prompt)
