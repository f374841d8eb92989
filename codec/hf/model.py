"""The model for the library transformers, with the calls and fields of Mimi."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.modeling_utils import PreTrainedAudioTokenizerBase

from codec.engines.torch import TorchEngine
from codec.errors import CodecError
from codec.hf.config import SpeechCodecConfig
from codec.hf.masks import Spans, frame_mask, rows_of, spans_of, without_padding
from codec.hf.outputs import SpeechCodecDecoderOutput, SpeechCodecEncoderOutput, SpeechCodecOutput
from codec.model.chunked import decode_chunked, encode_chunked
from codec.model.fingerprint import fingerprint
from codec.model.network import Network
from codec.model.shield import default_device, plain_torch
from codec.tokens.tokens import Tokens

_MARKS_BUFFERS = int(transformers.__version__.partition(".")[0]) >= 5


class SpeechCodecModel(PreTrainedAudioTokenizerBase):
    """A codec behind the calls that programs make of ``MimiModel`` and ``EncodecModel``.

    Codes and audio are those of :class:`codec.Codec` with the same weights: of a padded batch as of each clip
    alone. It computes in float32, also inside a model that is cast to another type, and without gradients.
    """

    config_class = SpeechCodecConfig
    base_model_prefix = "codec"
    main_input_name = "input_values"
    input_modalities = "audio"
    # Version 4 refuses names of modules without parameters, as a quantizer's codebooks are none.
    _keep_in_fp32_modules_strict = ["encoder", "decoder"] + ["quantizer"] * _MARKS_BUFFERS
    _no_split_modules = ["encoder", "quantizer", "decoder"]  # noqa: RUF012

    def __init__(self, config: SpeechCodecConfig):
        super().__init__(config)
        # Not on the device meta, which transformers chooses to load into: windows and the like are computed, not
        # stored, and what is computed there has no values.
        with on_cpu():
            network = Network(config.settings)
            self._initial = initial_tensors(network)
        if default_device().type != "cpu":
            network.to(default_device())
        self.encoder, self.quantizer, self.decoder = network.encoder, network.quantizer, network.decoder
        # The same modules in the class that the rest of the code takes, in a tuple so as to be no submodule.
        self._held = (network, TorchEngine(network))
        self.post_init()

    @property
    def fingerprint(self) -> str:
        """Equal when codes mean the same, as :attr:`codec.Codec.fingerprint`."""
        return fingerprint(self._held[0])

    def encode(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        num_quantizers: float | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> SpeechCodecEncoderOutput | tuple[Any, ...]:
        """Audio to codes.

        Args:
            input_values: ``(B, 1, S)`` or ``(B, S)`` at ``config.sampling_rate``, in [-1, 1].
            padding_mask: of the same shape or ``(B, S)``, 1 where a sample is of the clip; padding is on the
                right, or on the left for codes that end at the right.
            num_quantizers: the first K codebooks; all by default.
            return_dict: a tuple instead of an output with names, if false.
            kwargs: ``n_quantizers`` (DAC) or ``bandwidth`` in kbps (EnCodec) in place of ``num_quantizers``, and
                ``deterministic`` in place of the config's.

        Raises:
            CodecError: for several channels, a mask with holes, another argument, or NaN.
        """
        count, deterministic = _encode_options(self.config, num_quantizers, kwargs)
        network, engine = self._held
        wav = rows_of(input_values, "input_values")
        spans = spans_of(padding_mask, *wav.shape)
        with plain_torch(), torch.no_grad():
            clips = spans.gather(wav.detach().float().cpu())
            if not bool(torch.isfinite(clips).all()):
                raise CodecError("input_values holds NaN or infinite samples; repair the recording first")
            codes = encode_chunked(network, engine, clips, spans.counts, count, deterministic)
            lengths = [network.num_frames(n) for n in spans.counts]
            mask = frame_mask(torch.tensor(lengths), codes.shape[-1]).long()
            codes, mask = spans.to_the_end(codes, lengths), spans.to_the_end(mask, lengths)
        output = SpeechCodecEncoderOutput(
            audio_codes=codes.to(input_values.device),
            audio_codes_mask=mask.bool().to(input_values.device),
            audio_scales=[None],
        )
        return self._returned(output, return_dict)

    def decode(
        self,
        audio_codes: Tensor,
        *args: Any,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> SpeechCodecDecoderOutput | tuple[Any, ...]:
        """Codes to audio.

        Args:
            audio_codes: ``(B, K, T)`` of the first K codebooks; or ``(1, B, K, T)``, as EnCodec has them.
            args: the padding mask, as for Mimi; or ``audio_scales`` and then the mask, as for EnCodec.
            return_dict: a tuple instead of an output with names, if false.
            kwargs: ``padding_mask`` ``(B, S)`` or ``(B, 1, S)`` of the audio, with which each clip has its own
                number of samples; ``audio_codes_mask`` ``(B, T)`` in its place; ``audio_scales`` and
                ``last_frame_pad_length`` of ``encode``; ``deterministic`` in place of the config's.

        Returns:
            ``audio_values (B, 1, S)``, ``S = T * config.frame_size`` or, with a shorter mask, as many as that.

        Raises:
            CodecError: for codes out of range, a mask that does not fit them, or another argument.
        """
        padding_mask, kwargs = _samples_mask(args, kwargs)
        deterministic = kwargs.pop("deterministic", self.config.deterministic)
        codes_mask = kwargs.pop("audio_codes_mask", None)
        _no_more(kwargs)
        codes = audio_codes[0] if audio_codes.ndim == 4 and len(audio_codes) == 1 else audio_codes
        if codes.ndim != 3:
            raise CodecError(f"audio_codes must be (B, K, T), got shape {tuple(audio_codes.shape)}")
        network, engine = self._held
        with plain_torch(), torch.no_grad():
            tokens, spans = self._tokens(codes.detach().cpu().long(), padding_mask, codes_mask)
            network.quantizer.check_codes(tokens.codes)
            wav = decode_chunked(network, engine, tokens, deterministic)
            wav = nn.functional.pad(wav, (0, spans.width - wav.shape[1]))
            wav = spans.to_the_end(wav, spans.counts)
        output = SpeechCodecDecoderOutput(audio_values=wav.unsqueeze(1).to(audio_codes.device))
        return self._returned(output, return_dict)

    def forward(
        self,
        input_values: Tensor | None = None,
        padding_mask: Tensor | None = None,
        num_quantizers: int | None = None,
        audio_codes: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> SpeechCodecOutput | tuple[Any, ...]:
        """Audio to codes and back; with ``audio_codes``, only back. Arguments are those of the two methods."""
        mask = None
        if audio_codes is None:
            if input_values is None:
                raise CodecError("nothing to do; give input_values or audio_codes")
            encoded: Any = self.encode(input_values, padding_mask, num_quantizers, return_dict=True, **kwargs)
            audio_codes, mask = encoded.audio_codes, encoded.audio_codes_mask
            if padding_mask is None:
                padding_mask = torch.ones_like(rows_of(input_values, "input_values"))
            kwargs = {name: value for name, value in kwargs.items() if name == "deterministic"}
        else:
            kwargs["num_quantizers"] = num_quantizers
        decoded: Any = self.decode(audio_codes, padding_mask, return_dict=True, **kwargs)
        output = SpeechCodecOutput(
            audio_codes=audio_codes, audio_values=decoded.audio_values, audio_codes_mask=mask
        )
        return self._returned(output, return_dict)

    def get_encoded_length(self, input_length: Tensor) -> Tensor:
        """Frames of clips of ``input_length`` samples: rounded up to whole frames."""
        return -(-input_length // self.config.frame_size)

    def get_audio_codes_mask(self, padding_mask: Tensor, padding_side: str = "right") -> Tensor:
        """``(B, T)`` bool: the frames of clips whose samples ``padding_mask (B, S)`` or ``(B, 1, S)`` marks."""
        counts = rows_of(padding_mask, "padding_mask").sum(dim=-1)
        lengths = self.get_encoded_length(counts)
        return frame_mask(lengths, int(lengths.max()), padding_side)

    def _tokens(self, codes: Tensor, padding_mask: Tensor | None, codes_mask: Tensor | None) -> tuple[Tokens, Spans]:
        """Codes with the lengths of their clips, and where these lie in the audio."""
        batch, count, frames = codes.shape
        hop = self.config.frame_size
        if padding_mask is not None:
            mask = without_padding(padding_mask, frames, hop)[:, : frames * hop]
            spans = spans_of(mask, batch, mask.shape[1])
        else:
            inside = None if codes_mask is None else codes_mask.repeat_interleave(hop, dim=1)
            spans = spans_of(inside, batch, frames * hop)
        lengths = [-(-n // hop) for n in spans.counts]
        # Clips that are padded on the left have their codes at the right.
        first = [frames - n if start else 0 for n, start in zip(lengths, spans.starts, strict=True)]
        moved = torch.stack([row.roll(-start, dims=1) for row, start in zip(codes, first, strict=True)])
        tokens = Tokens(
            codes=moved * frame_mask(torch.tensor(lengths), frames).unsqueeze(1),
            lengths=torch.tensor(lengths),
            num_samples=torch.tensor(spans.counts),
            sample_rate=self.config.sampling_rate,
            fingerprint="",
            hop_length=hop,
            codebook_sizes=tuple(self.config.codebook_sizes[:count]),
        )
        return tokens, spans

    def _returned(self, output: Any, return_dict: bool | None) -> Any:
        named = self.config.return_dict if return_dict is None else return_dict
        return output if named else output.to_tuple()

    def _init_weights(self, module: nn.Module) -> None:
        fill_missing(self, module, self._initial)

    def _apply(self, fn: Any, recurse: bool = True) -> "SpeechCodecModel":
        """Move, but never cast: codes of rounded weights would be other codes."""

        def moved(tensor: Tensor) -> Tensor:
            result: Tensor = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        super()._apply(moved, recurse)
        return self


@contextmanager
def on_cpu() -> Iterator[None]:
    """Make tensors on the CPU and in float32, whatever transformers has chosen for the model that it builds."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


