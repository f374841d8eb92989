"""Systems that code speech: the original, our models, and peers."""

from codec.eval.systems.base import System
from codec.eval.systems.original import Original
from codec.eval.systems.ours import Ours, model_systems
from codec.eval.systems.registry import parse_peer, peer, peer_names

__all__ = ["Original", "Ours", "System", "model_systems", "parse_peer", "peer", "peer_names"]
