"""The chain: a pre-trained encoder teaches a student, the student teaches a codec; each takes what the one before wrote."""

import json

import numpy as np
import soundfile
import torch
from pretraining_runs import masked_trainer, masked_values
from student_models import distill_config, write_kinds
from training_runs import RECONSTRUCTION, run_config

from codec.eval.training import read_training
from codec.train.trainer import Trainer


def test_each_stage_takes_what_the_one_before_wrote(tmp_path):
    manifest = write_kinds(tmp_path / "data", (6, 6, 6, 6))
    encoder = masked_trainer(masked_values(tmp_path, manifest, output=str(tmp_path / "matpacpp"), max_steps=2))
    first = encoder.run().export

    teacher = {
        "features": str(tmp_path / "features"),
        "name": "matpacpp",
        "extract": {"type": "embedding", "model": str(first), "level": "clip"},
    }
    student = Trainer(distill_config(tmp_path, manifest, output=str(tmp_path / "ssondo"), teacher=teacher, max_steps=2))
    assert student.task.vectors.info.dim == encoder.task.student.dim
    second = student.run().export

    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        samples, rate = soundfile.read(tmp_path / "data" / line["path"])
        soundfile.write(tmp_path / "data" / line["path"], np.repeat(samples, 4), 4 * rate)
    music = {"kind": "embedding", "model": str(second), "attach": "rvq1", "weight": 5.0}
    changes = {"teachers": {"music": {**music, "features": str(tmp_path / "f")}}, **RECONSTRUCTION, "max_steps": 2}
    run = Trainer(run_config(tmp_path, manifest, output=str(tmp_path / "codec"), **changes))
    result = run.run()
    record = json.loads((tmp_path / "codec" / "log.jsonl").read_text().splitlines()[-1])
    assert torch.isfinite(torch.tensor(record["distill_music"])) and record["distill_music"] > 0
    # The codec says what it was taught by.
    assert any(loss.startswith("distill_") and "student" in loss for loss in read_training(result.export).losses)
