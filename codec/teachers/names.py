"""What caches of features call a model, told from a config."""

from pathlib import Path

from codec.encoders.basic_pitch import NAMES, is_basic_pitch
from codec.encoders.hub import PACKAGE, teacher_id
from codec.encoders.onnx_file import is_onnx
from codec.encoders.own import CODEC, is_own, own_name
from codec.errors import CodecError
from codec.model.files import load_model
from codec.teachers.features.options import ModelName


def name_model(model: str) -> ModelName:
    """A model by its weights if it is ours, an ONNX file by its name, any other by its hub id or its folder's name."""
    if is_basic_pitch(model):
        return ModelName(NAMES[0])
    if is_own(model):
        return ModelName(_by_weights(model))
    path = Path(model)
    if is_onnx(model):
        return ModelName(path.name)
    return ModelName(teacher_id(model), here=model.startswith(PACKAGE) or path.expanduser().is_dir())


def _by_weights(model: str) -> str | None:
    try:
        name = own_name(model)
        if name is None:
            codec = load_model(model.removeprefix(CODEC), "cpu", local_files_only=True)
            name = f"codec-{codec.fingerprint}"
    except CodecError:
        # Features may be carried to a machine without the model, and are then enough.
        return None
    return name
