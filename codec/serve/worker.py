"""The thread of the model: takes what all clients have, makes one step of it, hands the results out."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from codec.errors import CodecError
from codec.model.codec import Codec
from codec.serve.channel import Channel, Framing, Output, Turn
from codec.serve.config import ServeConfig
from codec.serve.metrics import Metrics
from codec.serve.protocol import codes_message, sound_message
from codec.serve.streams import Made, Streams

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 0.005
"""Seconds until clients that may not be served yet are checked again."""


class Worker:
    """Steps as long as there is work; while one is computed, the frames for the next one gather."""

    def __init__(self, model: Codec, config: ServeConfig, metrics: Metrics, loop: asyncio.AbstractEventLoop):
        self._model = model
        self._config = config
        self._metrics = metrics
        self._loop = loop
        hop = model.hop_length
        first = max(model.encoder.first_frames, model.decoder.first_frames)
        delay = model.decoder.delay // hop
        self._framing = Framing(hop, model.config.frame_rate, delay, first, model.encoder.any_end)
        self._streams = Streams(model, config.max_clients, config.deterministic)
        self._streams.warm_up()
        self._changed = threading.Condition()
        self._channels: dict[int, Channel] = {}
        self._to_reset: set[int] = set()
        self._stopping = False
        self._step_start: float | None = None
        self._last_step_end = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="codec-serve-model", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its step."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def problem(self, now: float) -> str | None:
        """The reason why no client gets codes at this time of the monotonic clock, or ``None``."""
        if not self._thread.is_alive():
            return "the model's thread has ended"
        with self._changed:
            start, end = self._step_start, self._last_step_end
            waits = [channel.waits_since for channel in self._channels.values()]
        if start is not None:
            hung = now - start > self._config.hung_seconds
            return f"a step of the model has been running for {now - start:.0f} s" if hung else None
        # Frames also wait behind a long step, and a server at rest makes none: both must be long ago.
        since = max(end, min((wait for wait in waits if wait is not None), default=now))
        hung = now - since > self._config.hung_seconds
        return f"frames have been waiting for a step for {now - since:.0f} s" if hung else None

    def open(self, mode: str, codebooks: int, deliver: Callable[[Output], None]) -> Channel | None:
        """A stream in a free slot, or ``None`` when all are taken."""
        with self._changed:
            slot = next((i for i in range(self._config.max_clients) if i not in self._channels), None)
            if slot is None:
                return None
            channel = Channel(slot, mode, codebooks, self._framing, self._config, deliver)
            self._channels[slot] = channel
            self._metrics.clients.set(len(self._channels))
            return channel

    def close(self, channel: Channel) -> None:
        """Free the slot; what was not taken is dropped."""
        with self._changed:
            channel.closed = True
            if self._channels.get(channel.slot) is channel:
                del self._channels[channel.slot]
                # The thread may be in the midst of this slot's last step.
                self._to_reset.add(channel.slot)
            self._metrics.clients.set(len(self._channels))

    def sent(self, channel: Channel, count: int) -> None:
        """Count messages that have left; wake the thread if it waits for them."""
        with self._changed:
            was_full = channel.unsent >= self._config.output_messages
            channel.unsent -= count
            if was_full:
                self._changed.notify()

    def change(self, change: Callable[[], None]) -> None:
        """Call ``change`` under the lock, and look for work."""
        with self._changed:
            change()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                turns = self._gather()
                to_reset, self._to_reset = sorted(self._to_reset), set()
                self._step_start = time.monotonic()
            if turns is None:
                return
            try:
                self._streams.reset(to_reset)
                self._step(turns)
            except Exception:  # noqa: BLE001  (whatever it was, the server stays up)
                _LOG.exception("a step failed; its clients are closed and the streams recreated")
                self._fail()
            with self._changed:
                self._step_start, self._last_step_end = None, time.monotonic()

    def _gather(self) -> list[Turn] | None:
        """Wait for turns; ``None`` when the server stops."""
        while not self._stopping:
            now = time.monotonic()
            ready = {
                channel: count
                for channel in self._channels.values()
                if (count := channel.ready(now)) is not None
            }
            # Audio that comes faster than live is left for idle moments.
            live = {channel: count for channel, count in ready.items() if channel.is_live(now)}
            chosen = live or ready
            if chosen:
                # As many of everyone: a client with a lot to do makes no step longer for the others.
                share = min((count for count in chosen.values() if count), default=0)
                if not live and len(ready) < len(self._channels):
                    # Nor an idle moment: while it lasts, the next frame of another one may come.
                    share = min(share, 1)
                return [channel.take(min(count, share), now) for channel, count in chosen.items()]
            blocked = any(channel.has_work for channel in self._channels.values())
            self._changed.wait(_RETRY_SECONDS if blocked else None)
        return None

    def _step(self, turns: list[Turn]) -> None:
        """Codes leave as soon as they are there, while the audio is still computed."""
        start = time.monotonic()
        made = self._streams.encode(turns)
        self._hand_out([self._codes(turn, part) for turn, part in zip(turns, made, strict=True)])
        self._streams.decode(turns, made)
        self._hand_out([self._sound(turn, part) for turn, part in zip(turns, made, strict=True)])
        self._metrics.tick_seconds.observe(time.monotonic() - start)
        self._metrics.tick_frames.observe(sum(turn.frames for turn in turns))

    def _codes(self, turn: Turn, made: Made) -> tuple[Channel, Output]:
        channel, frames, first = turn.channel, made.frames, turn.channel.frames_out
        channel.frames_out += frames
        if channel.mode == "decode" or not frames:
            return channel, Output([], [])
        self._metrics.frames_encoded.inc(frames)
        # The last of a signal that the encoder looked ahead of are due with its end.
        return channel, Output([codes_message(made.codes, first)], turn.due[-frames:])

    def _sound(self, turn: Turn, made: Made) -> tuple[Channel, Output]:
        channel, messages = turn.channel, []
        if len(made.wav):
            messages.append(sound_message(made.wav, channel.samples_out))
        channel.samples_out += len(made.wav)
        if channel.mode != "encode":
            self._metrics.frames_decoded.inc(made.frames)
        return channel, Output(messages, [], (channel.frames_out, turn.num_samples) if turn.ending else None)

    def _hand_out(self, outputs: list[tuple[Channel, Output]]) -> None:
        with self._changed:
            for channel, output in outputs:
                channel.unsent += len(output.messages)
        try:
            self._loop.call_soon_threadsafe(_deliver, outputs)
        except RuntimeError:
            # The loop has ended before us.
            _LOG.debug("results after the end of the server were dropped")

    def _fail(self) -> None:
        """No slot's state can be trusted any more."""
        with self._changed:
            channels = list(self._channels.values())
            for channel in channels:
                channel.closed = True
        error = CodecError("the server failed in a step and dropped this stream; connect again")
        self._hand_out([(channel, Output([], [], error=error)) for channel in channels])
        self._streams = Streams(self._model, self._config.max_clients, self._config.deterministic)


def _deliver(outputs: list[tuple[Channel, Output]]) -> None:
    for channel, output in outputs:
        channel.deliver(output)
