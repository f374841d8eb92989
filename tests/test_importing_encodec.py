"""EnCodec: what is imported computes what the model of transformers computes, whole and in streams."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from originals import check_equal, check_padded_batch, check_streams, encodec, imported, noise, write
from torch import nn

import codec
from codec.errors import CodecError
from codec.importing import import_checkpoint
from codec.importing.originals import EncodecOriginal

HOP = 40
LENGTHS = (1, 5, 39, 40, 41, 120, 240, 241, 279, 280, 281, 333, 1001)
"""Among them those around the 7 frames that a start needs."""


@pytest.fixture(scope="module")
def original() -> nn.Module:
    return encodec()


@pytest.fixture(scope="module")
def model(original, tmp_path_factory) -> codec.Codec:
    return imported(tmp_path_factory.mktemp("encodec"), original)


@pytest.mark.parametrize("changes", [
    {},
    {"pad_mode": "constant"},
    {"use_causal_conv": False},
    {"use_conv_shortcut": False, "num_residual_layers": 2},
])
def test_codes_and_sound_are_those_of_the_original(tmp_path, changes):
    original = encodec(**changes)
    model = imported(tmp_path, original)
    check_equal(model, EncodecOriginal(original), LENGTHS)
    assert model.causal == changes.get("use_causal_conv", True)
    assert model.sample_rate == 24_000
    assert all(len(layer.unique()) > 4 for layer in model.encode(noise(1, 5000)).codes[0])


def test_fixed_shapes_have_the_same_codes(model, original):
    check_equal(model, EncodecOriginal(original), LENGTHS, deterministic=True)


def original_name(name: str) -> str:
    for theirs, its in {
        "parametrizations.weight.original0": "weight_g",
        "parametrizations.weight.original1": "weight_v",
        "quantizer.layers": "quantizer.vq.layers",
        ".codebook": "._codebook",
        "coder.layers": "coder.model",
    }.items():
        name = name.replace(theirs, its)
    head, dot, last = name.rpartition(".conv.")
    transposed = head in [f"decoder.model.{layer}" for layer in (3, 6, 9)]
    kind = "convtr" if transposed else "conv"
    return f"{head}.{kind}.{kind}.{last}" if dot else name


def test_the_original_names_load(tmp_path, original):
    renamed = {original_name(name): tensor for name, tensor in original.state_dict().items()}
    folder = write(tmp_path, renamed, None, "encodec_24khz.th")
    result = import_checkpoint(folder)
    assert result.kind == "encodec" and result.model.sample_rate == 24_000
    check_equal(result.model, EncodecOriginal(original), LENGTHS)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_streams_in_any_pieces_have_the_codes_and_sound_of_the_whole(model, data):
    check_streams(model, data, data.draw(st.integers(1, 700)))


def test_the_first_codes_come_with_the_seventh_frame_and_the_others_at_once(model):
    encoder = model.streaming_encoder()
    counts = [encoder.push(noise(1, HOP, seed=step)).shape[2] for step in range(10)]
    assert counts == [0] * 6 + [7, 1, 1, 1]
    assert encoder.latency.samples == model.latency.samples == 7 * HOP
    decoder = model.streaming_decoder()
    counts = [decoder.push(torch.zeros(1, 3, 1, dtype=torch.int64)).shape[1] for _ in range(10)]
    assert counts == [0] * 6 + [7 * HOP, HOP, HOP, HOP]


def test_slots_that_start_at_other_times_do_not_disturb_each_other(model):
    wavs = [noise(samples, seed=samples) for samples in (1001, 50, 640)]
    encoder = model.streaming_encoder(2)
    decoder = model.streaming_decoder(2)
    codes, heard = {0: [], 1: [], 2: []}, {0: [], 1: [], 2: []}
    places = {0: 0, 1: 0, 2: 0}
    slots = [0, 1]
    while any(slot is not None for slot in slots):
        pcm, lengths = torch.zeros(2, 30), [0, 0]
        for row, clip in enumerate(slots):
            if clip is not None:
                piece = wavs[clip][places[clip] : places[clip] + 30]
                pcm[row, : len(piece)], lengths[row] = piece, len(piece)
                places[clip] += len(piece)
        steps = [encoder.push(pcm, lengths)]
        counts = [encoder.lengths]
        over = torch.tensor([clip is not None and places[clip] == len(wavs[clip]) for clip in slots])
        if over.any():
            steps.append(encoder.flush(over))
            counts.append(encoder.lengths)
        for new, count in zip(steps, counts, strict=True):
            wav = decoder.push(new, count)
            for row, clip in enumerate(slots):
                if clip is not None:
                    codes[clip].append(new[row, :, : count[row]])
                    heard[clip].append(wav[row, : decoder.lengths[row]])
        if over.any():
            tail = decoder.flush(mask=over)
            for row, clip in enumerate(slots):
                if over[row]:
                    heard[clip].append(tail[row, : decoder.lengths[row]])
                    slots[row] = 2 if clip == 1 else None
            encoder.reset(over)
            decoder.reset(over)
    for clip, wav in enumerate(wavs):
        whole = model.encode(wav)
        assert torch.equal(torch.cat(codes[clip], dim=1), whole.codes[0])
        sound = torch.cat(heard[clip])[: len(wav)]
        torch.testing.assert_close(sound, model.decode(whole)[0], atol=1e-6, rtol=0)


def test_a_saved_stream_goes_on(model):
    wav = noise(1, 1001)
    for cut in (100, 500):
        first, second = model.streaming_encoder(), model.streaming_encoder()
        codes = [first.push(wav[:, :cut])]
        second.load_state_dict(first.state_dict())
        codes += [second.push(wav[:, cut:]), second.flush()]
        assert torch.equal(torch.cat(codes, dim=2), model.encode(wav).codes)
        whole = model.decode(model.encode(wav))
        before, after = model.streaming_decoder(), model.streaming_decoder()
        sound = [before.push(torch.cat(codes, dim=2)[:, :, : cut // HOP])]
        after.load_state_dict(before.state_dict())
        sound += [after.push(torch.cat(codes, dim=2)[:, :, cut // HOP :]), after.flush()]
        torch.testing.assert_close(torch.cat(sound, dim=1)[:, :1001], whole, atol=1e-6, rtol=0)


def test_a_padded_batch_has_the_codes_of_single_clips(model):
    check_padded_batch(model, LENGTHS)


def test_a_batch_of_the_original_has_other_codes_for_padded_clips(original):
    """What ours does not: there the mask puts zeros where a clip alone would be mirrored."""
    wavs = [noise(samples, seed=samples) for samples in (1001, 333)]
    padded = nn.utils.rnn.pad_sequence(wavs, batch_first=True).unsqueeze(1)
    mask = torch.arange(1001) < torch.tensor([[1001], [333]])
    with torch.inference_mode():
        codes = original.encode(padded, mask.unsqueeze(1), bandwidth=7.2).audio_codes[0]
    assert not torch.equal(codes[1, :, :9], EncodecOriginal(original).codes(wavs[1][None])[0])


@pytest.mark.parametrize(("changes", "match"), [
    ({"audio_channels": 2}, "stereo or normalises its input, as that of 48 kHz, is not supported"),
    ({"normalize": True}, "stereo or normalises"),
    ({"norm_type": "time_group_norm"}, "stereo or normalises"),
    ({"trim_right_ratio": 0.5}, "trim_right_ratio"),
])
def test_the_48_khz_model_is_refused(tmp_path, changes, match):
    from transformers import EncodecConfig, EncodecModel

    small = {"num_filters": 2, "upsampling_ratios": [5, 4, 2], "hidden_size": 6, "codebook_size": 16}
    EncodecModel(EncodecConfig(**small, **changes)).save_pretrained(tmp_path)
    with pytest.raises(CodecError, match=match):
        import_checkpoint(tmp_path)


def test_another_kind_than_asked_for(tmp_path, original):
    original.save_pretrained(tmp_path)
    with pytest.raises(CodecError, match="not a checkpoint of SpeechTokenizer; it is EnCodec: --kind encodec"):
        import_checkpoint(tmp_path, "speechtokenizer")


def test_a_config_whose_rate_contradicts_the_weights(tmp_path, original):
    import json

    original.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"upsampling_ratios": [8, 5, 4, 2]}))
    with pytest.raises(CodecError, match=r"upsampling_ratios is \[8, 5, 4, 2\], but the tensors .* show \[5, 4, 2\]"):
        import_checkpoint(tmp_path)


def test_a_config_whose_bandwidths_do_not_fit_its_rate(tmp_path, original):
    import json

    original.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"sampling_rate": 2 * config["sampling_rate"]}))
    with pytest.raises(CodecError, match=r"kbps at sampling_rate 48000 take \d+ codebooks, but model.safetensors has \d+"):
        import_checkpoint(tmp_path)


@pytest.mark.parametrize(("rate", "said"), [(24_000, True), (None, True), (16_000, False)])
def test_the_rate_of_the_feature_extractor_has_to_be_that_of_the_config(tmp_path, original, rate, said):
    import json

    original.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"sampling_rate": rate}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 24_000}))
    if said:
        assert import_checkpoint(tmp_path).model.sample_rate == 24_000
        return
    with pytest.raises(CodecError, match="contradicts itself: sampling_rate 16000, sampling_rate of preproc.* 24000"):
        import_checkpoint(tmp_path)
