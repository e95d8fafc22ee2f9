"""What a dataset file holds. No Django here, so that the trainer reads datasets by the same code as the server."""

from registry.formats.contents import Contents, Description, InvalidDataset, describe
from registry.formats.reading import FORMATS, read

__all__ = ["FORMATS", "Contents", "Description", "InvalidDataset", "describe", "read"]
