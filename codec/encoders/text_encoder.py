"""A transformers text encoder over texts of any length: states by sub-word, cut at word boundaries."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from codec.encoders.hub import load_pretrained
from codec.encoders.layers import choose_layers
from codec.errors import CodecError


@dataclass(frozen=True)
class TextStates:
    """States of one text.

    Attributes:
        states: ``(N, D)`` float32, one row per sub-word, without special tokens.
        rows: for each word, its rows; empty for a word that the tokenizer drops.
        sentence: ``(D,)`` float32, state of the first token ([CLS]); the mean over pieces of a text
            that is longer than the model's window.
    """

    states: Tensor
    rows: list[range]
    sentence: Tensor


class TextEncoder:
    """BERT, ELECTRA, RoBERTa, MiniLM and other encoders with a fast tokenizer."""

    def __init__(self, model: str, layer: str | int | list[int], device: str):
        from transformers import AutoModel, AutoTokenizer

        self._model = load_pretrained(AutoModel, model, dtype=torch.float32)
        self._model = self._model.eval().requires_grad_(False).to(device)
        config = self._model.config
        if config.is_encoder_decoder or not hasattr(config, "vocab_size"):
            raise CodecError(
                f"{model}: {config.model_type!r} is not a text encoder; use BERT, ELECTRA, RoBERTa, MiniLM"
            )
        self._tokenizer = load_pretrained(AutoTokenizer, model, add_prefix_space=True)
        if not self._tokenizer.is_fast:
            raise CodecError(f"{model}: it has no fast tokenizer, which is needed to map sub-words to words")
        self._layers = choose_layers(layer, config.num_hidden_layers)
        self.dim, self.layer = config.hidden_size, self._layers.name
        # RoBERTa's positions begin after its padding id.
        positions = config.max_position_embeddings
        if config.model_type in ("roberta", "xlm-roberta", "camembert"):
            positions -= config.pad_token_id + 1
        self.window = min(self._tokenizer.model_max_length, positions)

    def encode(self, texts: list[list[str]]) -> list[TextStates]:
        """States of texts given as lists of words, each independent of the others."""
        pieces = [(number, piece) for number, words in enumerate(texts) for piece in self._cut(words)]
        results: list[list[TextStates]] = [[] for _ in texts]
        for (number, _), states in zip(pieces, self._run([piece for _, piece in pieces]), strict=True):
            results[number].append(states)
        return [_join(parts) for parts in results]

    def padded(self, words: list[str], length: int) -> Tensor:
        """``(length, D)``: all tokens of a text, specials first and last, then padding states.

        What DM-Codec's released code pairs with frames: the text is cut at ``length`` tokens.
        """
        inputs = self._tokenizer(
            words,
            is_split_into_words=True,
            padding="max_length",
            truncation=True,
            max_length=length,
            return_tensors="pt",
        )
        return self._states(inputs)[0]

    def _cut(self, words: list[str]) -> list[list[str]]:
        """Pieces whose tokens fit the window; a single word that does not is cut by the tokenizer."""
        if not words:
            return [[]]
        limit = self.window - self._tokenizer.num_special_tokens_to_add()
        lengths = [0] * len(words)
        encoded = self._tokenizer(words, is_split_into_words=True, add_special_tokens=False, verbose=False)
        for word in encoded.word_ids():
            lengths[word] += 1
        pieces: list[list[str]] = [[]]
        used = 0
        for word, length in zip(words, lengths, strict=True):
            if used + length > limit and pieces[-1]:
                pieces.append([])
                used = 0
            pieces[-1].append(word)
            used += length
        return pieces

    def _run(self, pieces: list[list[str]]) -> list[TextStates]:
        inputs = self._tokenizer(
            pieces,
            is_split_into_words=True,
            padding=True,
            truncation=True,
            max_length=self.window,
            return_tensors="pt",
        )
        output = self._states(inputs)
        results = []
        for number, words in enumerate(pieces):
            owners = inputs.word_ids(number)
            tokens = [token for token, word in enumerate(owners) if word is not None]
            counts = [0] * len(words)
            for token in tokens:
                counts[owners[token]] += 1
            results.append(TextStates(output[number, tokens], _ranges(counts), output[number, 0]))
        return results

    @torch.inference_mode()
    def _states(self, inputs: Any) -> Tensor:
        device = next(self._model.parameters()).device
        output = self._model(**inputs.to(device), output_hidden_states=True)
        return self._layers.combine(output.hidden_states).cpu()


def _ranges(counts: list[int]) -> list[range]:
    """Consecutive ranges of the given lengths."""
    ranges, start = [], 0
    for count in counts:
        ranges.append(range(start, start + count))
        start += count
    return ranges


def _join(parts: list[TextStates]) -> TextStates:
    rows = _ranges([len(word_rows) for part in parts for word_rows in part.rows])
    sentence = torch.stack([part.sentence for part in parts]).mean(dim=0)
    return TextStates(torch.cat([part.states for part in parts]), rows, sentence)
