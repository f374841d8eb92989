"""Models by the settings of a config, and their folders."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.atomic import atomic_file
from codec.config import from_dict, to_dict
from codec.errors import CodecError
from codec.lm.aligned import AlignedLm
from codec.lm.base import SpeechLm
from codec.lm.characters import Characters
from codec.lm.config import LmConfig, SizeConfig
from codec.lm.grid import GridLm
from codec.lm.phones import Phones
from codec.lm.pieces import Pieces
from codec.lm.sequence import SequenceLm
from codec.lm.tts import TtsLm
from codec.tokens.layouts import AudioVocab, Flat, Layout, SemanticFirst, extend_model, load_layout

ABOUT = "lm.json"
_FORMAT = "codec-lm"


@dataclass(frozen=True)
class About:
    """What ``lm.json`` says beyond the layout.

    Attributes:
        codec: name or folder of the codec of the tokens.
        characters: that a model of tts has learned.
        phones: of one that reads phones.
        reads_text: whether a causal model reads text before speech.
    """

    kind: str
    codec: str
    size: SizeConfig
    characters: str = ""
    phones: tuple[str, ...] = ()
    reads_text: bool = False
    format: str = _FORMAT
    version: int = 1


def build_lm(config: LmConfig, pieces: Pieces) -> SpeechLm:
    """The model that a config asks for, untrained but for its base.

    Raises:
        CodecError: for a base that cannot be read, or has our tokens already.
    """
    if config.base is not None:
        return _extend(config, pieces.vocab)
    if config.task == "tts":
        texts = [piece.text for piece in pieces.train if piece.text]
        if config.align:
            symbols = Phones.of(texts) if config.spelling == "phones" else Characters.of(texts)
            folder = Path(config.output)
            return AlignedLm.build(
                config.size, SemanticFirst(pieces.vocab), symbols, pieces.train, folder, config.resume
            )
        return TtsLm(config.size, SemanticFirst(pieces.vocab), Characters.of(texts))
    if config.layout == "delay":
        return GridLm.build(config.size, GridLm.layout_of(pieces.vocab))
    return SequenceLm.build(config.size, pieces.vocab)


def _extend(config: LmConfig, vocab: AudioVocab) -> SequenceLm:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert config.base is not None
    if not (Path(config.base) / "config.json").is_file():
        raise CodecError(f"{config.base}: no folder of a language model; download one, and give its folder")
    try:
        tokenizer = AutoTokenizer.from_pretrained(config.base, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(config.base, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CodecError(f"{config.base}: no causal model ({' '.join(str(error).split())[:200]})") from None
    layout = extend_model(Flat(vocab, markers=True), tokenizer, model, config.seed)
    return SequenceLm(_lora(model, config), layout, tokenizer, config.task == "tts")


def _lora(model: Any, config: LmConfig) -> Any:
    if not config.lora.rank:
        return model
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise CodecError("lora needs the package peft; pip install 'codec[lm]', or set lora.rank=0") from None
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    settings = LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        target_modules=list(config.lora.modules),
        # New rows of embeddings have to be learned whole.
        modules_to_save=["embed_tokens"] if tied else ["embed_tokens", "lm_head"],
        # peft learns a copy of the table, which a tied head would not follow.
        ensure_weight_tying=tied,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, settings)
    except ValueError as error:
        raise CodecError(f"lora.modules: {' '.join(str(error).split())[:200]}") from None


def save_lm(lm: SpeechLm, config: LmConfig, folder: Path) -> None:
    """Write a model, its vocabulary and ``lm.json``; low-rank updates are merged into their model first."""
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(lm.module, "merge_and_unload"):
        lm.module = lm.module.merge_and_unload()
    lm.save(folder)
    lm.layout.save(folder)
    characters = lm.characters.known if isinstance(lm.characters, Characters) else ""
    phones = lm.characters.known if isinstance(lm.characters, Phones) else ()
    reads_text = isinstance(lm, SequenceLm) and lm.reads_text
    about = About(lm.kind, config.codec, config.size, characters, phones, reads_text)
    with atomic_file(folder / ABOUT) as file:
        file.write((json.dumps(to_dict(about), indent=1, ensure_ascii=False) + "\n").encode())


def load_lm(folder: Path) -> tuple[SpeechLm, About]:
    """What :func:`save_lm` wrote, ready to speak.

    Raises:
        CodecError: for another folder, or a damaged one.
    """
    try:
        values = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CodecError(f"{folder}: no {ABOUT} that can be read; give OUTPUT/export of codec lm train") from None
    about = from_dict(About, values, ABOUT)
    if about.format != _FORMAT or about.version != 1:
        raise CodecError(f"{folder}: {ABOUT} is of another format or version; update codec to read it")
    lm = _load(folder, about, load_layout(folder))
    lm.module.eval().requires_grad_(False)
    return lm, about


def _load(folder: Path, about: About, layout: Layout) -> SpeechLm:
    if about.kind == TtsLm.kind and isinstance(layout, SemanticFirst):
        return TtsLm(about.size, layout, Characters(about.characters)).load(folder)
    if about.kind == AlignedLm.kind and isinstance(layout, SemanticFirst):
        symbols = Phones(tuple(about.phones)) if about.phones else Characters(about.characters)
        return AlignedLm.load(folder, about.size, layout, symbols)
    if about.kind == GridLm.kind:
        return GridLm.build(about.size, layout).load(folder)
    if about.kind == SequenceLm.kind and isinstance(layout, Flat):
        return SequenceLm.load(folder, layout, about.reads_text)
    raise CodecError(f"{folder}: kind {about.kind!r} does not fit its vocabulary; train it again")
