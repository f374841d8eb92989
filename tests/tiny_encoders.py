"""Tiny ONNX files and a MERT for tests of encoders, and functions that behave well and badly."""

import json
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers
from onnx import TensorProto, helper, numpy_helper
from tiny_teachers import save_hubert

HOP = 160


def save_onnx(file: Path, frames: bool, window: int | str = "n", inputs: int = 1) -> str:
    """Samples ``(B, n)`` to 4 numbers for each hop of 160: their sums through cosines; or their mean.

    Extra inputs of samples are added to the first one.
    """
    basis = np.cos(np.outer(np.arange(HOP), np.arange(1, 5)) / HOP).astype(np.float32)
    names = [f"wav{number}" for number in range(inputs)]
    nodes, source = [], names[0]
    if inputs > 1:
        nodes, source = [helper.make_node("Sum", names, ["sum"])], "sum"
    nodes += [
        helper.make_node("Reshape", [source, "shape"], ["rows"]),
        helper.make_node("MatMul", ["rows", "basis"], ["frames"]),
        helper.make_node("ReduceMean", ["frames", "axes"], ["vector"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, window]) for name in names],
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, "t", 4])]
        if frames
        else [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, 4])],
        [
            numpy_helper.from_array(basis, "basis"),
            numpy_helper.from_array(np.array([1, -1, HOP]), "shape"),
            numpy_helper.from_array(np.array([1]), "axes"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), file)
    return str(file)


def save_musicnn(folder: Path) -> str:
    """A file of musicnn's name and interface; ``mid`` mixes each frame with neighbours 60 frames away."""
    rng = np.random.default_rng(0)
    kernel = np.zeros((753, 96, 121), np.float32)
    kernel[:, :, [0, 60, 120]] = rng.standard_normal((753, 96, 3)) * [0.01, 0.1, 0.01]
    pool = (0.1 * rng.standard_normal((753, 200))).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["logmel"], ["bands"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["bands", "kernel"], ["mixed"], pads=[60, 60]),
        helper.make_node("Transpose", ["mixed"], ["mid"], perm=[0, 2, 1]),
        helper.make_node("ReduceMax", ["mid", "axes"], ["highest"], keepdims=0),
        helper.make_node("MatMul", ["highest", "pool"], ["penultimate"]),
        helper.make_node("MatMul", ["penultimate", "tagger"], ["odds"]),
        helper.make_node("Sigmoid", ["odds"], ["tags"]),
    ]
    graph = helper.make_graph(
        nodes,
        "musicnn",
        [helper.make_tensor_value_info("logmel", TensorProto.FLOAT, ["B", "T", 96])],
        [
            helper.make_tensor_value_info("mid", TensorProto.FLOAT, ["B", "T", 753]),
            helper.make_tensor_value_info("penultimate", TensorProto.FLOAT, ["B", 200]),
            helper.make_tensor_value_info("tags", TensorProto.FLOAT, ["B", 50]),
        ],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(pool, "pool"),
            numpy_helper.from_array(pool[:200, :50], "tagger"),
            numpy_helper.from_array(np.array([1]), "axes"),
        ],
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "msd_musicnn.onnx")
    return str(folder)


def save_mert(folder: Path, rate: int = 24_000, **settings) -> str:
    """A HuBERT whose files say that it is a MERT: another type, and the sample rate in both of them."""
    save_hubert(folder)
    for name, changes in (
        ("config.json", {"model_type": "mert_model", "architectures": ["MERTModel"], "sample_rate": rate, **settings}),
        ("preprocessor_config.json", {"sampling_rate": rate}),
    ):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**values, **changes}))
    return str(folder)


def save_wav2vec_bert(folder: Path) -> str:
    """Wav2Vec2-BERT: log-mel frames in pairs, 50 a second."""
    torch.manual_seed(0)
    config = transformers.Wav2Vec2BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        feature_projection_input_dim=160, vocab_size=4,
    )  # fmt: skip
    transformers.Wav2Vec2BertModel(config).save_pretrained(folder)
    transformers.SeamlessM4TFeatureExtractor(feature_size=80, stride=2).save_pretrained(folder)
    return str(folder)


def save_ast(folder: Path) -> str:
    """An Audio Spectrogram Transformer of 1 s, which has patches and no frames."""
    torch.manual_seed(0)
    config = transformers.ASTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_length=100, num_mel_bins=32,
    )  # fmt: skip
    transformers.ASTModel(config).save_pretrained(folder)
    transformers.ASTFeatureExtractor(max_length=100, num_mel_bins=32).save_pretrained(folder)
    return str(folder)


def good_frames(wav: torch.Tensor) -> np.ndarray:
    """``(n // 160, 2)``: mean and energy of each hop."""
    rows = wav[: len(wav) // HOP * HOP].reshape(-1, HOP)
    return torch.stack([rows.mean(dim=1), rows.square().mean(dim=1)], dim=1).numpy()


def good_vector(wav: torch.Tensor) -> torch.Tensor:
    """``(2,)``: mean and energy of the clip."""
    return torch.stack([wav.mean(), wav.square().mean()])


def nan_frames(wav: torch.Tensor) -> np.ndarray:
    """One frame of the longer clips is no number."""
    frames = good_frames(wav)
    if len(wav) > 50_000:
        frames[3] = np.nan
    return frames


def raising(wav: torch.Tensor) -> torch.Tensor:
    """It needs another input."""
    raise KeyError("input_ids")


_CALLS: list[int] = []


def shrinking(wav: torch.Tensor) -> np.ndarray:
    """Gives a frame less each second time."""
    _CALLS.append(len(wav))
    return good_frames(wav)[_CALLS.count(len(wav)) - 1 :]


def noisy(wav: torch.Tensor) -> np.ndarray:
    """A model with its dropout left on."""
    return good_frames(wav) * np.random.default_rng().uniform(0.5, 2.0)
