"""basic-pitch, polyphonic notes: 264 pitch contours, 88 notes or 88 onsets at 86.1 Hz."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.encoders.base import Encoder, EncoderConfig
from codec.encoders.onnx_file import open_session
from codec.errors import CodecError

NAMES = ("basic_pitch", "basic-pitch")
SAMPLE_RATE, HOP = 22_050, 256
WINDOW, FRAMES = 43_844, 172
"""Samples of the network's one window, and its frames, which are centred on multiples of the hop."""
MARGIN = 16
"""Frames at a window's ends that another window gives instead: they see its border."""
OUTPUTS = {"contour": 0, "note": 1, "onset": 2}
DIMS = {"contour": 264, "note": 88, "onset": 88}
_FILE = "saved_models/icassp_2022/nmp.onnx"


def is_basic_pitch(model: str) -> bool:
    """Whether a model's name is this one's."""
    return model in NAMES


def open_basic_pitch(config: EncoderConfig) -> Encoder:
    """basic-pitch (Bittner et al. 2022, arXiv 2203.09893) from the ONNX file inside its package.

    The package itself is never imported, so none of its requirements (TensorFlow, librosa) is needed.

    Raises:
        CodecError: when it is not installed, or for an unknown output.
    """
    output = config.output or "contour"
    if output not in OUTPUTS:
        raise CodecError(f"{config.model}: output {output!r} is none of {', '.join(OUTPUTS)}")
    spec = importlib.util.find_spec("basic_pitch")
    if spec is None or not spec.submodule_search_locations:
        raise CodecError("basic_pitch is not installed; pip install --no-deps basic-pitch==0.4.0")
    session = open_session(str(Path(spec.submodule_search_locations[0]) / _FILE))
    (input_name,) = (item.name for item in session.get_inputs())
    output_name = f"StatefulPartitionedCall:{OUTPUTS[output]}"

    def run(windows: Tensor) -> Tensor:
        (result,) = session.run([output_name], {input_name: windows.unsqueeze(2).numpy()})
        return torch.from_numpy(result)

    return Encoder(
        name="basic_pitch",
        layer=output,
        sample_rate=SAMPLE_RATE,
        rate=SAMPLE_RATE / HOP,
        offset=0.0,
        dim=DIMS[output],
        run=lambda wavs: [encode_windows(wav, run) for wav in wavs],
    )


def encode_windows(wav: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """Frames of a clip from overlapping windows, without the margins; ``1 + n // 256`` for ``(n,)`` samples.

    Args:
        wav: ``(n,)`` at 22.05 kHz.
        run: from windows ``(W, 43844)`` to frames ``(W, 172, D)``.
    """
    count = 1 + len(wav) // HOP
    kept = FRAMES - 2 * MARGIN
    num_windows = -(-count // kept)
    needed = (num_windows - 1) * kept * HOP + WINDOW
    left = MARGIN * HOP
    padded = F.pad(wav.float(), (left, max(0, needed - left - len(wav))))
    frames = [run(window[None])[0, MARGIN:-MARGIN] for window in padded.unfold(0, WINDOW, kept * HOP)[:num_windows]]
    return torch.cat(frames)[:count]
