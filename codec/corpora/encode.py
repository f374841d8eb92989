"""Codes of many utterances: batches of similar lengths, and long recordings piece by piece."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.ahead import ahead
from codec.corpora.audio import BadUtterance, read_wav
from codec.corpora.device import IN_FLIGHT, DeviceEncoder, Flight, compact, fits
from codec.corpora.utterances import Utterance
from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.steps import CHUNK_FRAMES

EncodeBatch = Callable[[list[Tensor]], "list[Encoded | BadUtterance]"]

WINDOW = 8
"""Batches' worth of audio that is decoded before it is sorted by length."""


@dataclass(frozen=True)
class Encoded:
    """Codes ``(K, T)`` int64 of one utterance and the samples that they stand for."""

    codes: Tensor
    num_samples: int


@dataclass(frozen=True)
class BatchConfig:
    """How utterances are put together."""

    batch_seconds: float | None = None
    """Padded audio in a batch; longer recordings go through the streaming encoder. By default 20 on a CPU, whose
    caches hold no more, and 600 on a GPU."""
    decode_threads: int = 1
    """Threads that read and decode ahead of the encoder."""

    def __post_init__(self) -> None:
        if not (self.batch_seconds is None or self.batch_seconds > 0) or self.decode_threads < 1:
            raise CodecError("batch_seconds and decode_threads must be above 0")

    def seconds_on(self, device: str) -> float:
        """Padded audio in a batch on a kind of device."""
        return self.batch_seconds or (20.0 if device == "cpu" else 600.0)


def encode_utterances(
    model: Codec, utterances: Sequence[Utterance], count: int, deterministic: bool, config: BatchConfig
) -> list[Encoded | BadUtterance]:
    """Codes of the first ``count`` codebooks, or what was wrong, of each utterance, in their order."""
    results: list[Encoded | BadUtterance | None] = [None] * len(utterances)
    budget = round(config.seconds_on(model.device.type) * model.sample_rate)
    window: list[tuple[int, Tensor]] = []
    pipelined = on_device(model)

    def one_by_one(wavs: list[Tensor]) -> list[Encoded | BadUtterance]:
        return _encode_batch(model, wavs, count, deterministic)

    encoder = DeviceEncoder(model, count, deterministic) if pipelined else None

    def encode_window() -> None:
        made = list(batches(window, budget))
        wavs = [[wav for _, wav in batch] for batch in made]
        encoded = map(one_by_one, wavs) if encoder is None else _in_flight(encoder, wavs, one_by_one)
        for batch, clips in zip(made, encoded, strict=True):
            for (index, _), result in zip(batch, clips, strict=True):
                results[index] = result
        window.clear()

    def read(utterance: Utterance) -> Tensor | BadUtterance:
        try:
            wav = read_wav(utterance, model.sample_rate)
        except BadUtterance as error:
            return error
        return compact(wav) if pipelined else wav

    def samples(wav: Tensor | BadUtterance) -> int:
        return len(wav) if isinstance(wav, Tensor) else 0

    for index, wav in enumerate(ahead(read, utterances, config.decode_threads, WINDOW * budget, samples)):
        if isinstance(wav, BadUtterance):
            results[index] = wav
        elif len(wav) > budget and model.causal:
            results[index] = _encode_long(model, wav, count, deterministic)
        else:
            window.append((index, wav))
            if sum(len(known) for _, known in window) >= WINDOW * budget:
                encode_window()
    encode_window()
    return [result for result in results if result is not None]


def on_device(model: Codec) -> bool:
    """Whether batches go through :class:`codec.corpora.device.DeviceEncoder`."""
    return model.device.type == "cuda" and fits(model)


def _in_flight(
    encoder: DeviceEncoder, batches: Sequence[list[Tensor]], one_by_one: EncodeBatch
) -> Iterator[list[Encoded | BadUtterance]]:
    """Results of batches in order; what the device refuses is encoded as everywhere else, which says why."""
    flights: deque[tuple[list[Tensor], Flight | None]] = deque()
    for wavs in (*batches, None):
        while flights and (wavs is None or len(flights) == IN_FLIGHT):
            yield _landed(encoder, *flights.popleft(), one_by_one)
        if wavs is not None:
            flights.append((wavs, _started(encoder, wavs)))


def _started(encoder: DeviceEncoder, wavs: list[Tensor]) -> Flight | None:
    try:
        return encoder.start(wavs)
    except Exception:  # noqa: BLE001 (as when memory runs out; smaller batches may fit)
        return None


def _landed(
    encoder: DeviceEncoder, wavs: list[Tensor], flight: Flight | None, one_by_one: EncodeBatch
) -> list[Encoded | BadUtterance]:
    if flight is None:
        return one_by_one(wavs)
    try:
        codes = encoder.finish(flight)
    except Exception:  # noqa: BLE001 (as above)
        return one_by_one(wavs)
    return [
        Encoded(one, len(wav)) if one is not None else one_by_one([wav])[0]
        for one, wav in zip(codes, wavs, strict=True)
    ]


def batches(window: Iterable[tuple[int, Tensor]], budget: int) -> Iterator[list[tuple[int, Tensor]]]:
    """Batches of similar lengths, of at most ``budget`` padded samples (or one clip)."""
    batch: list[tuple[int, Tensor]] = []
    for index, wav in sorted(window, key=lambda item: (len(item[1]), item[0])):
        if batch and len(wav) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append((index, wav))
    if batch:
        yield batch


def _encode_batch(
    model: Codec, wavs: list[Tensor], count: int, deterministic: bool
) -> list[Encoded | BadUtterance]:
    try:
        tokens = model.encode(wavs, num_codebooks=count, deterministic=deterministic)
    except Exception as error:  # noqa: BLE001 (one bad clip must not cost the others theirs)
        if len(wavs) == 1:
            return [BadUtterance("encode", error)]
        return [part for wav in wavs for part in _encode_batch(model, [wav], count, deterministic)]
    lengths, samples = tokens.lengths.tolist(), tokens.num_samples.tolist()
    return [
        Encoded(codes[:, :length], number)
        for codes, length, number in zip(tokens.codes, lengths, samples, strict=True)
    ]


def _encode_long(model: Codec, wav: Tensor, count: int, deterministic: bool) -> Encoded | BadUtterance:
    """In pieces, with the state carried along: the codes are those of the whole recording."""
    try:
        encoder = model.streaming_encoder(num_codebooks=count, deterministic=deterministic)
        codes = [encoder.push(piece) for piece in wav.split(CHUNK_FRAMES * model.hop_length)]
        codes.append(encoder.flush())
    except Exception as error:  # noqa: BLE001 (as above)
        return BadUtterance("encode", error)
    return Encoded(torch.cat(codes, dim=2)[0], len(wav))
