"""Models of this project."""

import hashlib
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.eval.systems.base import System
from codec.eval.training import Training, read_training
from codec.eval.types import Coded
from codec.model.codec import Codec
from codec.model.config import load_config
from codec.model.files import find_model, load_model


@dataclass(frozen=True)
class Ours(System):
    """A checkpoint at a number of codebooks."""

    aligned: ClassVar[bool] = True

    folder: Path
    family: str
    codebooks: int
    sample_rate: int
    device: str = "cpu"

    @property
    def label(self) -> str:
        return f"{self.family}@{self.codebooks}"

    def signature(self) -> str:
        # The fingerprint leaves the decoder out, so the files themselves are hashed.
        return f"codec {_files_digest(self.folder)} {self.codebooks} {self.device}"

    def training(self) -> Training | None:
        return read_training(self.folder)

    def model(self) -> Codec:
        """Loaded, once in each process."""
        return load_cached(self.folder, self.device)

    def code(self, clip: Clip, wav: np.ndarray) -> Coded:
        model = self.model()
        start = time.perf_counter()
        tokens = model.encode(wav, num_codebooks=self.codebooks)
        middle = time.perf_counter()
        output = model.decode(tokens)[0]
        end = time.perf_counter()
        codes = tokens.codes[0].numpy()
        return Coded(
            output.cpu().numpy(),
            self.sample_rate,
            bits=float(codes.shape[1] * model.quantizer.bits(len(codes))),
            encode_seconds=middle - start,
            decode_seconds=end - middle,
            codes=codes,
            codebook_sizes=tuple(model.quantizer.sizes[: len(codes)]),
        )


def model_systems(names: list[str], codebooks: list[int] | None, device: str = "cpu") -> list[Ours]:
    """Every model at every number of codebooks that it has (all of them when ``None``).

    Raises:
        CodecError: for a model that is not there, or a number that none of the models has.
    """
    folders = [find_model(name) for name in names]
    families = [Path(name).resolve().name for name in names]
    configs = [load_config(folder / "config.json") for folder in folders]
    most = max((config.quantizer.num_codebooks for config in configs), default=0)
    for count in codebooks or []:
        if names and not 1 <= count <= most:
            raise CodecError(f"{count} codebooks requested; {', '.join(names)} has 1 to {most}")
    systems = []
    for name, folder, family, config in zip(names, folders, families, configs, strict=True):
        available = config.quantizer.num_codebooks
        unique = family if families.count(family) == 1 else str(name)
        counts = [count for count in codebooks or [available] if count <= available]
        systems += [Ours(folder, unique, count, config.sample_rate, device) for count in counts]
    return systems


@lru_cache(maxsize=4)
def load_cached(folder: Path, device: str, engine: str = "torch") -> Codec:
    """The model of a folder, read once in each process."""
    with torch.inference_mode(False):
        return load_model(folder, device, engine)


@lru_cache(maxsize=16)
def _files_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        digest.update((folder / name).read_bytes() if (folder / name).is_file() else b"")
    return digest.hexdigest()[:16]