def fill_missing(model: nn.Module, module: nn.Module, initial: dict[str, dict[str, Tensor]]) -> None:
    """Fill what a checkpoint does not hold: transformers builds models without memory and loads into them.

    Args:
        module: a part of ``model``.
        initial: of :func:`initial_tensors`.
    """
    reset: Any = getattr(module, "reset_parameters", None)
    if reset is not None:
        if not all(map(_is_loaded, module.parameters(recurse=False))):
            reset()
        return
    name = next((name for name, part in model.named_modules() if part is module), "")
    with torch.no_grad():
        for key, value in initial.get(name, {}).items():
            held = getattr(module, key)
            if not _is_loaded(held):
                held.copy_(value)


def _is_loaded(tensor: Tensor) -> bool:
    """Whether transformers has marked it as filled from a checkpoint."""
    return bool(getattr(tensor, "_is_hf_initialized", False))


def initial_tensors(network: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Copies of what modules hold that cannot fill it by themselves, by module and name."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, module in network.named_modules():
        if not hasattr(module, "reset_parameters"):
            held = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
            found[name] = {key: tensor.detach().clone() for key, tensor in held.items() if not tensor.is_meta}
    return found


def _encode_options(config: Any, num_quantizers: Any, kwargs: dict[str, Any]) -> tuple[int | None, bool]:
    """Number of codebooks and whether to compute deterministically."""
    kwargs = dict(kwargs)
    given = [num_quantizers, kwargs.pop("n_quantizers", None)]
    bandwidth = kwargs.pop("bandwidth", None)
    if bandwidth is not None:
        given.append(sum(rate <= bandwidth * (1 + 1e-6) for rate in config.target_bandwidths))
    deterministic = kwargs.pop("deterministic", config.deterministic)
    _no_more(kwargs)
    counts = [value for value in given if value is not None]
    if len(counts) > 1:
        raise CodecError("give one of num_quantizers, n_quantizers and bandwidth")
    if not counts:
        return None, deterministic
    if counts[0] < 1:
        raise CodecError(f"no number of codebooks fits; bandwidths in kbps are {config.target_bandwidths}")
    return int(counts[0]), deterministic


def _samples_mask(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor | None, dict[str, Any]]:
    """The mask of samples, whether it was given as Mimi has it or after ``audio_scales``, as EnCodec has it."""
    kwargs = dict(kwargs)
    scales, length = kwargs.pop("audio_scales", None), kwargs.pop("last_frame_pad_length", None)
    masks = [value for value in (*args, kwargs.pop("padding_mask", None)) if isinstance(value, Tensor)]
    others = [scale for value in (*args, scales) if isinstance(value, list | tuple) for scale in value]
    unknown = [value for value in args if not isinstance(value, Tensor | list | tuple) and value is not None]
    if len(masks) > 1 or unknown or length or any(scale is not None for scale in others):
        raise CodecError("this model takes one padding mask, and neither audio_scales nor past key values")
    return masks[0] if masks else None, kwargs


def _no_more(kwargs: dict[str, Any]) -> None:
    """Refuse arguments that nobody took; flags of other models that ask for nothing may stand."""
    asked = [name for name, value in kwargs.items() if value is not None and value is not False]
    if "use_streaming" in asked:
        raise CodecError("streams are codec.load(FOLDER).streaming_encoder(); leave use_streaming out")
    if asked:
        raise CodecError(f"unknown argument {asked[0]!r}; see the docstring of SpeechCodecModel")
