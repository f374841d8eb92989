"""The two kinds of masked pre-training: of patches, which is MATPAC, and of a codec's frames, which is ours."""

from pathlib import Path

from codec.errors import CodecError
from codec.eval.training import Training, write_training
from codec.model.files import load_model
from codec.pretraining.models.config import Shape
from codec.pretraining.models.files import FRAMES, kind_of, load_pretrained
from codec.pretraining.models.frames import FrameEncoder, FrameEncoderConfig
from codec.pretraining.models.patches import PatchEncoder
from codec.pretraining.models.released import is_released, read_released
from codec.pretraining.objective.masking import PatchMasks, SpanMasks
from codec.pretraining.objective.pairs import FramePair, PatchPair
from codec.pretraining.tasks.config import MaskedFramesConfig, MatpacConfig
from codec.pretraining.tasks.task import MaskedTask, Setting
from codec.train.tasks.base import task


@task("matpac")
class PatchTask(MaskedTask):
    """MATPAC, and MATPAC++ with several hypotheses: patches of a log-mel spectrogram."""

    Config = MatpacConfig
    config: MatpacConfig

    def build(self) -> Setting:
        encoder = self.config.encoder
        rows, columns = encoder.grid
        return Setting(
            PatchPair(PatchEncoder(encoder)),
            self.config.predictor.shape(encoder.size),
            PatchMasks(rows * columns, self.config.mask_ratio),
            rows * columns,
            encoder.window,
            encoder.front.sample_rate,
        )

    def initialize(self, source: str) -> None:
        """Start from an encoder of patches: a folder of ours, or a file of released weights."""
        if is_released(source):
            encoder: PatchEncoder | FrameEncoder = read_released(source)
        else:
            encoder = load_pretrained(source, "cpu")
        if not isinstance(encoder, PatchEncoder):
            raise CodecError(f"init_from {source}: an encoder of frames, and this run is one of patches")
        self.start_from(encoder, source)


@task("masked_frames")
class FrameTask(MaskedTask):
    """The same two losses on spans of a codec's latent frames, as a start for training the codec."""

    Config = MaskedFramesConfig
    config: MaskedFramesConfig

    def build(self) -> Setting:
        config, frames = self.config, self.config.crop_frames
        masks = SpanMasks(frames, config.span, config.mask_ratio)
        student = FrameEncoder(FrameEncoderConfig(config.model))
        usual: Shape = config.predictor.shape("small")
        return Setting(
            FramePair(student, frames, config.teacher_hears == "complement"),
            usual,
            masks,
            frames,
            frames * student.hop,
            student.sample_rate,
        )

    def initialize(self, source: str) -> None:
        """Start from an encoder of frames, or from that of a codec."""
        encoder = FrameEncoder(FrameEncoderConfig(self.config.model))
        if kind_of(source) == FRAMES:
            loaded = load_pretrained(source, "cpu")
            assert isinstance(loaded, FrameEncoder)
            encoder = loaded
        else:
            encoder.encoder = load_model(source, "cpu").encoder
        self.start_from(encoder, source)

    def export(self, folder: Path) -> None:
        """The encoder; a codec that starts from it knows by ``training.json`` that no metric was a loss."""
        super().export(folder)
        write_training(folder, Training([]))
