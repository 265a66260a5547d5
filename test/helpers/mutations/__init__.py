"""Random damage to small files, reproducible by its seed, and how many of them are tried."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from sfm_ros.errors import SfmRosError

Rng = np.random.Generator
Mutate = Callable[[Rng, bytes], bytes]

TOTAL = int(os.environ.get("SFM_FUZZ_FILES", "2000"))
"""Files of all kinds together."""
_WORDS = (
    "", "0", "-0", "1", "-1", "nan", ".nan", "inf", "-.inf", "1e400", "-1e308", "5e-324", "1e-9",
    "2147483648", "9" * 40, "640.0", "0x10", "1_0", "12:30:45", "true", "null", "~", "[]", "{}",
    "[1, [2, 3]]", "'text'", "\u03a9", "a" * 300, "&a", "*a", "!!python/none", "!!int x", "<<",
)  # fmt: skip
_CHARACTERS = ("\x00", "\ufeff", "\r", "\t", "\n", ":", "-", "#", "[", "}", '"', "\\", "%", "\x85")
_TOKEN = re.compile(r"[-+.\w]+")


def share_of(total_share: float) -> int:
    """How many of `TOTAL` files one kind gets."""
    return max(round(TOTAL * total_share), 1)


def mutated_text(rng: Rng, data: bytes) -> bytes:
    """A text file with one to three things wrong."""
    text = data.decode("utf-8", errors="replace")
    for _ in range(int(rng.integers(1, 4))):
        text = _TEXT_CHANGES[int(rng.integers(len(_TEXT_CHANGES)))](rng, text)
    if rng.random() < 0.05:
        return text.encode("utf-16")
    return text.encode("utf-8", errors="surrogatepass")


def mutated_bytes(rng: Rng, data: bytes) -> bytes:
    """A file of any kind with one to three things wrong."""
    for _ in range(int(rng.integers(1, 4))):
        data = _BYTE_CHANGES[int(rng.integers(len(_BYTE_CHANGES)))](rng, data)
    return data


def mutated_files(
    samples: dict[str, bytes], count: int, seed: int, mutate: Mutate
) -> Iterator[tuple[str, bytes]]:
    """``count`` mutated files, as (name of the sample, content)."""
    rng = np.random.default_rng(seed)
    names = list(samples)
    for index in range(count):
        name = names[index % len(names)]
        yield name, mutate(rng, samples[name])


def tried(
    samples: dict[str, bytes],
    count: int,
    read: Callable[[str, bytes], object],
    mutate: Mutate = mutated_text,
    seed: int = 20,
) -> Counter[str]:
    """Read mutated files; how many were read, or refused with which of our own errors.

    ``read`` raises AssertionError if what it has read cannot be right. Any other error that is not
    our own ends the test, with the file in the message.
    """
    results: Counter[str] = Counter()
    for name, content in mutated_files(samples, count, seed, mutate):
        try:
            read(name, content)
            results["read"] += 1
        except SfmRosError as error:
            assert str(error).strip(), f"{name}: an error without a text for {content!r}"
            results[type(error).__name__] += 1
        except Exception as error:
            raise AssertionError(f"{name}: {error!r} for {content!r}") from error
    print(f"{sum(results.values())} mutated files: {dict(results)}")
    return results


def _other_token(rng: Rng, text: str) -> str:
    found = list(_TOKEN.finditer(text))
    if not found:
        return text
    match = found[int(rng.integers(len(found)))]
    word = _WORDS[int(rng.integers(len(_WORDS)))]
    return text[: match.start()] + word + text[match.end() :]


def _scaled_number(rng: Rng, text: str) -> str:
    found = [m for m in _TOKEN.finditer(text) if re.fullmatch(r"[-+]?\d+(\.\d*)?", m[0])]
    if not found:
        return text
    match = found[int(rng.integers(len(found)))]
    factor = rng.choice([-1.0, 0.5, 2.0, 1.1, 1e6, 1e-6])
    return f"{text[: match.start()]}{float(match[0]) * factor:.12g}{text[match.end() :]}"


def _lines_changed(rng: Rng, text: str) -> str:
    lines = text.splitlines(keepends=True)
    if not lines:
        return text
    index = int(rng.integers(len(lines)))
    kind = int(rng.integers(4))
    if kind == 0:
        del lines[index]
    elif kind == 1:
        lines.insert(index, lines[int(rng.integers(len(lines)))])
    elif kind == 2:
        lines[index] = "  " + lines[index]
    else:
        other = int(rng.integers(len(lines)))
        lines[index], lines[other] = lines[other], lines[index]
    return "".join(lines)


def _character_inserted(rng: Rng, text: str) -> str:
    position = int(rng.integers(len(text) + 1))
    return text[:position] + str(rng.choice(_CHARACTERS)) + text[position:]


def _text_cut(rng: Rng, text: str) -> str:
    position = int(rng.integers(len(text) + 1))
    return text[:position] if rng.random() < 0.7 else text[position:]


def _byte_replaced(rng: Rng, data: bytes) -> bytes:
    if not data:
        return data
    position = int(rng.integers(len(data)))
    return data[:position] + bytes([int(rng.integers(256))]) + data[position + 1 :]


def _bytes_cut(rng: Rng, data: bytes) -> bytes:
    start, end = sorted(int(value) for value in rng.integers(len(data) + 1, size=2))
    return data[:start] + data[end:] if rng.random() < 0.5 else data[:end]


def _bytes_inserted(rng: Rng, data: bytes) -> bytes:
    position = int(rng.integers(len(data) + 1))
    return data[:position] + rng.bytes(int(rng.integers(1, 20))) + data[position:]


_TEXT_CHANGES = (
    _other_token, _other_token, _scaled_number, _lines_changed, _character_inserted, _text_cut,
)  # fmt: skip
_BYTE_CHANGES = (_byte_replaced, _byte_replaced, _bytes_cut, _bytes_inserted)
