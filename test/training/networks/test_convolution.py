"""The fast convolutions against torch's own: the same numbers, forwards and backwards."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from training.networks import convolution  # noqa: E402
from training.networks.convolution import FEW_PLACES, Conv2d, ConvTranspose2d  # noqa: E402

FEW, MANY = (3, 5), (24, 32)
CONVOLUTIONS = [
    # channels in and out, kernel, stride, padding mode, height and width, what it is computed by
    (8, 12, 3, 1, "zeros", FEW, "_ByProduct"),
    (8, 12, 3, 1, "reflect", FEW, "_ByProduct"),
    (8, 12, 3, 2, "zeros", FEW, "_ByProduct"),
    (8, 12, 3, 2, "zeros", (4, 6), "_ByProduct"),
    (8, 12, 3, 1, "zeros", (1, 4), "_ByProduct"),
    (8, 12, 7, 1, "zeros", (2, 2), "_ByProduct"),
    (8, 12, 5, 2, "zeros", (1, 1), "_ByProduct"),
    (8, 12, 3, 1, "zeros", MANY, None),
    (8, 1, 3, 1, "zeros", MANY, "_Widened"),
    (8, 1, 3, 1, "reflect", MANY, "_Widened"),
    (8, 2, 7, 1, "zeros", MANY, "_Widened"),
    (8, 4, 5, 1, "zeros", MANY, "_Widened"),
    (8, 1, 3, 1, "zeros", (25, 31), None),
    (8, 1, 3, 2, "zeros", (48, 64), None),
]
TRANSPOSED = [
    (8, 12, 3, FEW, "_TransposedByProduct"),
    (8, 12, 3, (1, 4), "_TransposedByProduct"),
    (8, 12, 7, (2, 2), "_TransposedByProduct"),
    (8, 12, 3, MANY, "_Transposed"),
    (8, 12, 5, MANY, "_Transposed"),
]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def assert_same(fast: nn.Module, plain: nn.Module, shape: tuple[int, ...], last: bool) -> None:
    """Output and all gradients equal but for rounding, through a ReLU in place as in the nets."""
    order = torch.channels_last if last else torch.contiguous_format
    fast, plain = fast.to(memory_format=order), plain.to(memory_format=order)
    plain.load_state_dict(fast.state_dict())
    values = torch.randn(shape).contiguous(memory_format=order)
    found, expected = (_passes(layer, values) for layer in (fast, plain))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


def _passes(layer: nn.Module, values: Tensor) -> list[Tensor]:
    values = values.clone().requires_grad_()
    output = nn.functional.relu(layer(values), inplace=True)
    pull = torch.linspace(-1, 1, output.numel()).view(output.shape)
    output.backward(pull)
    return [output.detach(), *(t.grad for t in (values, layer.weight, layer.bias))]


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the functions by which convolutions were computed."""
    names: list[str] = []
    for name in ("_ByProduct", "_Widened", "_TransposedByProduct", "_Transposed"):
        function = getattr(convolution, name)

        def apply(*arguments: object, name: str = name, inner: object = function.apply) -> Tensor:
            names.append(name)
            return inner(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(function, "apply", apply)
    return names


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_are_torchs(case: tuple, last: bool, used: list[str]) -> None:
    inputs, outputs, kernel, stride, mode, size, by = case
    if mode == "reflect" and min(size) <= kernel // 2:
        pytest.skip("too small to be reflected")
    fast, plain = (
        kind(inputs, outputs, kernel, stride, kernel // 2, padding_mode=mode)
        for kind in (Conv2d, nn.Conv2d)
    )
    assert_same(fast, plain, (2, inputs, *size), last)
    assert used == ([] if by is None else [by])


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("case", TRANSPOSED)
def test_transposed_convolutions_are_torchs(case: tuple, last: bool, used: list[str]) -> None:
    inputs, outputs, kernel, size, by = case
    fast, plain = (
        kind(inputs, outputs, kernel, stride=2, padding=kernel // 2, output_padding=1)
        for kind in (ConvTranspose2d, nn.ConvTranspose2d)
    )
    assert_same(fast, plain, (2, inputs, *size), last)
    assert used == [by]


def test_what_is_not_trained_in_float32_is_torchs_own(used: list[str]) -> None:
    layers = Conv2d(4, 8, 3, padding=1), ConvTranspose2d(4, 8, 3, stride=2, padding=1)
    image = torch.rand(1, 4, 4, 4)
    assert image.numel() < FEW_PLACES
    for layer in layers:
        layer.eval()(image)
        layer.train().bfloat16()(image.bfloat16())
        layer.float()
        with torch.autocast("cpu", torch.bfloat16):
            layer(image)
    assert used == []


def test_predictions_are_widened_under_autocast_too(used: list[str]) -> None:
    layer, image = Conv2d(8, 1, 3, padding=1), torch.rand(2, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(
            layer(image).float(), layer.eval()(image).float(), rtol=0.02, atol=0.02
        )
    assert used == ["_Widened"]
