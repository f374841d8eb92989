"""A model card from what is known: rates, sizes, fingerprint, the losses of training and the base."""

from dataclasses import dataclass
from pathlib import Path
from string import Template

from codec.eval.training import read_training
from codec.model.codec import Codec
from codec.model.fingerprint import decoder_fingerprint
from codec.model.lineage import Base, read_base


@dataclass(frozen=True)
class Facts:
    """What a model's folder says besides the weights."""

    losses: tuple[str, ...] = ()
    """Names of the losses of its training."""
    base: Base | None = None
    """The weights at which training began."""
    license: str | None = None


def read_facts(folder: Path) -> Facts:
    """The facts in a model's folder; what is not there is unknown.

    Raises:
        CodecError: for a damaged file.
    """
    training = read_training(folder)
    return Facts(tuple(training.losses) if training else (), read_base(folder), license_of(folder))


def license_of(folder: Path) -> str | None:
    """The ``license:`` line at the top of a model card."""
    card = folder / "README.md"
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    if lines[:1] == ["---"]:
        for line in lines[1:]:
            key, _, value = line.partition(":")
            if key == "---":
                break
            if key.strip() == "license":
                return value.strip()
    return None


def card(model: Codec, facts: Facts, license: str | None = None, remote_code: bool = False) -> str:
    """The text of the card, in the Hub's form: settings for its search, then Markdown.

    Args:
        license: goes before that of ``facts``; without either the card has none.
        remote_code: whether the folder holds the network's source.
    """
    named = license or facts.license
    return _PAGE.substitute(
        license=f"license: {named.lower()}\n" if named else "",
        facts="\n".join(f"| {name} | {value} |" for name, value in _facts(model).items()),
        rates="\n".join(_rates(model)),
        training=_training(facts),
        remote=_REMOTE if remote_code else _PACKAGE,
    )


def _facts(model: Codec) -> dict[str, str]:
    config, latency = model.config, model.latency
    sizes = model.quantizer.sizes
    entries = str(sizes[0]) if len(set(sizes)) == 1 else ", ".join(map(str, sizes))
    count = sum(tensor.numel() for tensor in model.state_dict().values())
    rows = {
        "architecture": f"`{config.architecture}`",
        "audio": f"{model.sample_rate} Hz, mono",
        "frames": f"{config.frame_rate:g} per second, {model.hop_length} samples each",
        "codebooks": f"{len(sizes)} of {entries} entries",
        "bitrate": f"{model.bitrate(1) / 1000:g} to {model.bitrate() / 1000:g} kbps",
        "streaming": f"causal, {round(latency.milliseconds, 1):g} ms of algorithmic latency"
        if latency
        else "no: the network needs the whole recording",
        "weights": f"{count / 1e6:.2f} M numbers",
        "fingerprint of the tokens": f"`{model.fingerprint}`",
        "fingerprint of the decoder": f"`{decoder_fingerprint(model)}`",
    }
    if model.aliases.former and model.aliases.fingerprint == model.fingerprint:
        rows["earlier fingerprints"] = ", ".join(f"`{name}`" for name in model.aliases.former)
    return rows


def _rates(model: Codec) -> list[str]:
    return [
        f"| {count} | {count * model.config.frame_rate:g} | {model.bitrate(count) / 1000:g} |"
        for count in range(1, model.num_codebooks + 1)
    ]


def _training(facts: Facts) -> str:
    lines = []
    if facts.losses:
        names = ", ".join(f"`{name}`" for name in facts.losses)
        lines.append(f"The losses of its training were {names}. A metric that resembles one of them says little.")
    if facts.base is not None:
        lines.append(f"Training began at the weights with the fingerprint `{facts.base.fingerprint}`.")
    return "\n".join(lines) or "Nothing is recorded of its training data, its losses or the weights that it began at."


_PACKAGE = "`import codec.hf` first: it registers the model with transformers.\n"
_REMOTE = (
    "Where the package codec is not installed, pass `trust_remote_code=True`: the network's source lies in this "
    "repository. Read it before you run it.\n"
)
_PAGE = Template("""---
${license}library_name: codec
pipeline_tag: feature-extraction
tags: [audio, speech, audio-codec, audio-tokenizer]
---
# Model card

A neural speech tokenizer: audio to discrete tokens and back.

| property | value |
|---|---|
$facts

| codebooks used | tokens per second | kbps |
|---:|---:|---:|
$rates

## Training

$training

## Use

```python
import codec

model = codec.load("FOLDER OR HUB ID")
tokens = model.encode("speech.flac")
audio = model.decode(tokens)
```

With transformers, the model follows the calls of Mimi. $remote
```python
from transformers import AutoFeatureExtractor, AutoModel

model = AutoModel.from_pretrained("FOLDER OR HUB ID")
feature_extractor = AutoFeatureExtractor.from_pretrained("FOLDER OR HUB ID")
inputs = feature_extractor(raw_audio=clips, sampling_rate=feature_extractor.sampling_rate, return_tensors="pt")
codes = model.encode(**inputs).audio_codes  # (B, K, T)
audio = model.decode(codes, inputs["padding_mask"]).audio_values  # (B, 1, S)
```
""")
