"""Systems code what they are given, count their bits, and say what they lack."""

import io
import os
import shutil
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from eval_helpers import RATE, Loudness, bundled_speech, write_clips

from codec.data import Clip, read_manifest
from codec.errors import CodecError
from codec.eval import evaluation
from codec.eval.runner import Request, run
from codec.eval.systems import Original, model_systems, parse_baseline
from codec.eval.systems.ogg import packet_sizes
from codec.eval.types import Skip

CLIP = Clip("folder/clip.wav", 1.0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vorbis:6", "unknown baseline 'vorbis'; known: codec2, dir, engine, hf, opus, speex"),
        ("opus:fast", "from 6 to 256"),
        ("opus:2", "from 6 to 256"),
        ("codec2:9600", "3200, 2400"),
        ("dir:lyra", "dir:NAME=FOLDER"),
        ("engine:onnx", "engine:MODEL=ENGINE"),
        ("engine:default=nobody", "no engine 'nobody'"),
        ("dir:lyra=/no/such/folder", "no folder"),
        ("hf:", "hf:ID"),
    ],
)
def test_a_wrong_baseline_is_told_what_is_right(spec, message):
    with pytest.raises(CodecError, match=message):
        parse_baseline(spec)


@pytest.mark.parametrize(
    ("spec", "package"), [("opus:6", "opus-tools"), ("speex:8", "speex"), ("codec2:3200", "codec2")]
)
def test_a_missing_tool_names_its_debian_package(spec, package, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert parse_baseline(spec).missing().endswith(f"apt-get install {package}")


@pytest.mark.parametrize(
    ("spec", "tool", "kbps"),
    [("opus:12", "opusenc", 12.0), ("speex:10", "speexenc", 9.8), ("codec2:3200", "c2enc", 3.2)],
)
def test_command_line_codecs_code_at_the_rate_asked_for(spec, tool, kbps):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    system = parse_baseline(spec)
    assert system.missing() is None
    speech = bundled_speech(2.0)[:: RATE // system.sample_rate].copy()
    coded = system.code(CLIP, speech)
    seconds = len(speech) / system.sample_rate
    assert coded.bits / seconds / 1000 == pytest.approx(kbps, rel=0.2)
    assert len(coded.wav) / coded.sample_rate == pytest.approx(seconds, abs=0.05)
    assert np.abs(coded.wav).max() > 0.01
    assert coded.encode_seconds > 0 and coded.decode_seconds > 0


def test_a_failing_tool_is_an_error_with_its_words(monkeypatch, tmp_path):
    for name in ("c2enc", "c2dec"):
        script = tmp_path / name
        script.write_text("#!/bin/sh\necho bad mode >&2\nexit 4\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(RuntimeError, match=r"c2enc failed \(4\): bad mode"):
        parse_baseline("codec2:3200").code(CLIP, np.zeros(8000, np.float32))


def test_ogg_packets_and_pages_are_the_whole_file():
    buffer = io.BytesIO()
    soundfile.write(buffer, bundled_speech(3.0), RATE, format="OGG", subtype="VORBIS")
    data = buffer.getvalue()
    pages = [i for i in range(len(data)) if data.startswith(b"OggS", i)]
    headers = sum(27 + data[page + 26] for page in pages)
    sizes = packet_sizes(data)
    assert len(sizes) > 20 and len(pages) > 1
    assert sum(sizes) + headers == len(data)
    with pytest.raises(ValueError, match="no Ogg page"):
        packet_sizes(data[1:])


def test_decoded_folders_are_found_by_path_or_stem(tmp_path):
    by_stem, by_path = np.full(100, 0.1, np.float32), np.full(200, 0.2, np.float32)
    system = parse_baseline(f"dir:lyra-3200@3.2={tmp_path}")
    assert (system.label, system.family) == ("lyra-3200", "lyra")
    with pytest.raises(Skip, match="no file of that name"):
        system.code(CLIP, np.zeros(RATE, np.float32))
    soundfile.write(tmp_path / "clip.flac", by_stem, RATE)
    stem_signature = system.clip_signature(CLIP)
    assert len(system.code(CLIP, np.zeros(RATE, np.float32)).wav) == 100
    (tmp_path / "folder").mkdir()
    soundfile.write(tmp_path / "folder" / "clip.wav", by_path, RATE)
    coded = system.code(CLIP, np.zeros(RATE, np.float32))
    assert len(coded.wav) == 200 and coded.bits == pytest.approx(3200)
    assert system.clip_signature(CLIP) != stem_signature


def test_one_file_of_a_folder_is_not_two_clips(tmp_path):
    soundfile.write(tmp_path / "001.wav", np.zeros(100, np.float32), RATE)
    system = parse_baseline(f"dir:lyra={tmp_path}")
    clips = [Clip(f"{speaker}/001.wav", 1.0) for speaker in ("p225", "p226")]
    system.check(clips[:1])
    with pytest.raises(CodecError, match=r"001\.wav would be both p225/001 and p226/001"):
        system.check(clips)
    for clip in clips:
        (tmp_path / clip.path).parent.mkdir()
        soundfile.write(tmp_path / clip.path, np.zeros(100, np.float32), RATE)
    system.check(clips)


def test_the_original_is_16_bit_pcm():
    coded = Original().code(CLIP, np.zeros(RATE, np.float32))
    assert coded.bits == 16 * RATE


def test_no_delay_is_looked_for_where_there_is_none(tiny_model_dir, tmp_path):
    """An untrained model's waveform is unlike the recording, so that any delay might fit best."""
    manifest = write_clips(tmp_path, {"a-0": bundled_speech(2.0)})
    noise = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    (tmp_path / "peer").mkdir()
    soundfile.write(tmp_path / "peer" / "a-0.wav", 0.1 * noise, RATE)
    systems = [*model_systems([str(tiny_model_dir)], [1]), Original(), parse_baseline(f"dir:peer={tmp_path / 'peer'}")]
    rows = run(Request(read_manifest(manifest), systems, [Loudness()], tmp_path / "out", workers=0)).rows
    ours, original, peer = (row.values for row in rows if row.measure == "coding")
    assert ours["delay"] == original["delay"] == 0
    assert "correlation" not in ours | original
    assert peer["delay"] != 0 and peer["correlation"] < 0.3


def test_probes_of_an_engine_are_of_its_own_tokens(tiny_model_dir, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr("codec.eval.probes.run_probes", lambda model, out, **_: seen.setdefault(out.name, model))
    ours, engine = *model_systems([str(tiny_model_dir)], None)[-1:], parse_baseline(f"engine:{tiny_model_dir}=compile")
    options = SimpleNamespace(probes=["speaker"], encoders=[], seed=0, out=tmp_path)
    plan = SimpleNamespace(options=options, request=SimpleNamespace(systems=[ours, engine], clips=[]), train_clips=None)
    evaluation._probes(plan)
    assert {name: model.engine.name for name, model in seen.items()} == {ours.family: "torch", engine.family: "compile"}


def test_models_at_each_number_of_codebooks(tiny_model, tiny_model_dir, other_model_dir):
    systems = model_systems([str(tiny_model_dir), str(other_model_dir)], [1, 8])
    assert [s.label for s in systems] == ["tiny@1", "tiny@8", "other@1", "other@8"]
    speech = bundled_speech(0.5)
    coded = systems[0].code(CLIP, speech)
    tokens = tiny_model.encode(speech, num_codebooks=1)
    assert np.array_equal(coded.codes, tokens.codes[0].numpy())
    assert np.allclose(coded.wav, tiny_model.decode(tokens)[0].numpy())
    assert coded.bits == tokens.codes.numel() * 10
    assert len({s.signature() for s in systems}) == 4
    with pytest.raises(CodecError, match="9 codebooks requested; .* has 1 to 8"):
        model_systems([str(tiny_model_dir)], [9])


def _encodec():
    from transformers import EncodecConfig, EncodecModel

    small = {"num_filters": 2, "hidden_size": 4, "upsampling_ratios": [8, 5, 4, 2], "num_lstm_layers": 1}
    return EncodecModel(EncodecConfig(codebook_size=16, target_bandwidths=[0.3, 0.6], **small))


def _dac():
    from transformers import DacConfig, DacModel

    return DacModel(DacConfig(encoder_hidden_size=4, decoder_hidden_size=32, n_codebooks=3, codebook_size=16))


def _mimi():
    from transformers import MimiConfig, MimiModel

    return MimiModel(
        MimiConfig(
            num_filters=2,
            hidden_size=8,
            codebook_size=16,
            codebook_dim=4,
            vector_quantization_hidden_dimension=4,
            num_quantizers=4,
            upsample_groups=8,
            num_hidden_layers=1,
            intermediate_size=8,
            num_attention_heads=2,
            num_key_value_heads=2,
        )
    )


def _xcodec():
    from transformers import DacConfig, HubertConfig, XcodecConfig, XcodecModel

    acoustic = DacConfig(
        encoder_hidden_size=2,
        downsampling_ratios=[8, 5, 4, 2],
        decoder_hidden_size=32,
        hidden_size=8,
        codebook_size=16,
    )
    semantic = HubertConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        conv_dim=(4,) * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    rates = [0.2, 0.4]
    return XcodecModel(
        XcodecConfig(
            acoustic_model_config=acoustic.to_dict(),
            semantic_model_config=semantic.to_dict(),
            codebook_size=16,
            target_bandwidths=rates,
        )
    )


@pytest.mark.parametrize(
    ("build", "kbps", "codebooks"), [(_encodec, 0.3, 1), (_dac, 0.25, 2), (_mimi, 0.15, 3), (_xcodec, 0.4, 2)]
)
def test_codecs_of_transformers(build, kbps, codebooks, tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / build.__name__.strip("_")
    if build is _xcodec and version("transformers").startswith("4."):
        pytest.skip("transformers 4 makes no random X-codec of a config alone")
    build().save_pretrained(folder)
    system = parse_baseline(f"hf:{folder}@{kbps}")
    assert system.missing() is None
    speech = np.resize(bundled_speech(1.0), system.sample_rate)
    coded = system.code(CLIP, speech)
    assert coded.codes.shape[0] == codebooks
    assert coded.bits == 4 * coded.codes.size
    assert coded.bits / 1000 == pytest.approx(kbps, rel=0.1)
    assert coded.codebook_sizes == (16,) * codebooks
    assert 0 <= coded.codes.min() <= coded.codes.max() < 16
    assert len(speech) - 640 <= len(coded.wav) <= len(speech)
    assert np.isfinite(coded.wav).all()


def test_a_bitrate_that_a_codec_lacks_is_refused(tmp_path):
    _encodec().save_pretrained(tmp_path / "encodec")
    with pytest.raises(CodecError, match=r"\[0.3, 0.6\] kbps, not 5"):
        parse_baseline(f"hf:{tmp_path / 'encodec'}@5").code(CLIP, bundled_speech(0.1))


def test_another_model_is_no_codec(tmp_path):
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    assert "it is a bert model" in parse_baseline(f"hf:{tmp_path}").missing()
