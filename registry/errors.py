"""What the registry refuses; InvalidDataset stands with the formats."""


class InvalidName(ValueError):
    """A name that nothing can be registered under."""


class NameTaken(Exception):
    """Something is registered under this name already."""


class TooLarge(Exception):
    """A file larger than this installation takes."""
