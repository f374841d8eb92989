"""What streams refuse, before anything of it has changed them."""

import numpy as np
import pytest
import torch
from conftest import make_speech

from codec.errors import CodecError

HOP = 320


@pytest.fixture
def encoder(tiny_model):
    return tiny_model.streaming_encoder(batch=2)


@pytest.fixture
def decoder(tiny_model):
    return tiny_model.streaming_decoder(batch=2)


@pytest.mark.parametrize(
    ("pcm", "lengths", "words"),
    [
        (np.zeros(9), None, r"expected audio of shape \(2, n\), got \(9,\)"),
        (np.zeros((3, 9)), None, r"expected audio of shape \(2, n\), got \(3, 9\)"),
        (np.array([[0.0, 0.0], [np.nan, 0.0]]), None, "slot 1: the audio holds NaN or infinite"),
        (np.zeros((2, 9)), [9], r"lengths must be \(2,\)"),
        (np.zeros((2, 9)), [9, 10], "each is 0 to 9"),
        (np.zeros((2, 9)), [-1, 9], "each is 0 to 9"),
        (np.zeros((2, 9)), [0.5, 9.0], "whole numbers"),
    ],
)
def test_wrong_audio_is_refused_and_leaves_the_stream_as_it_was(encoder, tiny_model, pcm, lengths, words):
    wav = torch.from_numpy(make_speech(0.1)).reshape(2, -1)
    encoder.push(wav[:, :500])
    with pytest.raises(CodecError, match=words):
        encoder.push(pcm, lengths)
    codes = encoder.push(wav[:, 500:])
    assert torch.equal(codes, tiny_model.encode(wav).codes[:, :, 1 : 1 + codes.shape[2]])


def test_samples_beyond_the_lengths_may_be_anything(encoder):
    pcm = torch.full((2, HOP), float("nan"))
    assert encoder.push(pcm, [0, 0]).shape == (2, 8, 0)


def test_integers_are_the_same_sound(tiny_model):
    integers = (make_speech(0.1) * 32_768).astype(np.int16)
    floats = integers.astype(np.float32) / 32_768
    one, other = tiny_model.streaming_encoder(), tiny_model.streaming_encoder()
    assert torch.equal(one.push(integers), other.push(floats))


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (torch.zeros(2, 8, 1), "whole numbers"),
        (torch.zeros(8, 1, dtype=torch.long), r"\(2, K, n\)"),
        (torch.zeros(2, 9, 1, dtype=torch.long), "9 codebooks requested; this model has 1 to 8"),
        (torch.full((2, 8, 1), 1_024), r"codes must lie in 0\.\.1023"),
        (torch.full((2, 8, 1), -1), r"codes must lie in 0\.\.1023"),
    ],
)
def test_wrong_codes_are_refused(decoder, codes, words):
    with pytest.raises(CodecError, match=words):
        decoder.push(codes)


def test_an_ended_slot_waits_for_its_reset(encoder, decoder):
    decoder.push(encoder.push(torch.zeros(2, HOP)))
    encoder.flush([True, False])
    decoder.flush(mask=[True, False])
    for push, value in ((encoder.push, torch.zeros(2, HOP)), (decoder.push, torch.zeros(2, 8, 1).long())):
        with pytest.raises(CodecError, match="slot 0 has been flushed; reset it"):
            push(value)
    assert encoder.push(torch.zeros(2, HOP), [0, HOP]).shape[2] == 1
    assert decoder.push(torch.zeros(2, 8, 1).long(), [0, 1]).shape[1] == HOP
    assert encoder.flush([True, False]).shape[2] == 0
    assert decoder.flush(mask=[True, False]).shape[1] == 0
    encoder.reset([True, False])
    assert encoder.push(torch.zeros(2, HOP), [HOP, 0]).shape[2] == 1


def test_masks_and_ends_are_checked(encoder, decoder):
    for mask in ([True], [1, 0]):
        with pytest.raises(CodecError, match=r"a mask is \(2,\) booleans"):
            encoder.reset(mask)
    decoder.push(torch.zeros(2, 8, 3).long())
    for ends, words in (([700, 100], "slot 1 has handed out 640 samples"), ([641, 961], "3 frames")):
        with pytest.raises(CodecError, match=words):
            decoder.flush(ends)
    decoder.reset([False, False])
    assert decoder.flush([641, 960]).shape == (2, HOP)
    assert decoder.lengths.tolist() == [1, HOP]


def test_states_of_other_streams_are_refused(tiny_model):
    pushed = [tiny_model.streaming_encoder(batch) for batch in (1, 2)]
    blocked = tiny_model.streaming_encoder(1, deterministic=True)
    for encoder in (*pushed, blocked):
        encoder.push(torch.zeros(encoder.batch, 9 * HOP))
    decoder = tiny_model.streaming_decoder()
    decoder.push(torch.zeros(1, 8, 1).long())
    for saved in (pushed[1].state_dict(), blocked.state_dict(), decoder.state_dict(), {}):
        with pytest.raises(CodecError, match="the saved stream is of another"):
            tiny_model.streaming_encoder().load_state_dict(saved)
    with pytest.raises(CodecError, match="the saved stream is of another"):
        tiny_model.streaming_encoder(deterministic=True).load_state_dict(pushed[0].state_dict())


def test_absent_codes_are_for_decoders_that_allow_them(tiny_model):
    codes = torch.full((1, 8, 2), -1)
    with pytest.raises(CodecError, match="the tokens are damaged"):
        tiny_model.streaming_decoder().push(codes)
    decoder = tiny_model.streaming_decoder(allow_absent=True)
    for wrong in (-2, 1024):
        with pytest.raises(CodecError, match="the tokens are damaged"):
            decoder.push(torch.full((1, 8, 2), wrong))
    assert decoder.push(codes).shape == (1, 2 * HOP - tiny_model.decoder.delay)


def test_impossible_streams_are_refused(tiny_model):
    with pytest.raises(CodecError, match="9 codebooks requested"):
        tiny_model.streaming_encoder(num_codebooks=9)
    with pytest.raises(CodecError, match="batch must be 1 or more"):
        tiny_model.streaming_decoder(batch=0)
