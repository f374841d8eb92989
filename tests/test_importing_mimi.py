"""Mimi: what is imported computes what the model of transformers computes, whole and in streams."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from originals import check_equal, check_padded_batch, check_streams, imported, mimi, noise
from safetensors.torch import load_file, save_file
from torch import nn

import codec
from codec.errors import CodecError
from codec.importing import import_checkpoint
from codec.importing.originals import MimiOriginal
from codec.model.mimi import transformer

HOP = 20
LENGTHS = (1, 9, 10, 11, 19, 20, 21, 30, 140, 145, 333, 1001)


@pytest.fixture(scope="module")
def original() -> nn.Module:
    return mimi()


@pytest.fixture(scope="module")
def model(original, tmp_path_factory) -> codec.Codec:
    return imported(tmp_path_factory.mktemp("mimi"), original)


@pytest.mark.parametrize("changes", [
    {},
    {"use_conv_shortcut": True, "num_residual_layers": 2, "sliding_window": 100},
    {"head_dim": 4, "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}, "norm_eps": 1e-3},
])
def test_codes_and_sound_are_those_of_the_original(tmp_path, changes):
    original = mimi(**changes)
    model = imported(tmp_path, original)
    check_equal(model, MimiOriginal(original), LENGTHS)
    assert model.causal and model.sample_rate == 24_000
    assert all(len(layer.unique()) > 4 for layer in model.encode(noise(1, 5000)).codes[0])


def test_fixed_shapes_have_the_same_codes(model, original):
    check_equal(model, MimiOriginal(original), LENGTHS, deterministic=True)


def test_attention_in_blocks_has_the_same_codes(model, original, monkeypatch):
    monkeypatch.setattr(transformer, "BLOCK", 3)
    check_equal(model, MimiOriginal(original), LENGTHS)


def test_graphs_have_the_same_codes_and_audio(model, tmp_path):
    pytest.importorskip("onnxscript")
    from codec.export.folder import export_graphs

    model.save_pretrained(tmp_path)
    export_graphs(model, tmp_path)
    graphs = codec.load(tmp_path, engine="onnx")
    for length in LENGTHS:
        wav = noise(1, length)
        tokens = model.encode(wav)
        assert torch.equal(graphs.encode(wav).codes, tokens.codes)
        torch.testing.assert_close(graphs.decode(tokens), model.decode(tokens), rtol=0, atol=1e-5)
    stream = graphs.streaming_decoder()
    frames = [stream.push(frame) for frame in tokens.codes.split(1, dim=2)]
    audio = torch.cat([*frames, stream.flush()], dim=1)[:, : LENGTHS[-1]]
    torch.testing.assert_close(audio, model.decode(tokens), rtol=0, atol=1e-5)


def test_fewer_codebooks(model, original):
    wav = noise(1, 999)
    for count in (1, 3):
        tokens = model.encode(wav, num_codebooks=count)
        codes = original.encode(wav.unsqueeze(1), num_quantizers=count).audio_codes
        assert torch.equal(tokens.codes, codes)
        expected = original.decode(codes).audio_values[:, 0, :999].detach().clamp(-1, 1)
        torch.testing.assert_close(model.decode(tokens), expected, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_streams_in_any_pieces_have_the_codes_and_sound_of_the_whole(model, data):
    check_streams(model, data, data.draw(st.integers(1, 700)))


def test_every_frame_comes_at_once(model):
    encoder, decoder = model.streaming_encoder(), model.streaming_decoder()
    for step in range(5):
        codes = encoder.push(noise(1, HOP, seed=step))
        assert codes.shape[2] == 1 and decoder.push(codes).shape[1] == HOP
    assert model.latency.samples == HOP


def test_slots_start_anew_and_saved_streams_go_on(model):
    wavs = [noise(n, seed=n) for n in (333, 90, 201)]
    whole = [model.encode(wav).codes[0] for wav in wavs]
    encoder = model.streaming_encoder(2)
    first = encoder.push(nn.utils.rnn.pad_sequence(wavs[:2], batch_first=True)[:, :200], [200, 90])
    counts = encoder.lengths.tolist()
    last = encoder.flush([False, True])[1]
    assert torch.equal(torch.cat([first[1, :, : counts[1]], last], dim=1), whole[1])
    encoder.reset([False, True])
    following = model.streaming_encoder(2)
    following.load_state_dict(encoder.state_dict())
    pcm = torch.zeros(2, 201)
    pcm[0, :133], pcm[1] = wavs[0][200:], wavs[2]
    second = following.push(pcm, [133, 201])
    counts2 = following.lengths.tolist()
    third = following.flush()
    assert torch.equal(torch.cat([first[0, :, : counts[0]], second[0, :, : counts2[0]], third[0]], dim=1), whole[0])
    assert torch.equal(torch.cat([second[1, :, : counts2[1]], third[1]], dim=1), whole[2])


def test_a_padded_batch_has_the_codes_of_single_clips(model):
    check_padded_batch(model, LENGTHS)


@torch.inference_mode()
def test_where_the_original_streams_differ_from_its_own_whole_clips(original):
    """Each of these holds in ours, by the tests above."""
    wav = noise(1, 1, 1000)
    whole = original.encode(wav).audio_codes
    # Pieces that are whole frames agree.
    assert torch.equal(streamed(original, wav, [HOP] * 50), whole)
    # Others give other codes, and another number of them.
    assert streamed(original, wav, [30, 50] * 12 + [40]).shape != whole.shape
    # Sound in pieces lacks what the convolutions spill over.
    sound = original.decode(whole).audio_values
    cache, parts = None, []
    for codes in whole.split(5, dim=2):
        out = original.decode(codes, decoder_past_key_values=cache, use_cache=True)
        cache = out.decoder_past_key_values
        parts.append(out.audio_values)
    assert (torch.cat(parts, dim=2) - sound).abs().max() > 1e-2


def streamed(original: nn.Module, wav: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    codes, caches = [], {}
    for piece in wav.split(sizes, dim=2):
        out = original.encode(piece, use_streaming=True, **caches)
        caches = {"encoder_past_key_values": out.encoder_past_key_values, "padding_cache": out.padding_cache}
        codes.append(out.audio_codes)
    return torch.cat(codes, dim=2)


@pytest.mark.parametrize(("changes", "match"), [
    ({"sampling_rate": 16_000, "frame_rate": 12.5}, "12.5 frames per second at 16000 Hz, but the tensors .* make 800"),
    ({"upsampling_ratios": [8, 6, 5, 4]}, r"upsampling_ratios is \[8, 6, 5, 4\], but the tensors"),
    ({"num_hidden_layers": 8}, "num_hidden_layers is 8, but the tensors"),
    ({"head_dim": 4}, "num_attention_heads is 2, but the tensors .* show 4"),
    ({"num_key_value_heads": 1}, "num_key_value_heads 1 is not supported"),
    ({"use_causal_conv": False}, "use_causal_conv False is not supported"),
])
def test_a_config_that_contradicts_the_weights_or_is_of_another_network(tmp_path, original, changes, match):
    original.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CodecError, match=match):
        import_checkpoint(tmp_path)


def test_tensors_that_are_missing_are_listed(tmp_path, original):
    original.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for name in ("quantizer.acoustic_residual_vector_quantizer.layers.1.codebook.cluster_usage", "upsample.conv.weight"):
        del tensors[name]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CodecError, match=r"missing: upsample.conv.weight, quantizer.*layers.1.codebook.embed$"):
        import_checkpoint(tmp_path)
