"""Laws that hold for every kind of quantizer: what is quantized, saved, streamed and trained."""

import io
import itertools
import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY_CONFIG, make_speech
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import stream_one

import codec
from codec.config import from_dict
from codec.errors import CodecError
from codec.model.config import CodecConfig, config_to_json, parse_config
from codec.quantizers import ABSENT, quantizer_class
from codec.quantizers.base import read_quantizer_config
from codec.quantizers.rvq import search
from codec.tokens.stream import Frame, StreamHeader, StreamReader, StreamWriter
from codec.train.generator import Generator
from codec.train.quantizers import QuantizerTrainingConfig, train_quantizer

KINDS = {
    "plain": {"num_codebooks": 3, "codebook_size": 16},
    "sizes": {"sizes": [16, 5, 40]},
    "factorized": {"num_codebooks": 3, "codebook_size": 16, "dim": 4, "normalise": True},
    "split": {"type": "split_rvq", "num_codebooks": 3, "codebook_size": 16, "dim": 6},
    "split residual": {"type": "split_rvq", "num_codebooks": 3, "codebook_size": 16, "dim": 6, "residual": True},
    "split sizes": {"type": "split_rvq", "sizes": [40, 16, 16]},
    "fsq": {"type": "fsq", "levels": [5, 4, 3]},
    "searched": {"num_codebooks": 3, "codebook_size": 16, "beams": 3},
    "searched factorized": {"sizes": [16, 5, 12], "dim": 4, "normalise": True, "beams": 4},
    "searched split": {"type": "split_rvq", "sizes": [8, 40, 16, 5], "residual": True, "beams": 3},
}
NEAREST = [kind for kind in KINDS if kind != "fsq" and not kind.startswith("searched")]
DIM = 8


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


def make_quantizer(kind: str, dim: int = DIM, seed: int = 0):
    config = read_quantizer_config(KINDS[kind])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = quantizer_class(config.type)(config, dim)
        for tensor in made.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape))
    return made.requires_grad_(False)


def make_model(kind: str, seed: int = 0) -> codec.Codec:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = codec.Codec(from_dict(CodecConfig, TINY_CONFIG | {"quantizer": KINDS[kind]}))
    model.quantizer.load_state_dict(make_quantizer(kind).state_dict())
    return model.eval().requires_grad_(False)


def latents(frames: int = 7, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, DIM, frames, generator=torch.Generator().manual_seed(1))


def test_codes_lie_in_their_codebooks_and_use_them(kind):
    quantizer = make_quantizer(kind)
    codes = quantizer.encode(latents(400))
    assert codes.shape == (2, quantizer.num_codebooks, 400) and codes.dtype == torch.int64
    for layer, size in zip(codes.unbind(1), quantizer.sizes, strict=True):
        assert 0 <= int(layer.min()) <= int(layer.max()) < size
        assert len(layer.unique()) > size / 4


def test_fewer_layers_are_a_prefix_and_absent_layers_add_nothing(kind):
    quantizer, latent = make_quantizer(kind), latents()
    codes = quantizer.encode(latent)
    for count in range(1, quantizer.num_codebooks + 1):
        assert torch.equal(quantizer.encode(latent, count), codes[:, :count])
        absent = F.pad(codes[:, :count], (0, 0, 0, quantizer.num_codebooks - count), value=ABSENT)
        assert torch.equal(quantizer.decode(absent), quantizer.decode(codes[:, :count]))
    assert not quantizer.decode(torch.full_like(codes, ABSENT)).any()


def test_a_latent_is_the_sum_of_its_vectors(kind):
    quantizer = make_quantizer(kind)
    codes, vectors = quantizer.encode(latents()), quantizer.vectors()
    assert [tuple(part.shape) for part in vectors] == [(size, DIM) for size in quantizer.sizes]
    expected = sum(part[codes[:, layer]] for layer, part in enumerate(vectors)).transpose(1, 2)
    torch.testing.assert_close(quantizer.decode(codes), expected)


