"""Orders of codes for language models, and the ids that stand for them."""

from codec.tokens.layouts.base import Layout, StreamDecoder, layout_names, load_layout, make_layout
from codec.tokens.layouts.bpe import Bpe, train_bpe
from codec.tokens.layouts.extend import extend_model
from codec.tokens.layouts.flat import CoarseFirst, Flat
from codec.tokens.layouts.grid import Delay, Parallel
from codec.tokens.layouts.semantic import SemanticFirst, SemanticParts
from codec.tokens.layouts.text import Text
from codec.tokens.layouts.vocabulary import SPECIALS, AudioVocab

__all__ = [
    "SPECIALS",
    "AudioVocab",
    "Bpe",
    "CoarseFirst",
    "Delay",
    "Flat",
    "Layout",
    "Parallel",
    "SemanticFirst",
    "SemanticParts",
    "StreamDecoder",
    "Text",
    "extend_model",
    "layout_names",
    "load_layout",
    "make_layout",
    "train_bpe",
]
