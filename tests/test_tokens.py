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
from codec.tokens.clip import TokenClip
from codec.tokens.files import read_clip, write_clip
from codec.tokens.rvq import from_rvq, pack_bits, to_rvq, unpack_bits

HEADER = (
    b'{"num_codebooks":2,"codebook_size":1024,"num_frames":2,"num_samples":333,"sample_rate":16000,'
    b'"hop_length":320,"fingerprint":"0123456789abcdef","codec_version":"0.1.0"}'
)


def make_clip(layers: int = 3, frames: int = 5, size: int = 1024, seed: int = 0) -> TokenClip:
    codes = torch.randint(size, (layers, frames), generator=torch.Generator().manual_seed(seed))
    return TokenClip(codes, frames * 320 - 7, 16_000, 320, size, "0123456789abcdef", "0.1.0")


def same(left: TokenClip, right: TokenClip) -> bool:
    left, right = dict(vars(left)), dict(vars(right))
    return torch.equal(left.pop("codes"), right.pop("codes")) and left == right


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
    bits = max(1, int(np.ceil(np.log2(clip.codebook_size))))
    assert len(data) == 9 + header + -(-clip.codes.numel() * bits // 8) + 4


@settings(max_examples=20, deadline=None)
@given(clip=CLIPS, suffix=st.sampled_from([".pt", ".rvq"]))
def test_files_round_trip(tmp_path_factory, clip, suffix):
    path = tmp_path_factory.mktemp("tokens") / f"clip{suffix}"
    write_clip(path, clip, suffix)
    assert same(read_clip(path), clip)


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
    assert clip.codes.tolist() == [[1, 512], [1023, 3]]
    assert (clip.num_samples, clip.sample_rate, clip.hop_length) == (333, 16_000, 320)
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
    clip = read_clip(path)
    assert clip.codes.tolist() == [[1, 512], [1023, 3]]
    write_clip(tmp_path / "new.pt", clip, ".pt")
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
        ({"codes": torch.full((3, 5), 1024)}, "1024 is out of range"),
        ({"codes": torch.full((3, 5), -1)}, "-1 is out of range"),
        ({"codes": torch.zeros(3, 4, dtype=torch.int64)}, "are 5 frames"),
        ({"num_samples": 0}, "num_samples"),
        ({"sample_rate": True}, "sample_rate"),
        ({"hop_length": "320"}, "hop_length"),
        ({"fingerprint": 7}, "fingerprint"),
    ],
)
def test_a_clip_is_checked(changes, words):
    with pytest.raises(CodecError, match=words):
        replace(make_clip(), **changes)


def test_rates_of_a_clip():
    clip = make_clip(layers=8, frames=50)
    assert clip.bits_per_frame == 80
    assert clip.bitrate == 4_000
    assert clip.seconds == (50 * 320 - 7) / 16_000


def test_tokens_save_and_load_one_clip(tiny_model, tmp_path):
    tokens = tiny_model.encode(torch.randn(2, 1_000) * 0.1, lengths=torch.tensor([1_000, 400]))
    with pytest.raises(CodecError, match="one clip, got 2"):
        codec.save_tokens(tmp_path / "two.pt", tokens, tiny_model)
    for suffix in (".pt", ".rvq"):
        codec.save_tokens(tmp_path / f"one{suffix}", tokens[1], tiny_model)
        loaded = codec.load_tokens(tmp_path / f"one{suffix}")
        assert torch.equal(loaded.codes, tokens.codes[1:, :, :2])
        assert loaded.lengths.tolist() == [2]
        assert loaded.num_samples.tolist() == [400]
        assert (loaded.sample_rate, loaded.fingerprint) == (16_000, tiny_model.fingerprint)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.pt", "one.rvq"]


def test_tokens_cut_to_fewer_codebooks_and_to_one_clip(tiny_model):
    tokens = tiny_model.encode(torch.randn(2, 1_000) * 0.1, lengths=torch.tensor([1_000, 400]))
    assert torch.equal(tokens.first(3).codes, tokens.codes[:, :3])
    assert tokens[1].codes.shape == (1, 8, 2)
    for count in (0, 9):
        with pytest.raises(CodecError, match="1 to 8"):
            tokens.first(count)
