"""The faster convolutions against torch's own: the same numbers, forward and backward."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from training.cpu.convolution import (
    BlockConv2d,
    Float32DepthwiseConv2d,
    _Widened,
    accelerate_convolutions,
)

CONVOLUTIONS = [
    # channels in and out, kernel, padding mode, height and width, whether blocks are computed
    (8, 1, 3, "zeros", (24, 32), True),
    (8, 1, 3, "reflect", (24, 32), True),
    (8, 2, 7, "zeros", (24, 32), True),
    (8, 3, 3, "zeros", (6, 4), True),
    (8, 4, 5, "zeros", (24, 32), True),
    (8, 1, 3, "zeros", (25, 31), False),
]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry per convolution that was computed in blocks."""
    calls: list[str] = []
    apply = _Widened.apply

    def counted(*arguments: object) -> Tensor:
        calls.append("blocks")
        return apply(*arguments)

    monkeypatch.setattr(_Widened, "apply", counted)
    return calls


def gradients(layer: nn.Conv2d, image: Tensor) -> list[Tensor]:
    """Output and gradients, through a ReLU in place as in the networks."""
    image = image.clone().requires_grad_()
    output = nn.functional.relu(layer(image), inplace=True)
    output.backward(torch.linspace(-1, 1, output.numel()).view(output.shape))
    return [output.detach(), *(t.grad for t in (image, layer.weight, layer.bias))]


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_match_torch(case: tuple, channels_last: bool, blocks: list[str]) -> None:
    inputs, outputs, kernel, mode, size, in_blocks = case
    order = torch.channels_last if channels_last else torch.contiguous_format
    plain = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode=mode)
    model = nn.Sequential(plain.to(memory_format=order))
    accelerate_convolutions(model)
    assert isinstance(model[0], BlockConv2d) and model[0].weight is plain.weight
    image = torch.randn(2, inputs, *size).contiguous(memory_format=order)
    found = gradients(model[0], image)
    plain.weight.grad = plain.bias.grad = None
    for ours, expected in zip(found, gradients(plain, image), strict=True):
        atol = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=atol)
    assert bool(blocks) == in_blocks


def test_only_layers_that_gain_are_replaced() -> None:
    depthwise = {"groups": 4, "bias": False}
    layers = nn.ModuleDict(
        {
            "wide": nn.Conv2d(4, 8, 3, padding=1),
            "strided": nn.Conv2d(4, 1, 3, stride=2, padding=1),
            "unpadded": nn.Conv2d(4, 1, 3),
            "pointwise": nn.Conv2d(4, 1, 1, bias=False),
            "depthwise": nn.Conv2d(4, 4, 3, padding=1, **depthwise),
            "up": nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1),
            "prediction": nn.Conv2d(4, 1, 3, padding=1),
            "depthwise strided": nn.Conv2d(4, 4, 3, 2, 1, **depthwise),
            "depthwise 5x5": nn.Conv2d(4, 4, 5, padding=2, **depthwise),
        }
    )
    state = copy.deepcopy(layers.state_dict())
    accelerate_convolutions(layers)
    replaced = {name: type(layer) for name, layer in layers.items()}
    assert replaced.pop("prediction") is BlockConv2d
    assert replaced.pop("depthwise strided") is Float32DepthwiseConv2d
    assert replaced.pop("depthwise 5x5") is Float32DepthwiseConv2d
    assert set(replaced.values()) == {nn.Conv2d, nn.ConvTranspose2d}
    assert layers.state_dict().keys() == state.keys()
    for name, value in layers.state_dict().items():
        assert torch.equal(value, state[name])


def test_evaluation_uses_torchs_own(blocks: list[str]) -> None:
    model = nn.Sequential(nn.Conv2d(8, 1, 3, padding=1))
    accelerate_convolutions(model)
    model.eval()(torch.rand(2, 8, 16, 16))
    assert blocks == []
    model.train()(torch.rand(2, 8, 16, 16))
    assert blocks == ["blocks"]


def test_blocks_under_autocast(blocks: list[str]) -> None:
    model = nn.Sequential(nn.Conv2d(8, 1, 3, padding=1))
    accelerate_convolutions(model)
    image = torch.rand(2, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(image).float()
        torch.testing.assert_close(found, model.eval()(image).float(), rtol=0.02, atol=0.02)
    assert blocks == ["blocks"]


def test_depthwise_layers_leave_autocast() -> None:
    plain = nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False)
    model = nn.Sequential(plain)
    accelerate_convolutions(model)
    image = torch.rand(2, 4, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(image.bfloat16())
        assert plain(image.bfloat16()).dtype == torch.bfloat16
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain(image.bfloat16().float()))
