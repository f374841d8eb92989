"""One client from its first message to the closing of its connection."""

import asyncio
import hmac
import time

import numpy as np
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from codec.audio.kinds import StartWatch
from codec.audio.resample import StreamResampler
from codec.serve.channel import Channel, Output
from codec.serve.config import ServeConfig
from codec.serve.metrics import Metrics
from codec.serve.offer import Offer
from codec.serve.protocol import (
    MAX_RATE,
    MIN_RATE,
    Agreed,
    ClientError,
    Codebooks,
    End,
    Start,
    check_start,
    control,
    parse_codes,
    parse_control,
    parse_sound,
)
from codec.serve.worker import Worker


class Session:
    """Reads a client's messages into its channel, and sends what the model makes of them.

    Two tasks: this one reads and another sends, so that a client that does not read stops only itself.
    """

    def __init__(
        self, socket: ServerConnection, offer: Offer, worker: Worker, config: ServeConfig, metrics: Metrics
    ):
        self._socket = socket
        self._offer = offer
        self._worker = worker
        self._config = config
        self._metrics = metrics
        self._outputs: asyncio.Queue[tuple[Output, bool]] = asyncio.Queue()
        self._is_stalled = False
        self._taken = asyncio.Event()
        self._frames_in = 0
        self._messages = float(config.max_messages_per_second)
        self._messages_time = time.monotonic()

    async def run(self) -> None:
        """Serve the client; it ends with the client, whatever the client does."""
        serving = asyncio.create_task(self._serve())
        leaving = asyncio.create_task(self._socket.wait_closed())
        try:
            # The model may owe a client something for long; without a connection nobody waits for it.
            await asyncio.wait([serving, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            serving.cancel()
            leaving.cancel()
            await asyncio.gather(serving, leaving, return_exceptions=True)
        if not serving.cancelled():
            serving.result()

    async def _serve(self) -> None:
        try:
            await self._send(self._offer.hello())
            start = await self._start()
            channel = self._worker.open(start.mode, start.codebooks, self._deliver)
            if channel is None:
                raise ClientError("full", f"all {self._config.max_clients} places are taken; try later", 1013)
            try:
                await self._stream(start, channel)
            finally:
                self._worker.close(channel)
        except ClientError as error:
            await self._refuse(error)
        except ConnectionClosed:
            pass

    async def _start(self) -> Agreed:
        """The first message, checked and with the model's values where it leaves them open."""
        try:
            message = await asyncio.wait_for(self._socket.recv(), self._config.start_seconds)
        except TimeoutError:
            raise ClientError("idle", f"no start within {self._config.start_seconds:g} s") from None
        start = parse_control(message) if isinstance(message, str) else None
        if not isinstance(start, Start):
            raise ClientError("bad_message", "the first message must be a start, as JSON text")
        if self._config.token is not None:
            # JSON can have halves of characters, which have no place in UTF-8.
            shown = (start.token or "").encode(errors="surrogatepass")
            if not hmac.compare_digest(shown, self._config.token.encode()):
                raise ClientError("bad_token", "this server needs a token; ask its operator")
        rate = self._offer.sample_rate if start.rate is None else start.rate
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ClientError("bad_rate", f"{rate} Hz; audio must have {MIN_RATE} to {MAX_RATE} Hz")
        if start.mode == "decode" and rate != self._offer.sample_rate:
            raise ClientError("bad_rate", f"{rate} Hz; decoded audio has {self._offer.sample_rate} Hz")
        self._check_model(start)
        count = self._offer.num_codebooks if start.codebooks is None else start.codebooks
        return Agreed(start.mode, rate, self._check_count(count))

    def _check_model(self, start: Start) -> None:
        if start.fingerprint is None and start.mode == "decode":
            raise ClientError("bad_model", "decoding needs the fingerprint of the codes' model in the start")
        if start.fingerprint is not None and not self._offer.understands(start.fingerprint):
            raise ClientError(
                "bad_model",
                f"model {start.fingerprint[:80]} is not here, this is {self._offer.fingerprint}; "
                "the codes of one mean nothing to the other",
            )

    def _check_count(self, count: int) -> int:
        if not 1 <= count <= self._offer.num_codebooks:
            raise ClientError("bad_codebooks", f"{count} codebooks; choose 1 to {self._offer.num_codebooks}")
        return count

    async def _stream(self, start: Agreed, channel: Channel) -> None:
        """Handle a signal from its start to its end."""
        await self._send(self._offer.ready(start))
        sender = asyncio.create_task(self._send_outputs(channel))
        try:
            await self._receive(start, channel)
            # All is sent, or the sender has closed the connection of a client that does not read.
            await sender
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _receive(self, start: Agreed, channel: Channel) -> None:
        resampler, watch = StreamResampler(start.rate, self._offer.sample_rate), StartWatch()
        while True:
            message = await self._next_message()
            now = time.monotonic()
            if isinstance(message, bytes):
                self._metrics.received_bytes.inc(len(message))
                if start.mode == "decode":
                    codes = self._codes(message)
                    self._worker.change(lambda: channel.add_codes(codes, now))  # noqa: B023  (called at once)
                else:
                    check_start(watch, message)
                    pcm = resampler.feed(parse_sound(message))
                    self._worker.change(lambda: channel.add_sound(pcm, now))  # noqa: B023  (called at once)
                await self._wait_for_room(channel)
                continue
            request = parse_control(message)
            if isinstance(request, End):
                self._end(request, start, channel, resampler, now)
                return
            if isinstance(request, Start):
                raise ClientError("bad_message", "a second start; open another connection for it")
            await self._set_codebooks(request, start, channel)

    async def _next_message(self) -> str | bytes:
        try:
            # Not wait_for, which makes a task for every message.
            async with asyncio.timeout(self._config.idle_seconds):
                message = await self._socket.recv()
        except TimeoutError:
            raise ClientError("idle", f"nothing came for {self._config.idle_seconds:g} s") from None
        now, rate = time.monotonic(), self._config.max_messages_per_second
        self._messages = min(rate, self._messages + rate * (now - self._messages_time)) - 1
        self._messages_time = now
        if self._messages < 0:
            raise ClientError("too_many", f"more than {rate} messages a second; put more into each")
        return message

    def _codes(self, message: bytes) -> np.ndarray:
        frames = parse_codes(message, self._offer.sizes)
        if frames.first != self._frames_in & 0xFFFFFFFF:
            raise ClientError(
                "bad_codes", f"frame {frames.first} came, {self._frames_in} was due; frames are missing"
            )
        self._frames_in += len(frames.codes)
        return frames.codes

    async def _wait_for_room(self, channel: Channel) -> None:
        """Backpressure: what is not read here stays with the client."""
        limit = self._config.idle_seconds
        while not channel.has_room and not channel.closed:
            self._taken.clear()
            try:
                async with asyncio.timeout(limit):
                    await self._taken.wait()
            except TimeoutError:
                raise ClientError("idle", f"nothing that waits was taken for {limit:g} s; try later") from None

    def _end(self, end: End, start: Agreed, channel: Channel, resampler: StreamResampler, now: float) -> None:
        if start.mode != "decode":
            rest = resampler.finish()

            def add_rest() -> None:
                channel.add_sound(rest, now)
                channel.end(now)

            self._worker.change(add_rest)
            return
        longest = self._frames_in * self._offer.hop_length
        shortest = longest - self._offer.hop_length + 1 if self._frames_in else 0
        if end.num_samples is not None and not shortest <= end.num_samples <= longest:
            raise ClientError(
                "bad_end", f"{end.num_samples} samples; {self._frames_in} frames are {shortest} to {longest}"
            )
        self._worker.change(lambda: channel.end(now, end.num_samples))

    async def _set_codebooks(self, request: Codebooks, start: Agreed, channel: Channel) -> None:
        if start.mode == "decode":
            raise ClientError("bad_message", "the header of codes has their number of codebooks; omit it here")
        channel.codebooks = self._check_count(request.value)
        await self._send(self._offer.codebooks(request.value))

    def _deliver(self, output: Output) -> None:
        # Also when a step made nothing of what it took.
        self._taken.set()
        if output != Output([], []):
            self._outputs.put_nowait((output, self._is_stalled))

    async def _send_outputs(self, channel: Channel) -> None:
        """Until the signal has ended; the worker makes no more than the channel allows unsent."""
        try:
            while not await self._send_output(*await self._outputs.get(), channel):
                pass
        except ConnectionClosed:
            # The reader of this connection finds it closed too.
            pass
        finally:
            channel.closed = True
            self._taken.set()

    async def _send_output(self, output: Output, was_stalled: bool, channel: Channel) -> bool:
        """Whether it was the last."""
        if not was_stalled:
            self._measure(output)
        for message in output.messages:
            await self._send(message)
            self._metrics.sent_bytes.inc(len(message))
        self._worker.sent(channel, len(output.messages))
        if output.error is not None:
            await self._refuse(ClientError("internal", str(output.error), 1011))
        if output.ended is not None:
            frames, samples = output.ended
            await self._send(control("ended", frames=frames, num_samples=samples))
        return output.error is not None or output.ended is not None

    def _measure(self, output: Output) -> None:
        now = time.monotonic()
        for due in output.due:
            self._metrics.frame_seconds.observe(now - due)
            if 1000 * (now - due) > self._config.late_milliseconds:
                self._metrics.late_frames.inc()

    async def _send(self, message: str | bytes) -> None:
        """Send, or cut the connection of a client that does not read."""
        # Sending waits only for a client that does not read; what comes meanwhile is late by its fault.
        self._is_stalled = True
        try:
            async with asyncio.timeout(self._config.stall_seconds):
                await self._socket.send(message)
        except TimeoutError:
            self._metrics.closed.labels("stalled").inc()
            self._socket.transport.abort()
            raise ConnectionClosedError(None, None) from None
        finally:
            self._is_stalled = False

    async def _refuse(self, error: ClientError) -> None:
        """Send the client the error, and close."""
        self._metrics.closed.labels(error.code).inc()
        try:
            await self._send(control("error", code=error.code, message=str(error)))
            await self._socket.close(error.close_code, error.code)
        except ConnectionClosed:
            pass
