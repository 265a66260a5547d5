"""The result of the parity gate is kept beside the engines: without one they are not used."""

from __future__ import annotations

from collections.abc import Sequence

from sfm_ros.engines.engine_cache import EngineCache, EngineIdentity
from sfm_ros.engines.parity import ParityResult
from sfm_ros.engines.tensorrt.cuda import Gpu
from sfm_ros.engines.tensorrt.identity import parity_identity
from sfm_ros.errors import EngineNotBuiltError, EngineRefusedError

_ACCEPTED, _REFUSED = b"accepted", b"refused"


def record(
    cache: EngineCache, identities: Sequence[EngineIdentity], gpu: Gpu, result: ParityResult
) -> None:
    """Keep the result of a comparison; OutputError if the cache cannot be written."""
    word = _ACCEPTED if result.accepted else _REFUSED
    content = word + b"\n" + result.text.encode()
    cache.store(parity_identity(identities, gpu), content, {"graph": f"parity {word.decode()}"})


def require_accepted(cache: EngineCache, identities: Sequence[EngineIdentity], gpu: Gpu) -> None:
    """Make sure that the engines were compared on this GPU, and accepted.

    Raises:
        EngineNotBuiltError: they were not compared yet.
        EngineRefusedError: they were refused; names why.
    """
    try:
        content = cache.load(parity_identity(identities, gpu))
    except EngineNotBuiltError as error:
        raise EngineNotBuiltError(
            "no engines were built and compared with a reference for this model, GPU, driver and "
            "library yet; sfm_build_engine does both"
        ) from error
    result, _, text = content.partition(b"\n")
    if result != _ACCEPTED:
        raise EngineRefusedError(
            f"the engines are refused: {text.decode(errors='replace')}; sfm_build_engine --force "
            "builds and compares them again"
        )
