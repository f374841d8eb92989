"""The same encoder with its hidden channels in another order: what another initialisation would have made.

A network computes the same with its hidden channels in any order, and training does not see the order either: from
weights in another order, the same batches lead to the same result in that order. So a permuted branch is the branch
of a permuted initialisation. It works as well as before, and yet its weights cannot be added to those of others
(Ainsworth et al. 2023, arXiv 2209.04836): the control that shows what a common start is worth.
"""

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.merging.codecs import with_tensors
from codec.model.codec import Codec
from codec.model.spectral.encoder import SpectralEncoder

_PREFIX = "encoder.backbone."
# Names of tensors whose rows, or columns, are the channels between the blocks.
_ROWS = ("embed.weight", "embed.bias", "mix.conv.weight", "mix.conv.bias", "project.weight", "project.bias", "scale")
_COLUMNS = ("expand.weight", "out.weight")
_BRANCH = "encoder.semantic.embed.weight"
_INSIDE_ROWS, _INSIDE_COLUMNS = ("expand.weight", "expand.bias"), ("project.weight",)


def permute_channels(model: Codec, seed: int) -> Codec:
    """A copy of ``model`` whose encoder's hidden channels are in a random order; what it computes stays the same.

    The channels between the blocks get one order, and those inside each block one each. Those of the blocks of
    ``semantic_layers`` keep theirs.

    Raises:
        CodecError: for an architecture whose channels are not known.
    """
    if not isinstance(model.encoder, SpectralEncoder):
        raise CodecError(f"permuted: works with the architecture spectral, not {model.config.architecture}")
    generator = torch.Generator().manual_seed(seed)
    state = {k: v for k, v in model.state_dict().items() if k.startswith(_PREFIX)}
    between = torch.randperm(len(state[f"{_PREFIX}embed.bias"]), generator=generator)
    inside = {
        name.removesuffix("expand.bias"): torch.randperm(len(tensor), generator=generator)
        for name, tensor in state.items()
        if name.endswith("expand.bias")
    }
    permuted = {name: _permute(name, tensor, between, inside) for name, tensor in state.items()}
    if model.encoder.semantic is not None:
        permuted[_BRANCH] = model.state_dict()[_BRANCH][:, between]
    return with_tensors(model, permuted)


def _permute(name: str, tensor: Tensor, between: Tensor, inside: dict[str, Tensor]) -> Tensor:
    if name.endswith(_ROWS) or "norm." in name:
        tensor = tensor[between]
    if name.endswith(_COLUMNS):
        tensor = tensor[:, between]
    hidden = next((order for prefix, order in inside.items() if name.startswith(prefix)), None)
    if hidden is not None and name.endswith(_INSIDE_ROWS):
        tensor = tensor[hidden]
    if hidden is not None and name.endswith(_INSIDE_COLUMNS):
        tensor = tensor[:, hidden]
    return tensor
