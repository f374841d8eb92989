"""One client's stream between the event loop, which fills it, and the model's thread, which empties it."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from codec.errors import CodecError
from codec.serve.config import ServeConfig

_LIVE_SPEED = 1.1
"""Times real time that still counts as live: clocks differ, and networks hold audio back and let it go."""


@dataclass
class Turn:
    """The input of one step from a client."""

    channel: "Channel"
    codebooks: int
    frames: int
    pcm: np.ndarray | None = None
    """``(n * hop,)`` float32, whole frames, but for the last of a model that takes any end."""
    codes: np.ndarray | None = None
    """``(K, n)`` int64, of a client that sends codes."""
    tail: int = 0
    """Frames without codes after them, for the audio that the decoder's overlap holds."""
    ending: bool = False
    """Whether nothing follows."""
    num_samples: int = -1
    """Samples of the whole signal, at its end."""
    due: list[float] = field(default_factory=list)
    """Times when each frame was complete and had its turn, by the monotonic clock."""


@dataclass(frozen=True)
class Output:
    """The output of a step for a client."""

    messages: list[bytes]
    due: list[float]
    """Times when each frame of these codes was complete and had its turn."""
    ended: tuple[int, int] | None = None
    """Frames and samples of the whole signal, after its last output."""
    error: CodecError | None = None


@dataclass(frozen=True)
class Framing:
    """A model's samples per frame, frames per second, and frames by which its audio is late.

    The first step of a signal takes ``first`` frames or more, unless it has fewer. With ``any_end``, its last
    frame may have fewer samples; otherwise silence fills it up.
    """

    hop: int
    rate: float
    delay: int
    first: int = 1
    any_end: bool = False


class Channel:
    """Bounded queues of one client. Its methods are called under the lock of the worker.

    Attributes:
        slot: in the streams of the worker.
        deliver: takes an :class:`Output` on the event loop.
        unsent: messages that were made and not yet sent.
    """

    def __init__(
        self,
        slot: int,
        mode: str,
        codebooks: int,
        framing: Framing,
        config: ServeConfig,
        deliver: Callable[[Output], None],
    ):
        self.slot = slot
        self.mode = mode
        self.codebooks = codebooks
        self.deliver = deliver
        self.unsent = 0
        self.closed = False
        self.frames_out = 0
        self.samples_out = 0
        self._hop, self._frame_rate = framing.hop, framing.rate
        self._delay = framing.delay if mode != "encode" else 0
        self._first, self._any_end = framing.first, framing.any_end
        self._is_new = True
        self._config = config
        self._pcm = np.zeros(0, np.float32)
        self._codes: deque[np.ndarray] = deque()
        self._complete: deque[float] = deque()
        self._ending = False
        self._samples_in = 0
        self._num_samples = 0
        # Frames that may be taken now; it grows with time, so that nobody is faster than allowed.
        self._credit = self._frame_rate
        self._credit_time = time.monotonic()
        # From when on the next frame is no faster than live audio, and how much earlier than that it
        # would be after a silence: a second's worth of frames may come at once, at the start a tenth.
        self._live_step = 1 / (min(_LIVE_SPEED, config.max_speed) * self._frame_rate)
        self._live_burst = self._live_step * self._frame_rate
        self._live_from = self._credit_time - self._live_burst / 10

    @property
    def waiting(self) -> int:
        """Whole frames that came and were not taken yet."""
        return len(self._complete)

    @property
    def has_room(self) -> bool:
        """Whether more may come: always before a new signal has the frames of its first step."""
        needed = self._first if self._is_new else 0
        return self.waiting < max(needed, self._config.input_seconds * self._frame_rate)

    def add_sound(self, pcm: np.ndarray, now: float) -> None:
        self._samples_in += len(pcm)
        self._append(pcm, now)

    def _append(self, pcm: np.ndarray, now: float) -> None:
        self._pcm = np.concatenate([self._pcm, pcm])
        self._complete.extend([now] * (len(self._pcm) // self._hop - self.waiting))

    def add_codes(self, codes: np.ndarray, now: float) -> None:
        """Codes ``(n, K)``."""
        if len(codes):
            self._samples_in += len(codes) * self._hop
            self._codes.append(codes)
            self._complete.extend([now] * len(codes))

    def end(self, now: float, num_samples: int | None = None) -> None:
        """No more comes; silence fills up the last frame of audio, unless the model takes it as it is."""
        if self._any_end:
            self._complete.extend([now] * bool(len(self._pcm) % self._hop))
        else:
            self._append(np.zeros(-len(self._pcm) % self._hop, np.float32), now)
        self._ending = True
        self._num_samples = self._samples_in if num_samples is None else num_samples

    @property
    def has_work(self) -> bool:
        """Whether there is something to take, perhaps later."""
        return not self.closed and (self._ending or self.waiting >= (self._first if self._is_new else 1))

    @property
    def waits_since(self) -> float | None:
        """Since when the next frame waits for the model; ``None`` when it waits for the client."""
        is_due = self.waiting and self.has_work and self.unsent < self._config.output_messages
        return max(self._complete[0], self._live_from) if is_due else None

    def ready(self, now: float) -> int | None:
        """Number of frames that may be taken, 0 if only the end is left; ``None`` if it has to wait."""
        if not self.has_work:
            return None
        if self.unsent >= self._config.output_messages:
            # The client does not read; its frames are due when it does.
            self._live_from = max(self._live_from, now)
            return None
        elapsed, self._credit_time = now - self._credit_time, now
        second = self._frame_rate
        self._credit = min(second, self._credit + self._config.max_speed * second * elapsed)
        count = min(self.waiting, self._config.frames_per_tick, int(self._credit))
        return count if count or not self.waiting else None

    def is_live(self, now: float) -> bool:
        """Whether the next frame comes no faster than live audio; others have to wait for such."""
        return self._live_from <= now or not self.waiting

    def take(self, count: int, now: float) -> Turn:
        """The next frames, as many as are :meth:`ready` or fewer; the end with the last of them."""
        turn = Turn(self, self.codebooks, 0)
        if self._is_new:
            count, self._is_new = max(count, min(self._first, self.waiting)), False
        if not self.waiting:
            turn.tail = self._delay if self._samples_in else 0
        elif self.mode == "decode":
            turn = self._take_codes(count)
        else:
            turn = self._take_sound(count)
        turn.due = [self._pay(self._complete.popleft(), now) for _ in range(turn.frames)]
        self._credit -= turn.frames
        # A tail has a separate turn: it takes a step of the others, not one more.
        if self._ending and not self.waiting and (turn.tail == self._delay or not turn.frames):
            self._ending, turn.ending, turn.num_samples = False, True, self._num_samples
        return turn

    def _pay(self, complete: float, now: float) -> float:
        """Count a frame against live speed, and return when it was due, which is never after it is taken.

        Frames that a client sends faster than live audio are not late while they wait for their turn.
        """
        due = max(complete, self._live_from)
        # A moment without others' work costs no more than the frame after.
        self._live_from = min(max(self._live_from, due - self._live_burst), now) + self._live_step
        return min(due, now)

    def _take_sound(self, count: int) -> Turn:
        size = count * self._hop
        pcm, self._pcm = self._pcm[:size], self._pcm[size:]
        return Turn(self, self.codebooks, count, pcm=pcm)

    def _take_codes(self, count: int) -> Turn:
        """Frames of one number of codebooks: the step of another one is another step."""
        head = self._codes.popleft()
        codes, rest = head[:count], head[count:]
        if len(rest):
            self._codes.appendleft(rest)
        return Turn(self, codes.shape[1], len(codes), codes=codes.T.astype(np.int64))
