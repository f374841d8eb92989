"""The exactness contract of streams: cutting, mixing, saving and restarting leave no trace."""

import pytest
import torch
from conftest import make_speech, make_tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from seanet_models import CAUSAL, CAUSAL_LSTM, TINY, make_seanet
from streams import stream_many, stream_one

from codec.errors import CodecError
from codec.model import steps
from codec.model.blocked import BLOCK_FRAMES
from codec.quantizers import ABSENT

MODELS = {
    "spectral": make_tiny_model(),
    "spectral-noise": make_tiny_model(noise_bands=6),
    "spectral-phases": make_tiny_model(noise_bands=6, phase_from=0.25, comb=5.0),
    "spectral-semantic": make_tiny_model(semantic_layers=2, semantic_from=1, semantic_dim=3),
    "spectral-levels": make_tiny_model(level_bands=9),
    "spectral-ahead": make_tiny_model(encoder_layers=3, look_ahead=2, semantic_layers=2, semantic_from=1, semantic_dim=3),
    "seanet": make_seanet(CAUSAL),
    "seanet-lstm": make_seanet(CAUSAL_LSTM),
}
SPEECH = torch.from_numpy(make_speech(4.0))

# Drawn the same every time: how often rounding flips a code is measured, not left to luck.
fixed = settings(max_examples=12, deadline=None, derandomize=True)
models = st.sampled_from(sorted(MODELS))
sizes = st.lists(st.integers(1, 2_000), min_size=1, max_size=6)


def excerpt(seed: int, length: int) -> torch.Tensor:
    start = seed * 997 % (len(SPEECH) - length)
    return SPEECH[start : start + length]


@fixed
@given(name=models, length=st.integers(1, 6_000), cuts=sizes, mode=st.booleans())
def test_a_stream_equals_the_whole_however_it_is_cut(name, length, cuts, mode):
    model, wav = MODELS[name], excerpt(1, length)
    whole = model.encode(wav, deterministic=mode)
    streamed = stream_one(model, wav, cuts, mode)
    assert torch.equal(streamed.codes, whole.codes[0])
    torch.testing.assert_close(streamed.wav, model.decode(whole)[0], atol=1e-5, rtol=0)
    assert len(streamed.wav) == length


@fixed
@given(data=st.data(), name=models, batch=st.integers(1, 4))
def test_signals_that_start_and_end_at_different_times_do_not_touch(data, name, batch):
    model = MODELS[name]
    lengths = st.lists(st.integers(1, 3_000), min_size=1, max_size=3)
    queues = [[excerpt(9 * slot + i, n) for i, n in enumerate(data.draw(lengths))] for slot in range(batch)]
    cuts = [data.draw(sizes) for _ in queues]
    for queue, results in zip(queues, stream_many(model, queues, cuts), strict=True):
        for wav, streamed in zip(queue, results, strict=True):
            alone = model.encode(wav)
            assert torch.equal(streamed.codes, alone.codes[0])
            torch.testing.assert_close(streamed.wav, model.decode(alone)[0], atol=1e-5, rtol=0)


