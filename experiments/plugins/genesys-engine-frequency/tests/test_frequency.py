import random

from genesys_engine_frequency.unit import SOURCE

from genesys_engine.plugins import api
from genesys_engine.plugins.testing import OperatorContract


class TestFrequency(OperatorContract):
    name = "frequency"
    options = {"modes": [4, 8]}


def child():
    parent = api.Parent(0, api.library.seed("gpt"), None, "")
    operator = TestFrequency().create()
    return operator([parent], api.OperatorContext(random.Random(1))).tree


def test_the_mixer_of_gpt_is_replaced():
    names = [place.node.name for place in child().places()]
    assert "OscillatorMixer" in names
    assert "CausalAttention" not in names


def test_the_block_passes_the_check_of_the_engine(check_block):
    assert check_block(child()) == []


def test_the_spectrum_gives_the_convolution_step_by_step():
    import torch

    space = {}
    exec(SOURCE, space)
    torch.manual_seed(0)
    unit = space["OscillatorMixer"](16, (0, 1), modes=4, dtype=torch.float64)
    torch.nn.init.normal_(unit.phase)
    X = torch.randn(2, 11, 16, dtype=torch.float64)
    t = torch.arange(11, dtype=torch.float64)
    rate, frequency = torch.exp(unit.log_rate), unit.frequency
    wave = torch.exp(-rate[:, None] * t) * torch.cos(
        frequency[:, None] * t + unit.phase[:, :, None]
    )
    kernel = (unit.amplitude[:, :, None] * wave).sum(1)  # (D, T), by its formula
    v = unit.value(X)
    mixed = torch.stack(
        [sum(kernel[:, i - s] * v[:, s] for s in range(i + 1)) for i in range(11)], dim=1
    )
    expected = unit.out(mixed * torch.sigmoid(unit.gate(X)))
    torch.testing.assert_close(unit(X)[0], expected)
