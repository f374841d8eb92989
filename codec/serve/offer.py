"""What the server announces about its model and its limits."""

from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache

from codec.audio.delay import resampling_delay
from codec.model.codec import Codec
from codec.serve.config import ServeConfig
from codec.serve.protocol import VERSION, Agreed, check_sizes, control


@dataclass(frozen=True)
class Limits:
    """The limits for a client."""

    max_message_bytes: int
    max_messages_per_second: int
    max_speed: float
    idle_seconds: float


class Offer:
    """A model as its clients see it."""

    def __init__(self, model: Codec, config: ServeConfig):
        self._config = config
        self.sample_rate = model.sample_rate
        self.hop_length = model.hop_length
        self.num_codebooks = model.num_codebooks
        self.sizes = model.quantizer.sizes
        check_sizes(self.sizes)
        self.codebook_size = max(self.sizes)
        self.fingerprint = model.fingerprint
        self._bits = [model.quantizer.bits(count) for count in range(1, model.num_codebooks + 1)]
        self._aliases = model.aliases
        delays = {"encode": model.encoder.delay, "decode": model.decoder.delay}
        self._delay = delays | {"both": sum(delays.values())}
        first_frames = {"encode": model.encoder.first_frames, "decode": model.decoder.first_frames}
        self._first_frames = first_frames | {"both": max(first_frames.values())}

    def understands(self, fingerprint: str) -> bool:
        """Whether tokens of this fingerprint are the model's."""
        return fingerprint == self.fingerprint or self._aliases.cover(self.fingerprint, fingerprint)

    @cached_property
    def _hello(self) -> str:
        limits = Limits(
            self._config.max_message_bytes,
            self._config.max_messages_per_second,
            self._config.max_speed,
            self._config.idle_seconds,
        )
        return control(
            "hello",
            protocol=VERSION,
            rate=self.sample_rate,
            frame_samples=self.hop_length,
            codebooks=self.num_codebooks,
            codebook_size=self.codebook_size,
            codebook_sizes=list(self.sizes),
            fingerprint=self.fingerprint,
            bits_per_second=self.bits_per_second(self.num_codebooks),
            token_needed=self._config.token is not None,
            limits=asdict(limits),
        )

    def hello(self) -> str:
        """The first message to everyone."""
        return self._hello

    def ready(self, start: Agreed) -> str:
        """The answer to a start: what was agreed, and the latency that the method itself has."""
        # A decoder's client has the first frame before it sends it.
        frames = self._first_frames[start.mode] - (start.mode == "decode")
        samples = frames * self.hop_length + self._delay[start.mode]
        seconds = samples / self.sample_rate + _resampling_delay(start.rate, self.sample_rate)
        return control(
            "ready",
            mode=start.mode,
            rate=start.rate,
            codebooks=start.codebooks,
            bits_per_second=self.bits_per_second(start.codebooks),
            latency_ms=round(1000 * seconds, 1),
        )

    def codebooks(self, count: int) -> str:
        """The answer to another number of codebooks."""
        return control("codebooks", value=count, bits_per_second=self.bits_per_second(count))

    def bits_per_second(self, count: int) -> float:
        return self._bits[count - 1] * self.sample_rate / self.hop_length


@lru_cache(maxsize=64)
def _resampling_delay(source_rate: int, target_rate: int) -> float:
    return resampling_delay(source_rate, target_rate)
