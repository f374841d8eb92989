"""Lists of clips."""

from codec.data.manifest import Clip, read_manifest, write_manifest

__all__ = ["Clip", "read_manifest", "write_manifest"]
