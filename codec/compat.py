"""Advice about a package that this one does not use but that breaks its neighbours."""

import importlib
import importlib.util
import logging
import sys

_log = logging.getLogger("codec")


def warn_about_broken_torchaudio() -> None:
    """Log one line when a torchaudio is installed that cannot load.

    A wheel built for another torch fails on import, and transformers' audio code with it. The
    import is tried only where a torchaudio is installed; without one this costs a path lookup.
    """
    if "torchaudio" in sys.modules or importlib.util.find_spec("torchaudio") is None:
        return
    try:
        importlib.import_module("torchaudio")
    except Exception as error:  # noqa: BLE001 (a broken binary package may raise anything)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        _log.warning(
            "codec: the installed torchaudio cannot load (%s); codec does not use it, but it breaks "
            "transformers' audio code: run `pip uninstall torchaudio`",
            reason,
        )
