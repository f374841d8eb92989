"""Models of transformers, loaded without its progress bars: they would tear ours apart."""

from typing import Any


def from_pretrained(auto_class: Any, name: str) -> Any:
    """``auto_class.from_pretrained(name)``: a folder, or a hub id that the user gave."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    return auto_class.from_pretrained(name)
