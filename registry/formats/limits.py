"""What a dataset may cost to read; a file that claims more is refused before it is believed."""

MAX_DECODED_BYTES = 2 << 30
MAX_JSON_BYTES = 512 << 20  # the text is held in memory whole
MAX_TEXT_BYTES = 512 << 20  # likewise
MAX_LINE_CHARS = 16 << 20
MAX_SAMPLES = 20_000_000
MAX_ENTRIES = 200_000
MAX_IMAGE_PIXELS = 1 << 26  # below Pillow's own limit, which only warns
