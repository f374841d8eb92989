"""Whole clips through the network in bounded memory, by carrying state from chunk to chunk."""

import operator

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.engines.base import Engine
from codec.engines.torch import decoding, encoding, torch_engine
from codec.model.network import Network
from codec.model.steps import CHUNK_FRAMES, Limits, run_signals
from codec.quantizers import ABSENT
from codec.tokens.tokens import Tokens

MAX_FRAMES = 32 * CHUNK_FRAMES
"""Frames of a step over all clips of a batch, so that memory is bounded: some 0.7 GB with the default model."""


def encode_chunked(
    model: Network,
    engine: Engine,
    wav: Tensor,
    num_samples: list[int],
    num_codebooks: int | None,
    deterministic: bool = False,
) -> Tensor:
    """Codes ``(B, K, F)`` of ``wav (B, T)``, whose clips are zero after ``num_samples``."""
    limits = Limits(model.encoder.first_frames, model.encoder.any_end)
    if model.causal and limits != Limits():
        codes = _encode_to_ends(model, engine, wav, num_samples, num_codebooks, deterministic, limits)
    elif model.causal:
        rows = rows_at_once(model.num_frames(wav.shape[1]))
        parts = [_encode_causal(model, engine, x, num_codebooks, deterministic) for x in wav.split(rows)]
        codes = torch.cat(parts)
    else:
        codes = _encode_one_by_one(model, engine, wav, num_samples, num_codebooks)
    lengths = torch.tensor([model.num_frames(n) for n in num_samples])
    inside = torch.arange(codes.shape[2]) < lengths.unsqueeze(1)
    return codes * inside.unsqueeze(1)


def decode_chunked(model: Network, engine: Engine, tokens: Tokens, deterministic: bool = False) -> Tensor:
    """Waveforms ``(B, T)`` of tokens, zero after each clip's end."""
    # Written in place: a second copy of an hour of audio would take too much memory.
    with torch.inference_mode(False):
        # Nor may it be copied at the end, as what is made in inference mode is.
        wav = torch.zeros(len(tokens), int(tokens.num_samples.max()))
    if model.causal:
        rows = rows_at_once(tokens.codes.shape[2])
        for start in range(0, len(tokens), rows):
            piece = slice(start, start + rows)
            part = tokens if len(tokens) <= rows else tokens.map(operator.itemgetter(piece))
            _decode_causal(model, engine, part, wav[piece], deterministic)
    else:
        _decode_one_by_one(model, engine, tokens, wav)
    for clip, count in zip(wav, tokens.num_samples.tolist(), strict=True):
        clip[count:] = 0.0
    return wav.clamp_(-1.0, 1.0)


def rows_at_once(frames: int) -> int:
    """Clips of a given number of frames that are computed together."""
    return max(1, MAX_FRAMES // min(frames, CHUNK_FRAMES))


def _encode_causal(
    model: Network, engine: Engine, wav: Tensor, num_codebooks: int | None, deterministic: bool
) -> Tensor:
    # Silence after the end: the rest of the last frame, and what an encoder that looks ahead waits for.
    hop, delay, frames = model.hop_length, model.encoder.delay, model.num_frames(wav.shape[1])
    steps, codes = encoding(model, engine, wav.shape[0], num_codebooks, deterministic), []
    for start in range(0, frames + delay // hop, CHUNK_FRAMES):
        count = min(CHUNK_FRAMES, frames + delay // hop - start)
        piece = wav[:, start * hop : (start + count) * hop]
        piece = F.pad(piece, (0, count * hop - piece.shape[1])).to(model.device)
        codes.append(steps.run(piece).cpu())
    return torch.cat(codes, dim=2)[:, :, delay // hop :]


def _encode_to_ends(
    model: Network,
    engine: Engine,
    wav: Tensor,
    num_samples: list[int],
    num_codebooks: int | None,
    deterministic: bool,
    limits: Limits,
) -> Tensor:
    """A network to whom an end is more than silence sees each clip's own."""
    rows, codes = rows_at_once(model.num_frames(wav.shape[1])), []
    for start in range(0, len(wav), rows):
        clips = [clip[:n].to(model.device) for clip, n in zip(wav, num_samples, strict=True)][start : start + rows]
        steps = encoding(model, engine, len(clips), num_codebooks, deterministic)
        parts: list[list[Tensor]] = [[] for _ in clips]

        def emit(row: int, piece: Tensor) -> None:
            parts[row].append(piece.cpu().t())  # noqa: B023  (called at once)

        all_of_them = [True] * len(clips)
        run_signals(steps, clips, [False] * len(clips), all_of_them, limits, emit)
        codes += [torch.cat(part) for part in parts]
    return torch.nn.utils.rnn.pad_sequence(codes, batch_first=True).transpose(1, 2)


def _encode_one_by_one(
    model: Network, engine: Engine, wav: Tensor, num_samples: list[int], num_codebooks: int | None
) -> Tensor:
    """A network that sees the whole signal would see padding too, so each clip goes alone, unpadded."""
    count = model.quantizer.check_count(num_codebooks)
    encode, codes = torch_engine(model, engine).encoding(count).function, []
    for clip, count in zip(wav, num_samples, strict=True):
        codes.append(encode(clip[None, :count].to(model.device))[0][0].cpu().t())
    return torch.nn.utils.rnn.pad_sequence(codes, batch_first=True).transpose(1, 2)


def _decode_causal(model: Network, engine: Engine, tokens: Tokens, wav: Tensor, deterministic: bool) -> None:
    # Frames past a clip's end have no codes, alone as in a batch: they flush the overlap.
    flush = model.decoder.delay // model.hop_length
    frames = tokens.codes.shape[2]
    steps, position = decoding(model, engine, len(tokens), deterministic), -model.decoder.delay
    for start in range(0, frames + flush, CHUNK_FRAMES):
        stop = min(start + CHUNK_FRAMES, frames + flush)
        codes = _codes(tokens, min(start, frames), min(stop, frames))
        codes = F.pad(codes, (0, stop - start - codes.shape[2]), value=ABSENT)
        piece = steps.run(codes.to(model.device))
        # The first samples, before the lag is over, and those past the end are of no clip.
        kept = piece[:, max(0, -position) : wav.shape[1] - position].cpu()
        begin = max(0, position)
        wav[:, begin : begin + kept.shape[1]] = kept
        position += piece.shape[1]


def _decode_one_by_one(model: Network, engine: Engine, tokens: Tokens, wav: Tensor) -> None:
    decode = torch_engine(model, engine).decoding().function
    for clip, length, codes in zip(wav, tokens.lengths.tolist(), tokens.codes, strict=True):
        decoded = decode(codes[None, :, :length].to(model.device))[0][0, : len(clip)].cpu()
        clip[: len(decoded)] = decoded


def _codes(tokens: Tokens, start: int, stop: int) -> Tensor:
    """``(B, K, stop - start)``, absent where a clip has ended."""
    codes = tokens.codes[:, :, start:stop]
    if int(tokens.lengths.min()) >= stop:
        return codes
    ended = torch.arange(start, stop) >= tokens.lengths.unsqueeze(1)
    return codes.masked_fill(ended.unsqueeze(1), ABSENT)
