"""Pushing signals through streams in given pieces."""

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.model.codec import Codec


@dataclass
class Streamed:
    """What came out of a slot: codes ``(K, F)`` and audio ``(T,)``."""

    codes: Tensor
    wav: Tensor


def stream_one(model: Codec, wav: Tensor, sizes: list[int], deterministic: bool = False) -> Streamed:
    """``wav (T,)`` in pieces of these sizes, over and over, through encoder and decoder."""
    encoder = model.streaming_encoder(deterministic=deterministic)
    decoder = model.streaming_decoder(deterministic=deterministic)
    codes, sound, start, turn = [], [], 0, 0
    while start < len(wav):
        size = sizes[turn % len(sizes)]
        codes.append(encoder.push(wav[start : start + size]))
        sound.append(decoder.push(codes[-1]))
        start, turn = start + size, turn + 1
    codes.append(encoder.flush())
    sound.append(decoder.push(codes[-1], num_samples=encoder.num_samples))
    sound.append(decoder.flush())
    return Streamed(torch.cat(codes, dim=2)[0], torch.cat(sound, dim=1)[0])


def stream_many(model: Codec, queues: list[list[Tensor]], sizes: list[list[int]]) -> list[list[Streamed]]:
    """Each slot takes the signals of its queue one after the other, in pieces of its own sizes.

    A slot gets its next signal in the push after the one that ended the last, while others go on.
    """
    batch = len(queues)
    encoder, decoder = model.streaming_encoder(batch), model.streaming_decoder(batch)
    results: list[list[Streamed]] = [[] for _ in queues]
    parts: list[tuple[list, list]] = [([], []) for _ in queues]
    where = [0] * batch
    turn = 0
    while any(len(done) < len(queue) for done, queue in zip(results, queues, strict=True)):
        pieces = []
        for slot, queue in enumerate(queues):
            signal = queue[len(results[slot])] if len(results[slot]) < len(queue) else torch.zeros(0)
            size = sizes[slot][turn % len(sizes[slot])]
            pieces.append(signal[where[slot] : where[slot] + size])
            where[slot] += len(pieces[-1])
        turn += 1
        lengths = torch.tensor([len(piece) for piece in pieces])
        # Whatever lies behind a slot's samples must not count.
        pcm = torch.full((batch, int(lengths.max())), 0.3)
        for row, piece in zip(pcm, pieces, strict=True):
            row[: len(piece)] = piece
        collect(parts, encoder, decoder, encoder.push(pcm, lengths))
        ended = [
            len(results[slot]) < len(queue) and where[slot] == len(queue[len(results[slot])])
            for slot, queue in enumerate(queues)
        ]
        if any(ended):
            collect(parts, encoder, decoder, encoder.flush(ended), encoder.num_samples, ended)
            tails = decoder.flush(mask=ended)
            for slot in [slot for slot in range(batch) if ended[slot]]:
                parts[slot][1].append(tails[slot, : decoder.lengths[slot]])
                codes, wav = parts[slot]
                results[slot].append(Streamed(torch.cat(codes, dim=1), torch.cat(wav)))
                parts[slot], where[slot] = ([], []), 0
            encoder.reset(torch.tensor(ended))
            decoder.reset(torch.tensor(ended))
    return results


def collect(parts, encoder, decoder, codes, num_samples=None, ended=None) -> None:
    """Decode new codes and add both to each slot's parts."""
    frames = encoder.lengths
    if num_samples is not None:
        num_samples = torch.where(torch.tensor(ended), num_samples, -1)
    wav = decoder.push(codes, frames, num_samples)
    for slot, (slot_codes, slot_wav) in enumerate(parts):
        assert not codes[slot, :, frames[slot] :].any()
        assert not wav[slot, decoder.lengths[slot] :].any()
        slot_codes.append(codes[slot, :, : frames[slot]])
        slot_wav.append(wav[slot, : decoder.lengths[slot]])
