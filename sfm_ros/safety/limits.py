"""Sizes above which a file from somebody else is refused, before memory or disk is taken for it.

They are far above what recordings, models and configurations need; docs/security.md lists them.
"""

from __future__ import annotations

MIB = 2**20

IMAGE_MEGAPIXELS = 64
"""Millions of pixels of an image; ``preprocess.max_megapixels`` replaces it at run time."""
BINARY_FILE = 512 * MIB
"""Bytes of a file that is read as a whole and is no text: an image, a lidar scan."""
TEXT_FILE = 256 * MIB
"""Bytes of a trajectory, a file of times or a calibration in a text format."""

YAML_FILE = 4 * MIB
YAML_NODES = 200_000
"""Scalars, lists and mappings; each takes about 0.6 kB while the file is read."""
JSON_FILE = 128 * MIB
JSON_CONTAINERS = 2_000_000
DOCUMENT_DEPTH = 32
"""Lists and mappings within each other."""
NUMBER_DIGITS = 64

BAG_CHUNK = 256 * MIB
"""Bytes of a chunk or a message of a bag, unpacked."""
BAG_OPEN_CHUNKS = 2 * BAG_CHUNK
"""Bytes of the chunks that cover one moment: they are in memory together."""
BAG_UNPACKED = 32 * 1024 * MIB
"""Bytes of a bag that is compressed file by file, in the folder for temporary files."""
BAG_DISK_RESERVE = 1024 * MIB
"""Bytes that unpacking leaves free on that disk."""
