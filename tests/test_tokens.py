"""Tokens in memory and in files."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from codec.errors import CodecError
from codec.tokens.fields import fields_of, tokens_of
from codec.tokens.files import load_tokens
from codec.tokens.rvq import from_rvq, pack_bits, to_rvq, unpack_bits

HEADER = (
    b'{"num_codebooks":2,"codebook_size":1024,"num_frames":2,"num_samples":333,"sample_rate":16000,'
    b'"hop_length":320,"fingerprint":"0123456789abcdef","codec_version":"0.1.0"}'
)


def make_clip(layers: int = 3, frames: int = 5, size: int = 1024, seed: int = 0) -> codec.Tokens:
    return tokens_of(
        {
            "codes": torch.randint(size, (layers, frames), generator=torch.Generator().manual_seed(seed)),
            "num_samples": frames * 320 - 7,
            "sample_rate": 16_000,
            "hop_length": 320,
            "codebook_size": size,
            "fingerprint": "0123456789abcdef",
            "codec_version": "0.1.0",
        }
    )


def same(left: codec.Tokens, right: codec.Tokens) -> bool:
    """Whether all is equal, what ``==`` does not look at too."""
    rest = ("hop_length", "codebook_sizes", "codec_version")
    return left == right and all(getattr(left, name) == getattr(right, name) for name in rest)


CLIPS = st.builds(
    make_clip,
    layers=st.integers(1, 8),
    frames=st.integers(1, 60),
    size=st.sampled_from([1, 2, 3, 256, 1000, 1024, 4096, 65_536]),
    seed=st.integers(0, 99),
)


@settings(max_examples=60, deadline=None)
@given(CLIPS)
def test_rvq_bytes_round_trip_and_cost_what_they_should(clip):
    data = to_rvq(clip)
    assert same(from_rvq(data), clip)
    header = struct.unpack("<I", data[5:9])[0]
    bits = max(1, int(np.ceil(np.log2(clip.codebook_sizes[0]))))
    assert len(data) == 9 + header + -(-clip.codes.numel() * bits // 8) + 4


@settings(max_examples=20, deadline=None)
@given(clip=CLIPS, suffix=st.sampled_from([".pt", ".rvq"]))
def test_files_round_trip(tmp_path_factory, clip, suffix):
    path = tmp_path_factory.mktemp("tokens") / f"clip{suffix}"
    codec.save_tokens(path, clip)
    assert same(load_tokens(path), clip)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 17).flatmap(
        lambda bits: st.tuples(st.just(bits), st.lists(st.integers(0, 2**bits - 1), max_size=50))
    )
)
def test_bits_round_trip(drawn):
    bits, values = drawn
    data = pack_bits(np.array(values, np.int64), bits)
    assert len(data) == -(-len(values) * bits // 8)
    assert unpack_bits(data, len(values), bits).tolist() == values


def test_bits_by_hand():
    # 1 = 0000000001, 1023 = 1111111111, 512 = 1000000000, then two zeros to a whole byte.
    assert pack_bits(np.array([1, 1023, 512]), 10) == bytes([0b00000000, 0b01111111, 0b11111000, 0])


def test_rvq_version_1_stays_readable():
    # Frame by frame: (1, 1023), (512, 3), ten bits each.
    payload = bytes([0b00000000, 0b01111111, 0b11111000, 0b00000000, 0b00000011])
    body = b"CRVQ\x01" + struct.pack("<I", len(HEADER)) + HEADER + payload
    data = body + struct.pack("<I", zlib.crc32(body))
    clip = from_rvq(data)
    assert clip.codes.tolist() == [[[1, 512], [1023, 3]]]
    assert (clip.num_samples.tolist(), clip.sample_rate, clip.hop_length) == ([333], 16_000, 320)
    assert (clip.fingerprint, clip.codec_version) == ("0123456789abcdef", "0.1.0")
    assert to_rvq(clip) == data


def test_pt_version_1_stays_readable(tmp_path):
    content = {
        "format": "codec-tokens",
        "version": 1,
        "codes": torch.tensor([[1, 512], [1023, 3]]),
        "num_samples": 333,
        "sample_rate": 16_000,
        "hop_length": 320,
        "codebook_size": 1024,
        "fingerprint": "0123456789abcdef",
        "codec_version": "0.1.0",
    }
    path = tmp_path / "old.pt"
    torch.save(content, path)
    clip = load_tokens(path)
    assert clip.codes.tolist() == [[[1, 512], [1023, 3]]]
    codec.save_tokens(tmp_path / "new.pt", clip)
    again = torch.load(tmp_path / "new.pt", weights_only=True)
    assert torch.equal(again.pop("codes"), content.pop("codes"))
    assert again == content


def test_every_flipped_bit_of_an_rvq_file_is_noticed():
    data = to_rvq(make_clip(layers=2, frames=3))
    for position in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(CodecError):
            from_rvq(bytes(damaged))


def test_every_cut_tail_and_any_extra_byte_of_an_rvq_file_is_noticed():
    data = to_rvq(make_clip(layers=2, frames=3))
    for length in range(len(data)):
        with pytest.raises(CodecError):
            from_rvq(data[:length])
    with pytest.raises(CodecError):
        from_rvq(data + b"\0")


def test_a_header_that_lies_is_refused_though_its_checksum_fits():
    for old, new in (
        (b'"num_frames":2', b'"num_frames":3'),
        (b'"num_codebooks":2', b'"num_codebooks":0'),
        (b'"codebook_size":1024', b'"codebook_size":null'),
        (b'"hop_length"', b'"hip_length"'),
        (HEADER, b"[" * 100_000),
    ):
        header = HEADER.replace(old, new)
        body = b"CRVQ\x01" + struct.pack("<I", len(header)) + header + bytes(5)
        with pytest.raises(CodecError):
            from_rvq(body + struct.pack("<I", zlib.crc32(body)))


def test_a_newer_version_is_told_from_damage():
    body = b"CRVQ\x63" + bytes(20)
    with pytest.raises(CodecError, match="version 99 is unknown; update"):
        from_rvq(body + struct.pack("<I", zlib.crc32(body)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"codes": torch.zeros(3, 5)}, "int64"),
        ({"codes": torch.zeros(5, dtype=torch.int64)}, r"\(K, T\)"),
        ({"codes": torch.zeros(3, 5, dtype=torch.int64).to_sparse()}, "a plain tensor"),
        ({"codes": torch.zeros(3, 5, dtype=torch.int64, device="meta")}, "a plain tensor"),
        ({"codes": torch.full((3, 5), 1024)}, "1024 is out of range"),
        ({"codes": torch.full((3, 5), -1)}, "-1 is out of range"),
        ({"codes": torch.zeros(3, 4, dtype=torch.int64)}, "are 5 frames"),
        ({"num_samples": 0}, "num_samples"),
        ({"sample_rate": True}, "sample_rate"),
        ({"hop_length": "320"}, "hop_length"),
        ({"fingerprint": 7}, "fingerprint"),
        ({"codebook_sizes": [1024, 1024, 1024]}, "do not fit"),
        ({"codebook_sizes": [1024, 4]}, "3 layers"),
        ({"codebook_sizes": "abc"}, "codebook_sizes must be"),
        ({"other": 1}, r"unknown keys: \['other'\]"),
    ],
)
def test_the_fields_of_a_file_are_checked(changes, words):
    with pytest.raises(CodecError, match=words):
        tokens_of(fields_of(make_clip()) | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"codes": [[[0]]]}, "must be tensors, got list"),
        ({"codes": torch.zeros(3, 5)}, r"\(B, K, T\)"),
        ({"lengths": torch.tensor([5, 5])}, "lengths"),
        ({"codebook_sizes": (1024,)}, "3 layers of codes, but 1 codebook_sizes"),
    ],
)
def test_tokens_are_checked(changes, words):
    with pytest.raises(CodecError, match=words):
        replace(make_clip(), **changes)


def test_tokens_of_a_wrong_range_are_not_written(tmp_path):
    wrong = replace(make_clip(), codes=torch.full((1, 3, 5), 1024))
    for suffix in (".pt", ".rvq"):
        with pytest.raises(CodecError, match="1024 is out of range"):
            codec.save_tokens(tmp_path / f"a{suffix}", wrong)
    assert not list(tmp_path.iterdir())


def test_rates_of_a_clip():
    clip = make_clip(layers=8, frames=50)
    assert clip.bits_per_frame == 80
    assert clip.bitrate == 4_000
    assert clip.first(2).bitrate == 1_000


def test_tokens_save_and_load_one_clip(tiny_model, tmp_path):
    tokens = tiny_model.encode(torch.randn(2, 1_000) * 0.1, lengths=torch.tensor([1_000, 400]))
    with pytest.raises(CodecError, match="one clip, got 2"):
        codec.save_tokens(tmp_path / "two.pt", tokens)
    for suffix in (".pt", ".rvq"):
        codec.save_tokens(tmp_path / f"one{suffix}", tokens[1])
        codec.save_tokens(tmp_path / f"two{suffix}", tokens[1], tiny_model)
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()
        loaded = codec.load_tokens(tmp_path / f"one{suffix}")
        assert torch.equal(loaded.codes, tokens.codes[1:, :, :2])
        assert loaded.lengths.tolist() == [2]
        assert loaded.num_samples.tolist() == [400]
        assert (loaded.sample_rate, loaded.fingerprint) == (16_000, tiny_model.fingerprint)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.pt", "one.rvq", "two.pt", "two.rvq"]


def test_tokens_cut_to_fewer_codebooks_and_to_one_clip(tiny_model):
    tokens = tiny_model.encode(torch.randn(2, 1_000) * 0.1, lengths=torch.tensor([1_000, 400]))
    assert torch.equal(tokens.first(3).codes, tokens.codes[:, :3])
    assert tokens[1].codes.shape == (1, 8, 2)
    for count in (0, 9):
        with pytest.raises(CodecError, match="1 to 8"):
            tokens.first(count)
