"""Codecs whose files are known and whose networks do not fit ours; docs/importing.md says why."""

from codec.errors import CodecError
from codec.importing.checkpoint import Checkpoint

_SNAC = "encoder.block.1.block.0.block.1.weight"
"""The first dilated convolution, which DAC has too, but over all channels at once."""
_XCODEC2 = ("semantic_adapter.", "SemanticEncoder_module.")
"""Names of transformers, and of the original."""


def check_supported(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint of such a codec.

    Raises:
        CodecError: with the reason.
    """
    tensors = checkpoint.tensors
    if any(name.startswith(_XCODEC2) for name in tensors):
        raise CodecError(
            f"{checkpoint.path}: X-codec2 is not supported: its codes also come from a w2v-BERT encoder, which "
            "reads a spectrogram (docs/importing.md); take the model of transformers"
        )
    if _SNAC in tensors and tensors[_SNAC].shape[1] == 1:
        raise CodecError(
            f"{checkpoint.path}: SNAC is not supported: each of its codebooks has a frame rate of its own, and token "
            "files have one (docs/importing.md); take the package snac"
        )
