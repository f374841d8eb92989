"""The trainer without a codec: another task learns, stops, resumes bit for bit, logs and exports."""

import itertools
import json
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from codec.cli.train import main
from codec.config import from_dict
from codec.errors import CodecError
from codec.train.checkpoint import list_checkpoints, read_checkpoint
from codec.train.tasks import RunConfig, Task, config_class, task
from codec.train.trainer import Trainer, seed_step


@dataclass(frozen=True)
class LineConfig(RunConfig):
    """A line through noisy points."""

    task: str = "line"
    slope: float = 3.0
    pace: int = 1


@task("line")
class Line(Task):
    """Fits ``y = slope x + 1``; inputs are dropped out by global random draws."""

    Config = LineConfig
    free_settings = frozenset({"pace"})

    def __init__(self, config, accelerator):
        self.config, self.model = config, nn.Linear(1, 1)
        self.drop = nn.Dropout(0.2)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1, momentum=0.5)

    def loader(self, start, stop):
        return nullcontext(
            torch.randn(8, 1, generator=torch.Generator().manual_seed(s)) for s in range(start, stop)
        )

    def step(self, batch, step):
        loss = (self.model(self.drop(batch)) - self.config.slope * batch - 1).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"error": loss.detach()}

    def tensors(self):
        momenta = {
            str(i): self.optimizer.state[p]["momentum_buffer"] for i, p in enumerate(self.model.parameters())
        }
        return {"line": self.model.state_dict(), "momenta": momenta}

    def load(self, parts):
        self.model.load_state_dict(parts["line"])
        for number, parameter in enumerate(self.model.parameters()):
            self.optimizer.state[parameter]["momentum_buffer"] = parts["momenta"][str(number)]

    def export(self, folder):
        folder.mkdir(exist_ok=True)
        (folder / "line.json").write_text(json.dumps([p.item() for p in self.model.parameters()]))

    def data_facts(self):
        return {"points": 8}


def config(folder, **changes):
    values = {"max_steps": 30, "log_every": 5, "sample_every": 0, "tracker": "none", **changes}
    return LineConfig(output=str(folder), **values)


def final(folder):
    return read_checkpoint(list_checkpoints(folder / "checkpoints")[-1])


def test_another_task_trains_with_the_same_trainer(tmp_path):
    result = Trainer(config(tmp_path, max_steps=200)).run()
    slope, offset = json.loads((result.export / "line.json").read_text())
    # Dropped inputs pull the slope down a little, as a weight decay does.
    assert 2.0 < slope < 3.2 and 0.5 < offset < 1.5
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(5, 201, 5))
    assert records[-1]["error"] < 0.5 * records[0]["error"]


def test_a_resumed_run_of_another_task_equals_an_uninterrupted_one(tmp_path):
    Trainer(config(tmp_path / "whole")).run()
    Trainer(config(tmp_path / "parts")).run(until=13)
    torch.rand(7)  # Whatever else a new process draws.
    resumed = Trainer(config(tmp_path / "parts", resume=True, pace=2))
    assert resumed.step == 13
    resumed.run()
    whole, parts = final(tmp_path / "whole"), final(tmp_path / "parts")
    assert whole.step == parts.step == 30
    for part, tensors in whole.parts.items():
        for name, value in tensors.items():
            assert torch.equal(value, parts.parts[part][name]), f"{part}: {name}"


def test_draws_depend_on_seed_step_and_process_alone():
    def draws(*where):
        seed_step(*where)
        return tuple(torch.rand(3).tolist())

    places = list(itertools.product((0, 1), (0, 1, 2), (0, 1)))
    assert len({draws(*place) for place in places}) == len(places)
    assert [draws(*place) for place in places] == [draws(*place) for place in places]


def test_a_run_of_another_seed_draws_otherwise(tmp_path):
    weights = []
    for seed in (0, 0, 1):
        folder = tmp_path / str(len(weights))
        trainer = Trainer(config(folder, seed=seed, max_steps=3))
        nn.init.zeros_(trainer.task.model.weight)
        nn.init.zeros_(trainer.task.model.bias)
        trainer.run()
        weights.append(trainer.task.model.weight.item())
    assert weights[0] == weights[1] != weights[2]


def test_another_tasks_settings_are_checked_on_resume(tmp_path):
    Trainer(config(tmp_path)).run(until=2)
    with pytest.raises(CodecError, match=r"of another run: slope was 3\.0 and is now 2\.0"):
        Trainer(config(tmp_path, resume=True, slope=2.0))


def test_a_task_that_cannot_start_from_another_run_says_so(tmp_path):
    with pytest.raises(CodecError, match="init_from x: a run of this task cannot start from another"):
        Trainer(config(tmp_path, init_from="x"))


def test_the_config_names_the_task(tmp_path):
    assert config_class({"task": "line"}) is LineConfig
    assert config_class({}).__name__ == "TrainConfig"
    with pytest.raises(
        CodecError, match="config task: unknown task 'lines'; did you mean 'line'. known: .*codec"
    ):
        config_class({"task": "lines"})
    with pytest.raises(CodecError, match="config max_steps: expected at least 1"):
        from_dict(LineConfig, {"max_steps": 0})


def test_the_command_trains_any_task(tmp_path):
    path = tmp_path / "line.yaml"
    path.write_text(f"task: line\noutput: {tmp_path / 'run'}\nmax_steps: 5\ntracker: none\nslope: 1.0\n")
    assert main("Train.", arguments=["--config", str(path), "max_steps=4"]) == 0
    assert final(tmp_path / "run").step == 4


def test_the_trainer_imports_nothing_of_codecs():
    code = "import sys, codec.train.trainer; print([m for m in sys.modules if m.startswith('codec.')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not [
        name for name in ("codec.model", "codec.quantizers", "codec.train.losses") if f"'{name}" in found
    ]
