"""Every network that can label a cell: a table of fronts, of backbones and of heads, and how they begin."""

from classification.networks.build import build, build_blank, check_input, find_weights, load_weights, smallest_input
from classification.networks.heads import HEADS
from classification.networks.network import Network

__all__ = ["HEADS", "Network", "build", "build_blank", "check_input", "find_weights", "load_weights", "smallest_input"]
