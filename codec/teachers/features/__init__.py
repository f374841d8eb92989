"""Teachers' features: cached per clip, and read on the codec's frames."""

from codec.teachers.features.cache import CachedFeatures, ExpectedFeatures, FeatureCache, FeatureInfo
from codec.teachers.features.timing import Crop, CropFrames, crop_frames

__all__ = [
    "CachedFeatures",
    "Crop",
    "CropFrames",
    "ExpectedFeatures",
    "FeatureCache",
    "FeatureInfo",
    "crop_frames",
]
