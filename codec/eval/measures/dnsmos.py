"""DNSMOS P.835 by the package ``speechmos``, which carries the ONNX models."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from codec.eval.measures.base import Column, Measure
from codec.eval.measures.registry import measure
from codec.eval.types import SCORING_RATE, Pair


@measure("dnsmos")
class Dnsmos(Measure):
    """DNSMOS P.835 overall quality (Reddy et al. 2022), without reference: 1 to 5."""

    columns = (Column("dnsmos", "DNSMOS", True),)
    packages = ("speechmos", "onnxruntime", "librosa")
    resembles = ("dnsmos",)
    intrusive = False

    def __call__(self, pair: Pair) -> dict[str, float]:
        scores = _model()(np.clip(pair.output, -1.0, 1.0), SCORING_RATE, False)
        return {
            "dnsmos": float(scores["ovrl_mos"]),
            "dnsmos_signal": float(scores["sig_mos"]),
            "dnsmos_background": float(scores["bak_mos"]),
            "dnsmos_p808": float(scores["p808_mos"]),
        }


@lru_cache(maxsize=1)
def _model() -> Any:
    import onnxruntime
    from speechmos import dnsmos

    folder = Path(dnsmos.__file__).parent / "dnsmos_models"
    primary, p808 = str(folder / "sig_bak_ovr.onnx"), str(folder / "model_v8.onnx")
    model = dnsmos.DNSMOS(primary, p808)
    # speechmos lets each session take all cores; workers that share them would only get slower.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model.onnx_sess = onnxruntime.InferenceSession(primary, options)
    model.p808_onnx_sess = onnxruntime.InferenceSession(p808, options)
    return model