@fixed
@given(name=models, lengths=st.lists(st.integers(1, 4_000), min_size=2, max_size=4), cuts=sizes)
def test_deterministic_streams_batches_and_clips_are_equal_to_the_last_bit(name, lengths, cuts):
    model = MODELS[name]
    wavs = [excerpt(i, n) for i, n in enumerate(lengths)]
    padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    batch = model.encode(padded, lengths=torch.tensor(lengths), deterministic=True)
    sound = model.decode(batch, deterministic=True)
    for index, wav in enumerate(wavs):
        alone = model.encode(wav, deterministic=True)
        streamed = stream_one(model, wav, cuts, deterministic=True)
        assert torch.equal(batch[index].codes, alone.codes)
        assert torch.equal(streamed.codes, alone.codes[0])
        assert torch.equal(sound[index, : len(wav)], model.decode(alone, deterministic=True)[0])
        assert torch.equal(sound[index, : len(wav)], streamed.wav)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_pieces_longer_than_a_chunk(name, monkeypatch):
    monkeypatch.setattr(steps, "CHUNK_FRAMES", 3)
    model = MODELS[name]
    whole = model.encode(SPEECH[:8_111])
    streamed = stream_one(model, SPEECH[:8_111], [8_111])
    assert torch.equal(streamed.codes, whole.codes[0])
    torch.testing.assert_close(streamed.wav, model.decode(whole)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", [False, True])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_saved_stream_goes_on_in_another_one(name, mode):
    model = MODELS[name]
    wav = torch.stack([excerpt(2, 4_000), excerpt(3, 4_000)])
    first, second = wav[:, :1_777], wav[:, 1_777:]
    encoders = [model.streaming_encoder(2, deterministic=mode) for _ in range(2)]
    decoders = [model.streaming_decoder(2, deterministic=mode) for _ in range(2)]
    decoders[0].push(encoders[0].push(first, [1_777, 50]), encoders[0].lengths)
    saved = encoders[0].state_dict(), decoders[0].state_dict()
    copies = [{key: tensor.clone() for key, tensor in part.items()} for part in saved]
    encoders[1].load_state_dict(saved[0])
    decoders[1].load_state_dict(saved[1])
    results = []
    for encoder, decoder in zip(encoders, decoders, strict=True):
        codes = encoder.push(second)
        lengths, end = encoder.lengths, encoder.flush()
        sound = [decoder.push(codes, lengths), decoder.push(end, encoder.lengths, encoder.num_samples)]
        results.append([codes, end, encoder.num_samples, *sound, decoder.flush()])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    assert results[0][0].any() and results[0][3].any()
    for part, copy in zip(saved, copies, strict=True):
        assert all(torch.equal(part[key], copy[key]) for key in copy), "the stream wrote into its saved state"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_reset_forgets_one_slot_and_no_other(name):
    model = MODELS[name]
    encoder, decoder = model.streaming_encoder(2), model.streaming_decoder(2)
    decoder.push(encoder.push(SPEECH[:4_000].reshape(2, 2_000)), encoder.lengths)
    encoder.reset([True, False])
    decoder.reset([True, False])
    codes = encoder.push(SPEECH[4_000:8_000].reshape(2, 2_000))
    wav = decoder.push(codes, encoder.lengths)
    fresh = model.encode(SPEECH[4_000:6_000])
    frames, samples = int(encoder.lengths[0]), int(decoder.lengths[0])
    assert torch.equal(codes[0, :, :frames], fresh.codes[0, :, :frames])
    torch.testing.assert_close(wav[0, :samples], model.decode(fresh)[0, :samples], atol=1e-5, rtol=0)
    assert encoder.num_samples.tolist() == [2_000, 4_000]
    going_on = model.encode(torch.cat([SPEECH[2_000:4_000], SPEECH[6_000:8_000]])).codes[0]
    done, new = (2_000 - model.encoder.delay) // model.hop_length, int(encoder.lengths[1])
    assert torch.equal(codes[1, :, :new], going_on[:, done : done + new])


@pytest.mark.parametrize("mode", [False, True])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_whole_frames_of_some_slots_leave_the_others_where_they_are(name, mode):
    model = MODELS[name]
    hop, pushes = model.hop_length, [[0, 1, 2], [1], [0, 2], [2], [], [0, 1, 2], [1, 2]]
    encoder = model.streaming_encoder(3, deterministic=mode)
    decoder = model.streaming_decoder(3, deterministic=mode)
    signals = [SPEECH[start : start + 30 * hop] for start in (0, 900, 2_300)]
    taken, codes, sound = [0] * 3, [[] for _ in signals], [[] for _ in signals]
    early = model.encoder.delay // hop
    for frames, rows in enumerate(pushes, start=1):
        pcm = torch.zeros(3, frames * hop)
        for row in rows:
            pcm[row] = signals[row][taken[row] : taken[row] + frames * hop]
            taken[row] += frames * hop
        new = encoder.push(pcm, [frames * hop * (row in rows) for row in range(3)])
        counts = encoder.lengths.tolist()
        made = [sum(code.shape[1] for code in codes[row]) + counts[row] for row in range(3)]
        assert made == [max(0, taken[row] // hop - early) for row in range(3)]
        wav = decoder.push(new, counts)
        for row in range(3):
            codes[row].append(new[row, :, : counts[row]])
            sound[row].append(wav[row, : decoder.lengths[row]])
    for row, signal in enumerate(signals):
        whole = model.encode(signal[: taken[row]], deterministic=mode)
        assert torch.equal(torch.cat(codes[row], dim=1), whole.codes[0, :, : taken[row] // hop - early])
        made = torch.cat(sound[row])
        expected = model.decode(whole, deterministic=mode)[0, : len(made)]
        assert len(made) == taken[row] - model.encoder.delay - model.decoder.delay
        torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_signals_of_different_numbers_of_codebooks_share_a_decoder(name):
    model = MODELS[name]
    counts = [1, 3, model.num_codebooks]
    decoder = model.streaming_decoder(len(counts), allow_absent=True)
    whole = [model.encode(SPEECH[: 5 * model.hop_length], num_codebooks=count) for count in counts]
    codes = torch.full((len(counts), model.num_codebooks, 5), ABSENT)
    for row, tokens in enumerate(whole):
        codes[row, : counts[row]] = tokens.codes[0]
    wav = torch.cat([decoder.push(codes), decoder.flush()], dim=1)
    for row, tokens in enumerate(whole):
        torch.testing.assert_close(wav[row], model.decode(tokens)[0], atol=1e-5, rtol=0)


@fixed
@given(name=models, pushed=st.lists(st.integers(1, 900), min_size=1, max_size=8))
def test_no_sample_is_later_than_the_stated_latency(name, pushed):
    model = MODELS[name]
    encoder, decoder = model.streaming_encoder(), model.streaming_decoder()
    assert encoder.latency.samples + decoder.latency.samples == model.latency.samples
    received = 0
    for size in pushed:
        received += decoder.push(encoder.push(SPEECH[:size])).shape[1]
        assert int(encoder.num_samples) - received < model.latency.samples


@pytest.mark.parametrize("frames", [1, BLOCK_FRAMES, BLOCK_FRAMES + 3])
@pytest.mark.parametrize("mode", [False, True])
def test_shapes_that_the_network_is_run_with(mode, frames):
    model = MODELS["spectral"]
    encoder = model.streaming_encoder(2, deterministic=mode)
    seen, function = [], encoder._steps.function
    encoder._steps.function = lambda wav, state: seen.append(tuple(wav.shape)) or function(wav, state)
    encoder.push(torch.zeros(2, frames * 320))
    encoder.push(torch.zeros(2, 320), lengths=[320, 0])
    if mode:
        assert set(seen) == {(1, BLOCK_FRAMES * 320)}
    else:
        assert all(batch * samples >= model.encoder.min_rows * 320 for batch, samples in seen)


def test_silence_before_the_start_is_a_state_of_zeros():
    for model in MODELS.values():
        _, state = model.encoder(SPEECH[None, : model.hop_length])
        zeros = steps.map_state(torch.zeros_like, state)
        wav = SPEECH[None, : 4 * model.hop_length]
        assert torch.equal(model.encoder(wav, zeros)[0], model.encoder(wav)[0])


def test_a_model_that_needs_the_whole_cannot_stream():
    model = make_seanet(TINY)
    for make in (model.streaming_encoder, model.streaming_decoder):
        with pytest.raises(CodecError, match="needs the whole recording and cannot stream"):
            make()


MIRROR = make_seanet(CAUSAL_LSTM | {"edges": "mirror"})


@pytest.mark.parametrize("frames", [1, 2, 6, 7, 8, 11])
@pytest.mark.parametrize("name", [*sorted(MODELS), "mirror"])
def test_short_deterministic_streams_of_codes_are_equal_to_the_last_bit(name, frames):
    """Signals that end before a network with mirrored edges can begin, and after; of all codebooks, and of fewer."""
    model = MIRROR if name == "mirror" else MODELS[name]
    for layers in (1, model.num_codebooks):
        codes = model.encode(SPEECH[: frames * model.hop_length], num_codebooks=layers).codes
        whole = model.decode(codes, deterministic=True)
        decoder = model.streaming_decoder(deterministic=True)
        cuts = codes.split(3, dim=2)
        assert torch.equal(torch.cat([*map(decoder.push, cuts), decoder.flush()], dim=1), whole)


@pytest.mark.parametrize("mode", [False, True])
@pytest.mark.parametrize("name", [*sorted(MODELS), "mirror"])
def test_the_number_of_codebooks_may_change_on_the_way(name, mode):
    model = MIRROR if name == "mirror" else MODELS[name]
    codes = model.encode(SPEECH[: 40 * model.hop_length]).codes.repeat(3, 1, 1)
    decoder = model.streaming_decoder(batch=3, deterministic=mode, allow_absent=True)
    expected = model.streaming_decoder(batch=3, deterministic=mode, allow_absent=True)
    made, wanted = [], []
    for number, (few, counts) in enumerate(zip((2, 3, 1, 2), ([7, 0, 0], [4, 9, 2], [3, 3, 9], [1, 0, 5]), strict=True)):
        part = codes[:, :few, 9 * number :][..., : max(counts)]
        made.append(decoder.push(part, counts))
        padded = torch.nn.functional.pad(part, (0, 0, 0, model.num_codebooks - few), value=ABSENT)
        wanted.append(expected.push(padded, counts))
    for one, other in zip([*made, decoder.flush()], [*wanted, expected.flush()], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
