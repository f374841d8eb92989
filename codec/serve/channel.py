"""One client's stream between the event loop, which fills it, and the model's thread, which empties it."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from codec.errors import CodecError
from codec.serve.config import ServeConfig

_LIVE_SPEED = 1.1
"""Times real time that still counts as live: clocks differ, and networks hold sound back and let it go."""


@dataclass
class Turn:
    """What one step takes from a client."""

    channel: "Channel"
    codebooks: int
    pcm: np.ndarray | None = None
    """``(n,)`` float32: whole frames, and at the end the rest."""
    codes: np.ndarray | None = None
    """``(K, n)`` int64, of a client that sends codes."""
    ending: bool = False
    num_samples: int = -1
    """Of the whole signal, where a client that sends codes knows it."""
    complete: list[float] = field(default_factory=list)
    """When each frame was complete, by the monotonic clock."""


@dataclass(frozen=True)
class Output:
    """What a step made for a client."""

    messages: list[bytes]
    complete: list[float]
    """When each frame of these codes was complete."""
    ended: tuple[int, int] | None = None
    """Frames and samples of the whole signal, after its last output."""
    error: CodecError | None = None


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
        frame: tuple[int, float],
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
        self._hop, self._frame_rate = frame
        self._config = config
        self._pcm = np.zeros(0, np.float32)
        self._codes: deque[np.ndarray] = deque()
        self._complete: deque[float] = deque()
        self._ending = False
        self._num_samples = -1
        # Frames that may be taken now; it grows with time, so that nobody is faster than allowed.
        self._credit = self._frame_rate
        self._live_credit = self._frame_rate / 10
        self._credit_time = time.monotonic()

    @property
    def waiting(self) -> int:
        """Whole frames that came and were not taken yet."""
        return len(self._complete)

    @property
    def has_room(self) -> bool:
        return self.waiting < self._config.input_seconds * self._frame_rate

    def add_sound(self, pcm: np.ndarray, now: float) -> None:
        self._pcm = np.concatenate([self._pcm, pcm])
        self._complete.extend([now] * (len(self._pcm) // self._hop - self.waiting))

    def add_codes(self, codes: np.ndarray, now: float) -> None:
        """Codes ``(n, K)``."""
        if len(codes):
            self._codes.append(codes)
            self._complete.extend([now] * len(codes))

    def end(self, num_samples: int = -1) -> None:
        self._ending = True
        self._num_samples = num_samples

    @property
    def has_work(self) -> bool:
        """Whether there is something to take, perhaps later."""
        return not self.closed and (self.waiting > 0 or self._ending)

    def ready(self, now: float) -> int | None:
        """How many frames may be taken, 0 when only the end is left; ``None`` when it has to wait."""
        if not self.has_work or self.unsent >= self._config.output_messages:
            return None
        elapsed, self._credit_time = now - self._credit_time, now
        second = self._frame_rate
        self._credit = min(second, self._credit + self._config.max_speed * second * elapsed)
        self._live_credit = min(second, self._live_credit + _LIVE_SPEED * second * elapsed)
        count = min(self.waiting, self._config.frames_per_tick, int(self._credit))
        return count if count or not self.waiting else None

    @property
    def is_live(self) -> bool:
        """Whether the next frame comes no faster than live sound; others have to wait for such."""
        return self._live_credit >= 1 or not self.waiting

    def take(self, count: int) -> Turn:
        """The next frames, as many as are :meth:`ready` or fewer; the end with the last of them."""
        turn = self._take_codes(count) if self.mode == "decode" else self._take_sound(count)
        self._credit -= len(turn.complete)
        self._live_credit = max(0.0, self._live_credit - len(turn.complete))
        if turn.ending:
            self._ending = False
        return turn

    def _take_sound(self, count: int) -> Turn:
        ending = self._ending and count == self.waiting
        size = len(self._pcm) if ending else count * self._hop
        pcm, self._pcm = self._pcm[:size], self._pcm[size:]
        complete = [self._complete.popleft() for _ in range(count)]
        return Turn(self, self.codebooks, pcm=pcm, ending=ending, complete=complete)

    def _take_codes(self, count: int) -> Turn:
        """Frames of one number of codebooks: the step of another one is another step."""
        if not self._codes:
            return Turn(self, self.codebooks, ending=True, num_samples=self._num_samples)
        head = self._codes.popleft()
        codes, rest = head[:count], head[count:]
        if len(rest):
            self._codes.appendleft(rest)
        complete = [self._complete.popleft() for _ in range(len(codes))]
        ending = self._ending and not self._codes
        end = self._num_samples if ending else -1
        wide = codes.T.astype(np.int64)
        return Turn(self, codes.shape[1], codes=wide, ending=ending, num_samples=end, complete=complete)
