"""How far an import and its original are from float64, and each from itself."""

from types import SimpleNamespace

import pytest
import torch
from originals import dac, encodec, imported, mimi, noise, speechtokenizer
from torch import nn

from codec.bench.types import BenchConfig
from codec.importing.benchmark import originals
from codec.importing.originals import (
    ORIGINALS,
    DacOriginal,
    EncodecOriginal,
    MimiOriginal,
    SpeechTokenizerOriginal,
    enliven,
)
from codec.importing.yardstick import Count, measure, odd_clips, threads, unlike

CLASSES = {
    "encodec": (EncodecOriginal, encodec),
    "mimi": (MimiOriginal, mimi),
    "dac": (DacOriginal, dac),
    "speechtokenizer": (SpeechTokenizerOriginal, speechtokenizer),
}


def test_codes_and_their_frames_are_counted():
    codes = torch.zeros(1, 4, 6, dtype=torch.long)
    others = codes.clone()
    others[0, 1:, 2] = 1
    others[0, 3, 5] = 1
    assert unlike(codes, others) == Count(4, 2) and str(Count(4, 2)) == "4 in 2"
    # Of the frames that both have.
    assert unlike(codes, others[..., :5]) == Count(3, 1)


@pytest.mark.parametrize("name", CLASSES)
@torch.inference_mode()
def test_an_original_in_float64_is_the_same_network_without_rounding(name):
    cls, make = CLASSES[name]
    original = cls(make())
    exact, wav = original.exact(), noise(1, 999)
    before = original.codes(wav)
    # The small random codebooks have a few rows that are nearly equal.
    assert unlike(exact.codes(wav.double()), before).codes <= 2
    assert torch.equal(original.codes(wav), before)
    assert {p.dtype for p in exact.network.parameters()} == {torch.float64}
    assert {p.dtype for p in original.network.parameters()} == {torch.float32}


@torch.inference_mode()
def test_mimis_distances_are_in_float64_too():
    """Two entries whose distances are equal in float32, of which the second is the nearer."""
    exact = MimiOriginal(mimi()).exact()
    book = exact.quantizers()[0][0][0]
    book.cluster_usage.fill_(1.0)
    book.embed_sum.fill_(5.0)
    book.embed_sum[0, 0], book.embed_sum[1, 0] = 1.0 + 1e-12, 1.0
    book.embed_sum[:2, 1:] = 0.0
    assert int(book.quantize(torch.zeros(1, 6, dtype=torch.float64))) == 1


@pytest.fixture
def mimis(tmp_path):
    original = MimiOriginal(mimi())
    return imported(tmp_path, original.network), original


@torch.inference_mode()
def test_an_import_is_no_further_from_float64_than_its_original(mimis):
    found = measure(*mimis, [noise(333), noise(999)])
    assert found.compared == Count(4 * (17 + 50), 17 + 50)
    assert found.ours.exact.codes <= max(found.theirs.exact.codes, 4)


@torch.inference_mode()
def test_a_wrong_import_is_far_from_both(mimis):
    model, original = mimis
    codebooks = model.quantizer.rest.rvq.codebooks
    codebooks.copy_(codebooks.roll(1, dims=1))
    found = measure(model, original, [noise(999)])
    assert found.ours.original.frames == found.ours.exact.frames == found.compared.frames
    assert found.theirs.exact.codes <= 4 and found.ours.threads.codes <= 4


def test_threads_are_what_they_were():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        _ = 1 / 0
    assert torch.get_num_threads() == before


def test_no_clip_is_of_whole_frames(mimis):
    model, _ = mimis
    clips = list(odd_clips(model, 30))
    assert len(clips) == 30 and all(len(clip) % model.hop_length for clip in clips)


@torch.inference_mode()
def test_no_two_random_codes_are_equal():
    """Rounding would choose between them."""
    book = SimpleNamespace(codebook_size=1024, embed=torch.zeros(1024, 3))

    class Few(MimiOriginal):
        def quantizers(self):
            return [([book], lambda wav: noise(1, 3, 40))]

    enliven(Few(nn.Identity()), noise(1))
    assert len(book.embed.unique(dim=0)) == 1024


def test_the_benchmark_has_a_column_of_each(monkeypatch):
    monkeypatch.setitem(ORIGINALS._items, "mimi", lambda: MimiOriginal(mimi(upsampling_ratios=[5, 4, 4, 2])))
    config = BenchConfig(baselines=("mimi",), seconds=0.1, repeats=1, frames=2, clips=1)
    table = originals(config)
    assert all(len(row) == len(table.columns) for row in table.rows)
    names = [row[1] for row in table.rows]
    assert names == ["codec", "transformers", "codec again"]
    columns = dict(zip(table.columns, zip(*table.rows, strict=True), strict=True))
    assert columns["codes"][0] % 4 == 0 and columns["codes"][0] > 1000
    assert columns["not the original's"][1] == "-" and columns["not float64's"][2] == "-"
    assert int(columns["not float64's"][1].split(" in ")[0]) < columns["codes"][1] / 100
