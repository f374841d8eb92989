"""``codec lm train``: transformers' Trainer on a corpus of tokens."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.trainer import TRAINER_STATE_NAME

from codec.atomic import atomic_file
from codec.config import to_dict
from codec.console import counted, print_note
from codec.errors import CodecError
from codec.lm.base import SpeechLm
from codec.lm.config import LmConfig
from codec.lm.curve import Curve
from codec.lm.models import build_lm, save_lm
from codec.lm.pieces import Pieces, read_pieces
from codec.lm.report import measure
from codec.precision import warn_of_slow_bf16

REPORT = "report.json"
EXPORT = "export"
RUN = "run.json"
_FREE = {"resume", "device", "save_every", "log_every", "measure_every", "max_test_clips", "order"}
"""Settings that a resumed run may change: no weight depends on them."""


@dataclass(frozen=True)
class Trained:
    """What a run left.

    Attributes:
        export: folder of the model.
        report: content of ``report.json``; ``None`` where the run was stopped before its last step.
    """

    lm: SpeechLm
    export: Path
    report: dict[str, Any] | None


def train(config: LmConfig, callbacks: Sequence[Any] = ()) -> Trained:
    """Train, measure and save a model.

    Args:
        callbacks: of transformers' Trainer.

    Raises:
        CodecError: before any work, for a corpus, a base or an output folder that does not fit.
    """
    output = Path(config.output)
    checkpoint = find_checkpoint(config)
    pieces = read_pieces(config)
    check_run(config, pieces, checkpoint is not None)
    arguments = arguments_of(config)
    if arguments.device.type == "cpu":
        warn_of_slow_bf16({"bf16": config.bf16}, checkpoint is not None)
    transformers.set_seed(config.seed)
    transformers.utils.logging.disable_progress_bar()
    lm = build_lm(config, pieces)
    pieces = readable(lm, pieces)
    say_sizes(lm, pieces)
    curve = [Curve(lm, pieces, output, config.measure_every)] if config.measure_every else []
    trainer = transformers.Trainer(
        model=lm.module,
        args=arguments,
        train_dataset=pieces.train,
        data_collator=lm.collate,
        callbacks=[_Log(), *curve, *callbacks],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.state.global_step < config.max_steps:
        return Trained(lm, output / EXPORT, None)
    if trainer.is_world_process_zero():
        save_lm(lm, config, output / EXPORT)
    report = {**measure(lm, pieces, config), "steps": trainer.state.global_step, "config": to_dict(config)}
    if trainer.is_world_process_zero():
        with atomic_file(output / REPORT) as file:
            file.write((json.dumps(report, indent=1) + "\n").encode())
    return Trained(lm, output / EXPORT, report)


def find_checkpoint(config: LmConfig) -> str | None:
    """The newest whole checkpoint to resume from; one that a kill left unfinished is passed over, and written again.

    Raises:
        CodecError: when there is one that nobody asked for, or none where one was asked for.
    """
    output = Path(config.output)
    numbers = [folder.name.removeprefix("checkpoint-") for folder in output.glob("checkpoint-*")]
    folders = [output / f"checkpoint-{number}" for number in sorted(filter(str.isdecimal, numbers), key=int)]
    whole = [folder for folder in folders if _is_whole(folder)]
    for folder in folders[folders.index(whole[-1]) + 1 if whole else 0 :]:
        print_note(f"{folder}: was not finished and is passed over")
    if config.resume and not whole:
        raise CodecError(f"{output}: holds no checkpoint to resume from; leave --resume out")
    if whole and not config.resume:
        raise CodecError(f"{output}: holds {whole[-1].name} already; give --resume, or another output")
    return str(whole[-1]) if whole else None


def _is_whole(checkpoint: Path) -> bool:
    """Whether the file is there that transformers writes last."""
    try:
        return "global_step" in json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def readable(lm: SpeechLm, pieces: Pieces) -> Pieces:
    """The pieces without the held-out ones of whose texts the model knows no character.

    Raises:
        CodecError: when none is left.
    """
    symbols = lm.characters
    if symbols is None:
        return pieces
    test = [piece for piece in pieces.test if len(symbols.encode_known(piece.text or ""))]
    if not test:
        raise CodecError("no text to measure on has a character of those to train on; give a test_corpus that has")
    return dataclasses.replace(pieces, test=test, left_out=pieces.left_out + len(pieces.test) - len(test))


def check_run(config: LmConfig, pieces: Pieces, resumed: bool) -> None:
    """Keep what the weights of a run depend on in its folder, or compare with it.

    Raises:
        CodecError: when a resumed run has other settings, or tokens of another codec.
    """
    path = Path(config.output) / RUN
    now = {name: value for name, value in to_dict(config).items() if name not in _FREE}
    now = json.loads(json.dumps({**now, "fingerprint": pieces.vocab.fingerprint}))
    if not resumed:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write((json.dumps(now, indent=1) + "\n").encode())
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CodecError(f"{path}: cannot be read, so that nothing says what is resumed; give another output") from None
    for name, value in now.items():
        if before.get(name) != value:
            raise CodecError(
                f"{config.output}: was begun with {name} {before.get(name)!r}, now it is {value!r}; "
                "give the same, or another output"
            )


def arguments_of(config: LmConfig) -> Any:
    """The settings as transformers has them."""
    if config.device not in ("auto", "cpu"):
        raise CodecError(f"config device: expected auto or cpu, got {config.device!r}")
    return transformers.TrainingArguments(
        output_dir=config.output,
        max_steps=config.max_steps,
        per_device_train_batch_size=config.optim.batch_size,
        gradient_accumulation_steps=config.optim.accumulate,
        learning_rate=config.optim.lr,
        warmup_steps=config.optim.warmup_steps,
        weight_decay=config.optim.weight_decay,
        lr_scheduler_type="cosine",
        save_steps=config.save_every,
        save_total_limit=2,
        logging_steps=config.log_every,
        seed=config.seed,
        # Without a GPU that is asked for, transformers refuses bf16.
        use_cpu=config.device == "cpu" or (config.bf16 and not torch.cuda.is_available()),
        bf16=config.bf16,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def say_sizes(lm: SpeechLm, pieces: Pieces) -> None:
    """One line about what is trained on what."""
    weights = sum(weight.numel() for weight in lm.module.parameters() if weight.requires_grad)
    hours = sum(piece.codes.shape[1] for piece in pieces.train) / pieces.vocab.frame_rate / 3600
    left = f"; {counted(pieces.left_out, 'clip')} left out" if pieces.left_out else ""
    print_note(f"{weights / 1e6:.2f} M weights to train, {counted(len(pieces.train), 'piece')}, {hours:.2f} h{left}")


class _Log(transformers.TrainerCallback):
    """Losses on standard error, one line each."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """See transformers."""
        if logs and "loss" in logs and state.is_world_process_zero:
            print_note(f"step {state.global_step} of {state.max_steps}: loss {float(logs['loss']):.4f}")

