"""Models of this project computed by another engine: what, for instance, 8 bits cost in quality."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from codec.errors import CodecError
from codec.eval.systems.ours import Ours, load_cached, model_systems
from codec.eval.systems.registry import baseline, parse_number
from codec.model.codec import Codec
from codec.model.files import load_model


@baseline("engine")
@dataclass(frozen=True)
class ByEngine(Ours):
    """A checkpoint in an engine of ``codec.load``, for instance a folder of ``codec export``."""

    engine: str = "torch"

    @classmethod
    def parse(cls, argument: str) -> "ByEngine":
        name, equals, engine = argument.rpartition("=")
        name, at, count = name.partition("@")
        if not equals or not name or not engine:
            raise CodecError(
                f"baseline engine:{argument}: expected engine:MODEL=ENGINE or engine:MODEL@CODEBOOKS=ENGINE, "
                "the engine being torch, compile, onnx or a folder of codec export"
            )
        counts = [int(parse_number(count, f"engine:{name}@", 1, 64))] if at else None
        (ours,) = model_systems([name], counts)
        family = f"{ours.family}+{Path(engine).resolve().name}"
        # Checked now, not at the first clip.
        load_model(ours.folder, "cpu", engine)
        return cls(ours.folder, family, ours.codebooks, ours.sample_rate, ours.device, engine)

    def signature(self) -> str:
        files = sorted(Path(self.engine).glob("*.onnx"))
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
        return f"{super().signature()} {self.engine if not files else digest}"

    def model(self) -> Codec:
        return load_cached(self.folder, self.device, self.engine)
