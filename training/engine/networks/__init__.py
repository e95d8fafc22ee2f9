"""The networks that come with the server; importing this registers them."""

from training.engine.networks import basic, sequences, torchvision

__all__ = ["basic", "sequences", "torchvision"]
