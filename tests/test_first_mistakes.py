"""What people type first: the message names the right command, config or model, before any work."""

from pathlib import Path

import pytest
from command import run

import codec
from codec.encoders.base import EncoderConfig
from codec.encoders.hub import load_pretrained
from codec.encoders.open import open_encoder
from codec.encoders.own import is_own


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("encode", "a.wav", "-o", "b"), "(see codec encode --help)"),
        (("embed", "a.wav"), "(see codec embed --help)"),
        (("corpus", "export", "a", "b", "--format", "c"), "'c' is not one of"),
        (("lm", "generate"), "(see codec lm generate --help)"),
        (("encod", "a.wav"), "(see codec --help)"),
        (("train", "tiny"), "write --config tiny"),
        (("train", "mine.yaml"), "write --config mine.yaml"),
        (("train", "nothing"), "expected key.sub=value"),
        (("distill",), "such as --config ssondo"),
        (("finetune-encoder",), "such as --config finetune_encoder"),
        (("tokenize", __file__, "out"), "a single file"),
    ],
)
def test_errors_name_the_command_that_helps(arguments, message, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(capfd, *arguments)
    assert result.status in (1, 2)
    assert len(result.error_lines) == 1 and message in result.err
    assert "Value error" not in result.err
    assert not list(tmp_path.iterdir())


def test_a_bare_name_is_the_shipped_codec_for_embeddings_too():
    assert is_own("default")
    assert open_encoder(EncoderConfig(model="default")).name == open_encoder(EncoderConfig(model="codec:default")).name


def test_a_choice_that_a_codec_does_not_have_is_refused():
    with pytest.raises(codec.CodecError, match="no choice of layer"):
        open_encoder(EncoderConfig(model="codec:default", layer=99))


def test_models_without_a_network_are_refused_after_one_request(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def no_network(self, name, **options):
        asked.append(name)
        try:
            raise OSError("Name or service not known")
        except OSError as error:
            raise RuntimeError("long words of a library") from error

    monkeypatch.setattr(hub.HfApi, "model_info", no_network)

    class Loader:
        @staticmethod
        def from_pretrained(place, **options):
            raise AssertionError("asked again")

    with pytest.raises(codec.CodecError, match=r"cannot be reached \(Name or service not known\); to work offline"):
        load_pretrained(Loader, "some-org/no-such-model")
    assert asked == ["some-org/no-such-model"]
    with pytest.raises(codec.CodecError, match="is a file"):
        load_pretrained(Loader, str(Path(__file__)))
