"""Advice about a package that this one does not use but that breaks its neighbours."""

import logging
from importlib import metadata

_log = logging.getLogger("codec")


def warn_about_mismatched_torchaudio() -> None:
    """Log one line when the installed torchaudio was built for another torch than the installed one.

    Such a torchaudio may fail on import, and transformers' audio code with it. Each release of it is
    built for the torch of the same number, so the installed versions suffice; nothing is imported.
    """
    try:
        torch, torchaudio = metadata.version("torch"), metadata.version("torchaudio")
    except metadata.PackageNotFoundError:
        return
    if _build(torch) != _build(torchaudio):
        _log.warning(
            "codec: the installed torchaudio %s was built for another torch than the installed %s; codec "
            "does not use it, but it may break transformers' audio code: run `pip uninstall torchaudio`",
            torchaudio,
            torch,
        )


def _build(version: str) -> tuple[list[str], str]:
    """Major and minor number, and what follows a plus: ``cpu`` or a CUDA version."""
    release, _, local = version.partition("+")
    return release.split(".")[:2], local