def test_a_code_too_large_for_its_layer_is_refused(kind):
    quantizer = make_quantizer(kind)
    codes = quantizer.encode(latents())
    for layer, size in enumerate(quantizer.sizes):
        wrong = codes.clone()
        wrong[0, layer, 0] = size
        with pytest.raises(CodecError, match=rf"must lie in 0\.\.{size - 1}"):
            quantizer.check_codes(wrong)
    quantizer.check_codes(codes)


@pytest.mark.parametrize("kind", NEAREST)
@given(frames=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_each_layer_takes_the_nearest(kind, frames, seed):
    """By brute force over the codes of a layer."""
    quantizer = make_quantizer(kind)
    latent = torch.randn(1, DIM, frames, generator=torch.Generator().manual_seed(seed))
    codes, tables = quantizer.encode(latent)[0], quantizer.tables()
    sides = [(None, quantizer, range(3))]
    if kind.startswith("split"):
        sides = [
            (quantizer.first, quantizer.first.rvq, range(1)),
            (quantizer.rest, quantizer.rest.rvq, range(1, 3)),
        ]
    for side, rvq, layers in sides:
        whole = latent[0].t()
        if kind == "split residual" and layers.start:
            whole = whole - tables[0][codes[0]]
        residual = whole if side is None else side.input(whole)
        own = tables if side is None else rvq.tables()
        for place, layer in enumerate(layers):
            given, book = rvq.project_in(place, residual), rvq.codebooks[place, : quantizer.sizes[layer]]
            if rvq.config.normalise:
                given, book = F.normalize(given, dim=1), F.normalize(book, dim=1)
            distance = torch.cdist(given, book)
            chosen = distance.gather(1, codes[layer].unsqueeze(1)).squeeze(1)
            torch.testing.assert_close(chosen, distance.min(dim=1).values)
            residual = residual - own[place][codes[layer]]


def random_tables(sizes: list[int], seed: int, count: int = 4) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Vectors ``(count, 3)`` and tables ``(size, 3)`` to look them up in."""
    generator = torch.Generator().manual_seed(seed)
    tables = [torch.randn(size, 3, generator=generator) for size in sizes]
    return 2 * torch.randn(count, 3, generator=generator), tables


SUMS = st.tuples(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 999))


@given(SUMS)
@settings(max_examples=30, deadline=None)
def test_a_search_over_all_paths_finds_the_nearest_sum(drawn):
    vectors, tables = random_tables(*drawn)
    codes = search(vectors, tables, beams=6**4)
    found = sum(table[row] for table, row in zip(tables, codes, strict=True))
    sums = torch.stack([sum(path) for path in itertools.product(*tables)])
    torch.testing.assert_close((vectors - found).norm(dim=1), torch.cdist(vectors, sums).amin(1))


@given(SUMS)
@settings(max_examples=30, deadline=None)
def test_a_search_of_one_beam_takes_the_nearest_in_a_row(drawn):
    left, tables = random_tables(*drawn)
    codes = search(left, tables, beams=1)
    for table, row in zip(tables, codes, strict=True):
        assert torch.equal(row, torch.cdist(left, table).argmin(1))
        left = left - table[row]


def test_a_search_in_large_codebooks_follows_the_paths_of_least_distance():
    """By sorting all distances of a step; tables of 256 and 128 entries are cut into parts, one of 50 is not."""
    vectors, tables = random_tables([256, 50, 128, 512], seed=0, count=20)
    paths = [[((), vector)] for vector in vectors]
    for table in tables:
        for row, kept in enumerate(paths):
            longer = [((*path, code), left - entry) for path, left in kept for code, entry in enumerate(table)]
            paths[row] = sorted(longer, key=lambda item: item[1].norm().item())[:3]
    assert search(vectors, tables, beams=3).t().tolist() == [list(kept[0][0]) for kept in paths]


def test_more_beams_leave_less_over():
    quantizer, latent = make_quantizer("searched"), latents(frames=200)
    left = []
    for beams in (1, 2, 4, 8):
        codes = search(latent.transpose(1, 2).flatten(0, 1), quantizer.vectors(), beams)
        decoded = quantizer.decode(codes.view(3, 2, 200).transpose(0, 1))
        left.append((latent - decoded).square().mean().item())
    assert left == sorted(left, reverse=True) and left[-1] < 0.9 * left[0]


def test_fsq_codes_are_all_combinations_of_its_levels():
    quantizer = make_quantizer("fsq")
    numbers = quantizer.numbers_of(torch.arange(60))
    # Level l of 5, 4, 3 has its whole numbers around 0, and one more below where their number is even.
    expected = itertools.product(range(-1, 2), range(-2, 2), range(-2, 3))
    assert [tuple(reversed(row)) for row in numbers.int().tolist()] == list(expected)
    assert torch.equal(quantizer.codes_of(numbers), torch.arange(60))
    extremes = quantizer.bound(torch.tensor([[-99.0] * 3, [99.0] * 3])).round()
    assert extremes.tolist() == [[-2, -2, -1], [2, 1, 1]]
    assert quantizer.bound(torch.zeros(3)).abs().max() < 1e-6


def test_batch_single_and_stream_agree(kind):
    model = make_model(kind)
    wavs = [torch.from_numpy(make_speech(seconds, seed=i)) for i, seconds in enumerate((0.5, 0.31))]
    batch = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    tokens = model.encode(batch, lengths=torch.tensor([len(wav) for wav in wavs]))
    sound = model.decode(tokens)
    for index, wav in enumerate(wavs):
        alone = model.encode(wav)
        assert torch.equal(tokens[index].codes, alone.codes)
        assert torch.equal(sound[index, : len(wav)], model.decode(alone)[0])
        streamed = stream_one(model, wav, [517])
        assert torch.equal(streamed.codes, alone.codes[0])
        torch.testing.assert_close(streamed.wav, model.decode(alone)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", [".pt", ".rvq"])
def test_files_bring_codes_and_sizes_back(kind, suffix, tmp_path):
    model = make_model(kind)
    for count in range(1, model.num_codebooks + 1):
        tokens = model.encode(torch.from_numpy(make_speech(0.3)), num_codebooks=count)
        path = tmp_path / f"tokens{suffix}"
        codec.save_tokens(path, tokens, model)
        clip = codec.load_tokens(path)
        assert torch.equal(clip.codes, tokens.codes)
        assert clip.codebook_sizes == tokens.codebook_sizes == model.quantizer.sizes[:count]
        assert clip.bits_per_frame == model.quantizer.bits(count)
        uniform = len(set(clip.codebook_sizes)) == 1
        if suffix == ".rvq":
            assert path.read_bytes()[4] == (1 if uniform else 2)


def test_token_streams_bring_codes_back(kind):
    sizes = make_quantizer(kind).sizes
    different = sizes if len(set(sizes)) > 1 else ()
    header = StreamHeader(len(sizes), max(sizes), 16_000, 320, "0" * 16, "0.1.0", different)
    file, sent = (
        io.BytesIO(),
        [torch.tensor([size - 1 for size in sizes]), torch.zeros(len(sizes), dtype=torch.int64)],
    )
    writer = StreamWriter(file, header)
    for codes in sent:
        writer.write(Frame(codes, 320))
    writer.end()
    assert file.getvalue()[4] == (2 if different else 1)
    file.seek(0)
    reader = StreamReader(file)
    assert reader.header == header
    assert all(torch.equal(frame.codes, codes) for frame, codes in zip(reader, sent, strict=True))


def test_models_and_configs_round_trip(kind, tmp_path):
    model = make_model(kind)
    assert parse_config(config_to_json(model.config)) == model.config
    codec.save(model, tmp_path)
    loaded = codec.load(tmp_path, device="cpu")
    assert loaded.fingerprint == model.fingerprint
    wav = torch.from_numpy(make_speech(0.3))
    assert torch.equal(loaded.encode(wav).codes, model.encode(wav).codes)


def test_each_kind_has_a_fingerprint_of_its_own():
    assert len({make_model(kind).fingerprint for kind in KINDS}) == len(KINDS)
    model = make_model("plain")
    before = model.fingerprint
    model.config = replace(model.config, quantizer=replace(model.config.quantizer, normalise=True))
    assert model.fingerprint != before


def test_configs_of_former_versions_mean_the_same():
    old = {"num_codebooks": 4, "codebook_size": 32}
    assert read_quantizer_config(old) == read_quantizer_config({"sizes": [32] * 4})
    assert json.loads(config_to_json(CodecConfig(quantizer=old)))["quantizer"] == old


@pytest.mark.parametrize(
    "values, message",
    [
        ({"type": "vq"}, "unknown quantizer 'vq'; did you mean 'rvq'"),
        ({"type": "fsq", "dim": 3}, "unknown key 'dim'"),
        ({"type": "fsq", "levels": [1]}, "levels"),
        ({"type": "split_rvq", "num_codebooks": 1}, "use rvq"),
        ({"sizes": [4, 0]}, "1 or more"),
        ({"sizes": [16, 99_999_999_999]}, "99999999999 entries; at most 16777216"),
        ({"beams": 0}, "beams is 0; it must be 1 to 64"),
        ({"beams": 5000}, "beams is 5000; it must be 1 to 64"),
        ({"type": "fsq", "beams": 2}, "unknown key 'beams'"),
    ],
)
def test_wrong_settings_are_one_line(values, message):
    with pytest.raises(CodecError, match=message):
        CodecConfig(quantizer=values)


def trained(kind: str, steps: int, lean=None, trainer=None, first: int = 0):
    """The kind's quantizer and its trainer after some steps of following two clusters."""
    lean = lean or make_quantizer(kind).requires_grad_(True)
    trainer = trainer or train_quantizer(
        lean, QuantizerTrainingConfig(init_steps=3, revive_every=4, dropout=0.5)
    )
    for step in range(first, steps):
        latent = torch.randn(2, DIM, 30, generator=torch.Generator().manual_seed(step))
        trainer(latent, torch.ones(2, 30, dtype=torch.bool), step)
    return lean, trainer


def test_training_and_lean_path_choose_the_same_codes(kind):
    lean, trainer = trained(kind, 8)
    latent = latents()
    output = trainer.eval()(latent, torch.ones(2, 7, dtype=torch.bool), 0)
    assert torch.equal(output.codes, lean.encode(latent))
    torch.testing.assert_close(output.quantized, lean.decode(output.codes))
    for count in range(1, lean.num_codebooks + 1):
        torch.testing.assert_close(output.prefix(count), lean.decode(output.codes[:, :count]))
    assert trainer.usage().shape == trainer.perplexity().shape == (lean.num_codebooks,)
    assert (trainer.usage() <= 1).all() and trainer.ready


def test_resumed_training_is_as_if_uninterrupted(kind):
    straight, kept = trained(kind, 9)
    for split in (2, 6):
        lean, trainer = trained(kind, split)
        other, resumed = trained(kind, 0, lean=make_quantizer(kind, seed=5).requires_grad_(True))
        other.load_state_dict(lean.state_dict())
        resumed.load_state_dict(trainer.state_dict())
        trained(kind, 9, other, resumed, first=split)
        states = straight.state_dict() | kept.state_dict(), other.state_dict() | resumed.state_dict()
        for name, tensor in states[0].items():
            assert torch.equal(tensor, states[1][name]), name


def test_gradients_reach_the_encoder_and_every_projection(kind):
    for steps in (0, 8):
        lean, trainer = trained(kind, steps)
        latent = latents().requires_grad_()
        output = trainer.eval()(latent, torch.ones(2, 7, dtype=torch.bool), 0)
        (output.quantized.square().mean() + output.commitment).backward()
        assert latent.grad.abs().sum() > 0
        for name, parameter in lean.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


def test_the_other_codebooks_of_a_residual_split_follow_what_the_first_left():
    lean, trainer = trained("split residual", 8)
    latent = latents()
    output = trainer.eval()(latent, torch.ones(2, 7, dtype=torch.bool), 0)
    told = lean.decode(output.codes[:, :1])
    torch.testing.assert_close(lean.rest.prepare_encode(2)(latent - told), output.codes[:, 1:])
    assert not torch.equal(lean.rest.prepare_encode(2)(latent), output.codes[:, 1:])


@pytest.mark.parametrize("kind", ["factorized", "split", "split residual", "searched split", "fsq"])
def test_projections_round_alike_for_a_frame_of_each_signal_and_for_frames_of_one(kind):
    made, seen = make_quantizer(kind, dim=64), []
    for part in made.modules():
        if isinstance(part, torch.nn.Linear):
            part.register_forward_hook(lambda part, inputs, output: seen.append(output.flatten(0, -2)))
    quantize = made.prepare_encode(made.num_codebooks)
    frames = torch.randn(16, 64, generator=torch.Generator().manual_seed(1))
    seen.clear()
    # As an encoder gives them: one signal (1, D, 16), and a frame of each of 16 (16, D, 1).
    quantize(frames.unsqueeze(0).transpose(1, 2))
    of_one = list(seen)
    seen.clear()
    quantize(frames.unsqueeze(1).transpose(1, 2))
    assert len(seen) == len(of_one) > 0
    assert all(torch.equal(one, each) for one, each in zip(of_one, seen, strict=True))


def test_layers_past_the_end_of_a_small_codebook_stay_empty():
    lean, trainer = trained("sizes", 30)
    for book, table, count, size in zip(
        lean.codebooks, lean.tables(), trainer.cluster_size, lean.sizes, strict=True
    ):
        assert not book[size:].any() and not table[size:].any() and not count[size:].any()
        assert len(book[:size].unique(dim=0)) == size


def test_a_tiny_model_learns(kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = codec.Codec(from_dict(CodecConfig, TINY_CONFIG | {"quantizer": KINDS[kind]}))
    generator = Generator(model, QuantizerTrainingConfig(init_steps=5, dropout=0.0))
    wav = torch.from_numpy(make_speech(0.64)).view(2, -1)
    mask = torch.ones(2, wav.shape[1] // model.hop_length, dtype=torch.bool)
    optimizer, losses = torch.optim.AdamW(generator.parameters(), 3e-3), []
    for step in range(80):
        made = generator(wav, mask, step)
        loss = (made.fake - wav).square().mean() + 0.1 * made.quantizer.commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.6 * sum(losses[5:15])
    assert torch.equal(model.encode(wav).codes, generator.eval()(wav, mask, 0).quantizer.codes)


@pytest.mark.parametrize("kind", ["sizes", "factorized", "split", "split residual", "fsq", "searched", "searched split"])
def test_an_exported_model_has_the_same_codes(kind, tmp_path):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    from codec.export.folder import export_graphs

    model = make_model(kind)
    codec.save(model, tmp_path)
    export_graphs(model, tmp_path)
    exported = codec.load(tmp_path, device="cpu", engine="onnx")
    wav = torch.from_numpy(make_speech(0.5))
    tokens = model.encode(wav)
    assert torch.equal(exported.encode(wav).codes, tokens.codes)
    torch.testing.assert_close(exported.decode(tokens), model.decode(tokens), rtol=0, atol=1e-4)
    assert torch.equal(exported.encode(wav, num_codebooks=1).codes, tokens.codes[:, :1])
