"""The model, behind ``encode``, ``decode`` and streams."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.engines.base import Engine
from codec.engines.torch import TorchEngine, check_float32
from codec.errors import CodecError
from codec.model.chunked import decode_chunked, encode_chunked
from codec.model.codes import Codes, read_codes, read_tokens
from codec.model.config import CodecConfig
from codec.model.fingerprint import fingerprint
from codec.model.inputs import AudioInput, read_inputs
from codec.model.network import Network
from codec.model.shield import shielded
from codec.model.slots import Latency, latency_of
from codec.model.stamp import Stamp, stamp_of, steady_weights
from codec.model.streaming_decoder import StreamingDecoder
from codec.model.streaming_encoder import StreamingEncoder
from codec.tokens.tokens import Tokens


class Codec(Network):
    """Neural speech tokenizer.

    A stream has ``batch`` slots, each with its own signal, which starts, ends and starts again
    without regard to the others::

        encoder = model.streaming_encoder(batch=2)
        codes = encoder.push(pcm)                      # (2, K, n); frames that are complete by now
        codes = encoder.push(pcm, lengths=[320, 0])    # slot 1 has nothing new
        frames = encoder.lengths                       # (2,): frames of each slot in these codes
        codes = encoder.flush(mask=[True, False])      # slot 0 has ended: its last, padded frame
        encoder.reset(mask=[True, False])              # slot 0 takes a new signal

        decoder = model.streaming_decoder(batch=2)
        wav = decoder.push(codes, lengths=frames)      # (2, samples); decoder.lengths of each slot count
        wav = decoder.flush(encoder.num_samples)       # what the overlap still held, cut to the true end

    The codes are those of ``model.encode``, and the audio is that of ``model.decode``.

    Attributes:
        engine: what computes ``encode``, ``decode`` and new streams; see :mod:`codec.engines`.
        source: the folder that the weights were loaded from, if they were.
    """

    def __init__(self, config: CodecConfig | None = None):
        super().__init__(config)
        self.engine: Engine = TorchEngine(self)
        self.source: Path | None = None
        self._fingerprint: tuple[Stamp, str] | None = None

    @property
    def latency(self) -> Latency | None:
        """Algorithmic latency, or ``None`` when the model needs the whole signal."""
        if not self.causal:
            return None
        first = max(self.encoder.first_frames, self.decoder.first_frames)
        samples = first * self.hop_length + self.encoder.delay + self.decoder.delay
        return latency_of(samples, self.sample_rate)

    @property
    def fingerprint(self) -> str:
        """Hash of encoder and quantizer, tensors and settings: equal when codes mean the same.

        It is kept until one of these tensors changes. A model that is being trained has the fingerprint of
        its weights of the moment, and stamps it on the tokens that it makes.
        """
        stamp = self.config, *stamp_of(self.encoder, self.quantizer)
        if self._fingerprint is None or self._fingerprint[0] != stamp:
            self._fingerprint = stamp, fingerprint(self)
        return self._fingerprint[1]

    def understands(self, other: str) -> bool:
        """Whether ``other`` is the fingerprint of this model's tokens, or was in an earlier version."""
        return self._is_last(other) or other == self.fingerprint or self.aliases.cover(self.fingerprint, other)

    def _is_last(self, other: str) -> bool:
        """Whether this was the fingerprint, and the codebooks, which say what its codes are, are still the same.

        Decoding needs no look at the encoder, which for a short clip would be a hundredth of the work.
        """
        if self._fingerprint is None or other != self._fingerprint[1]:
            return False
        config, _, quantizer = self._fingerprint[0]
        return config == self.config and quantizer == stamp_of(self.quantizer)[0]

    @shielded
    def encode(
        self,
        wav: AudioInput,
        sample_rate: float | None = None,
        lengths: Any = None,
        num_codebooks: int | None = None,
        deterministic: bool = False,
    ) -> Tokens:
        """Tokenize mono waveforms.

        Args:
            wav: ``(T,)`` or ``(B, T)``, float in [-1, 1] or integers, which are scaled by their range; a list
                of clips ``(T,)`` of any lengths; ``(samples, rate)``; or a recording of ``codec.load_audio``, a
                path, an open file, or a file's bytes.
            sample_rate: Hz of samples; resampled when it is not the model's (the default). Files know theirs.
            lengths: ``(B,)`` samples of each clip when they are padded to one length, or a mask ``(B, T)`` of
                the samples that count.
            num_codebooks: 1 to K; all by default.
            deterministic: compute in blocks of one shape, so that rounding is the same for every
                batch and chunking (docs/streaming.md); slower.

        Returns:
            Tokens with codes ``(B, K, F)``, ``F = ceil(T / hop_length)``.

        Raises:
            CodecError: on a wrong shape or scale, no samples, NaN or infinite samples, or a bad length.
        """
        self.quantizer.check_count(num_codebooks)
        clips = read_inputs(wav, sample_rate, lengths, self.sample_rate)
        with steady_weights():
            codes = encode_chunked(self, self.engine, clips.wav, clips.counts, num_codebooks, deterministic)
            fingerprint = self.fingerprint
        return Tokens(
            codes=codes,
            lengths=torch.tensor([self.num_frames(n) for n in clips.counts]),
            num_samples=torch.tensor(clips.counts),
            sample_rate=self.sample_rate,
            fingerprint=fingerprint,
            hop_length=self.hop_length,
            codebook_sizes=self.quantizer.sizes[: codes.shape[1]],
        )

    @shielded
    def decode(self, tokens: Tokens | Codes, force: bool = False, deterministic: bool = False) -> Tensor:
        """Decode tokens to audio of the original length.

        Args:
            tokens: from :meth:`encode` of this model; a token file's path or bytes; or codes ``(K, T)`` or
                ``(B, K, T)`` of any integer type, of the first K codebooks, as a language model makes them; or a
                list of clips of one of these kinds.
            force: decode tokens of another model all the same.
            deterministic: as for :meth:`encode`.

        Returns:
            ``(B, T)`` float32 in [-1, 1], ``T = max(num_samples)``, zeros after a clip's end.

        Raises:
            CodecError: for tokens of another model, codes out of range or lengths that disagree.
        """
        with steady_weights():
            tokens = self.tokens_of(tokens)
            self.check_tokens(tokens, force)
            return decode_chunked(self, self.engine, tokens, deterministic)

    @shielded
    def streaming_encoder(
        self, batch: int = 1, num_codebooks: int | None = None, deterministic: bool = False
    ) -> StreamingEncoder:
        """An encoder of ``batch`` live signals.

        Raises:
            CodecError: when the model is not causal, or has no such number of codebooks.
        """
        return StreamingEncoder(self, self.engine, batch, num_codebooks, deterministic)

    @shielded
    def streaming_decoder(
        self, batch: int = 1, deterministic: bool = False, allow_absent: bool = False
    ) -> StreamingDecoder:
        """A decoder of ``batch`` live signals.

        Args:
            allow_absent: take :data:`codec.quantizers.ABSENT` in place of codes, so that signals of
                different numbers of codebooks share a step: an absent code adds nothing to the audio.

        Raises:
            CodecError: when the model is not causal.
        """
        return StreamingDecoder(self, self.engine, batch, deterministic, allow_absent)

    def save_pretrained(self, folder: str | Path, license: str | None = None, remote_code: bool = False) -> None:
        """Write a folder for the Hub, which transformers reads too; see :func:`codec.hub.publish.save_pretrained`."""
        from codec.hub import publish

        publish.save_pretrained(self, folder, license, remote_code)

    def push_to_hub(self, repo: str, **options: Any) -> str:
        """Upload the model as ``org/name`` and return its address; see :func:`codec.hub.publish.push_to_hub`."""
        from codec.hub import publish

        return publish.push_to_hub(self, repo, **options)

    def check_tokens(self, tokens: Tokens, force: bool = False) -> None:
        """Raise a :class:`CodecError` unless :meth:`decode` can take these tokens."""
        if not force and not self.understands(tokens.fingerprint):
            # Rounded weights are the likelier reason, and have a remedy of their own.
            check_float32(self)
            raise CodecError(
                f"tokens were made by model {tokens.fingerprint}, this is {self.fingerprint}; "
                "load that model, or force the decoding (--force) and expect noise"
            )
        if not len(tokens):
            raise CodecError("the tokens are of no clip; give those of one or more")
        self.quantizer.check_codes(tokens.codes)
        frames = tokens.codes.shape[2]
        for length, samples in zip(tokens.lengths.tolist(), tokens.num_samples.tolist(), strict=True):
            if length > frames or length != self.num_frames(samples):
                raise CodecError(
                    f"{samples} samples are {self.num_frames(samples)} frames, "
                    f"but the tokens say {length} of {frames}; the tokens are damaged"
                )

    def tokens_of(self, codes: Tokens | Codes) -> Tokens:
        """What :meth:`decode` takes, as tokens; bare codes are clips of whole frames, made by this model.

        Raises:
            CodecError: for what is neither tokens nor codes, codes out of range, or clips that make no batch.
        """
        tokens = codes if isinstance(codes, Tokens) else read_tokens(codes)
        if tokens is not None:
            return tokens
        clips = read_codes(codes)
        layers, frames = clips[0].shape
        if frames <= self.quantizer.num_codebooks < layers:
            raise CodecError(
                f"codes of shape {(layers, frames)} would be {layers} codebooks of {frames} frames; give them as "
                "(K, T): codes.T"
            )
        lengths = torch.tensor([clip.shape[1] for clip in clips])
        frames_first = [clip.t() for clip in clips]
        padded = torch.nn.utils.rnn.pad_sequence(frames_first, batch_first=True).transpose(1, 2)
        self.quantizer.check_codes(padded)
        return Tokens(
            codes=padded,
            lengths=lengths,
            num_samples=lengths * self.hop_length,
            sample_rate=self.sample_rate,
            fingerprint=self.fingerprint,
            hop_length=self.hop_length,
            codebook_sizes=self.quantizer.sizes[: padded.shape[1]],
        )
