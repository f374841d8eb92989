"""What every layout offers, and layouts by name."""

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor

from codec.atomic import atomic_file
from codec.config import from_dict, to_dict
from codec.errors import CodecError
from codec.registry import Registry
from codec.tokens.layouts.vocabulary import SPECIALS, AudioVocab, IdRange

VOCAB_FILE = "audio_vocab.json"
FORMAT = "codec-audio-vocab"
VERSION = 1
PATTERN = "<|s{q}_{i}|>"
"""Text of the token of code i of codebook q."""


class StreamDecoder(Protocol):
    """Ids of one sequence, as a language model makes them, to frames."""

    def decode_stream(self, number: Any, /) -> Tensor | None:
        """What one more id (of layouts with K streams: the K ids of one more step) completes.

        Returns:
            Codes ``(K, n)``, n being 1 but for ``bpe``; or ``None``.

        Raises:
            CodecError: for an id that cannot stand here.
        """


@dataclass(frozen=True)
class Layout(ABC):
    """An order of codes ``(K, T)`` for a language model, and the ids that stand for them.

    ``decode(encode(codes))`` are the codes. A sequence that is cut short, as by a limit of length, decodes to
    the frames that are complete; what follows the special ``end`` is not read.

    Attributes:
        vocab: the codec's codes, and the first id.
    """

    name: ClassVar[str]

    vocab: AudioVocab

    @abstractmethod
    def encode(self, codes: Any) -> Any:
        """Codes ``(K, T)``, or the tokens of one clip, to ids."""

    @abstractmethod
    def decode(self, ids: Any) -> Tensor:
        """Ids to codes ``(K, T)`` int64.

        Raises:
            CodecError: for ids out of range or in an order that no codes have.
        """

    @abstractmethod
    def decoder(self) -> StreamDecoder:
        """A decoder of one sequence, id by id; what it returns adds up to :meth:`decode` of the ids so far."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Ids of each layer."""
        return self.vocab.codebook_sizes

    @cached_property
    def ids(self) -> IdRange:
        """The ids that the layout uses."""
        return IdRange(self.vocab.base, self.widths)

    @property
    def size(self) -> int:
        """How many ids the layout adds to a vocabulary."""
        return self.ids.size

    @property
    def num_codebooks(self) -> int:
        return self.vocab.num_codebooks

    def tokens(self) -> list[str]:
        """Text of every id, in order from ``base``."""
        codes = [PATTERN.format(q=q, i=i) for q, width in enumerate(self.widths) for i in range(width)]
        return codes + [f"<|speech_{name}|>" for name in SPECIALS]

    def at(self, base: int) -> "Layout":
        """The same layout with its ids from ``base`` on."""
        return dataclasses.replace(self, vocab=dataclasses.replace(self.vocab, base=base))

    def save(self, path: str | Path) -> None:
        """Write ``audio_vocab.json``, into a folder or by the name of the file.

        Raises:
            CodecError: when it cannot be written.
        """
        path = Path(path) / VOCAB_FILE if Path(path).is_dir() else Path(path)
        text = json.dumps(self.to_json(), indent=2)
        with atomic_file(path) as file:
            file.write(f"{text}\n".encode())

    def to_json(self) -> dict[str, Any]:
        """What ``audio_vocab.json`` holds; docs/llm.md lists the keys."""
        values = to_dict(self)
        vocab = values.pop("vocab")
        return {
            "format": FORMAT,
            "version": VERSION,
            "layout": self.name,
            "parameters": values,
            **vocab,
            "num_codebooks": self.num_codebooks,
            "frame_rate": self.vocab.frame_rate,
            "layer_offsets": list(self.ids.offsets[:-1]),
            "special_ids": self.ids.specials,
            "size": self.size,
        }


_LAYOUTS: Registry[type[Layout]] = Registry("layout", "codec.tokens.layouts")


def layout(name: str) -> Callable[[type[Layout]], type[Layout]]:
    """Class decorator: register a :class:`Layout`."""

    def add(cls: type[Layout]) -> type[Layout]:
        cls.name = name
        return _LAYOUTS.register(name)(cls)

    return add


def layout_names() -> list[str]:
    """All layouts."""
    return sorted(_LAYOUTS)


def make_layout(name: str, vocab: AudioVocab, **parameters: Any) -> Layout:
    """A layout by name.

    Args:
        parameters: the layout's own settings, see docs/llm.md.

    Raises:
        CodecError: for an unknown name or setting.
    """
    return _make(name, vocab, parameters)


def _make(name: str, vocab: AudioVocab, parameters: Any) -> Layout:
    """The same of what a file holds, whose keys may be any."""
    cls = _LAYOUTS.find(name)
    if not isinstance(parameters, dict):
        raise CodecError(f"layout {name}: parameters must be a mapping, got {parameters!r}")
    if "vocab" in parameters:
        raise CodecError(f"layout {name}: unknown key 'vocab'")
    return from_dict(cls, {"vocab": vocab, **parameters}, where=f"layout {name}")


def load_layout(path: str | Path) -> Layout:
    """The layout of an ``audio_vocab.json``, or of the folder that holds one.

    Raises:
        CodecError: for a file that is missing, damaged, of another version, or contradicts itself.
    """
    path = Path(path) / VOCAB_FILE if Path(path).is_dir() else Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CodecError(f"{path}: no such vocabulary; layout.save(path) writes one") from None
    except (OSError, ValueError) as error:
        raise CodecError(f"{path}: cannot be read as a vocabulary ({error})") from None
    try:
        return layout_of(values)
    except CodecError as error:
        raise CodecError(f"{path}: {error}") from None


def layout_of(values: Any) -> Layout:
    """The layout whose :meth:`Layout.to_json` gave ``values``.

    Raises:
        CodecError: as :func:`load_layout`.
    """
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise CodecError(f"no vocabulary of audio: expected format {FORMAT!r}")
    if values.get("version") != VERSION:
        raise CodecError(f"version {values.get('version')!r} of the vocabulary is unknown; update codec to read it")
    names = [field.name for field in dataclasses.fields(AudioVocab)]
    vocab = from_dict(AudioVocab, {name: values[name] for name in names if name in values})
    made = _make(str(values.get("layout")), vocab, values.get("parameters", {}))
    changed = [name for name, value in made.to_json().items() if value != values.get(name)]
    if changed or values.keys() - made.to_json().keys():
        names = changed or sorted(values.keys() - made.to_json().keys())
        raise CodecError(f"{', '.join(names)}: does not fit the rest of the vocabulary; write it again")
    return made


def check_layers(given: Sequence[int], layers: int, name: str) -> None:
    """Raise a :class:`CodecError` unless there is a number, 0 or more, for each layer."""
    if len(given) != layers or any(type(number) is not int or number < 0 for number in given):
        raise CodecError(f"{name} must be {layers} whole numbers, 0 or more, got {list(given)}")
