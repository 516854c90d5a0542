"""Every unit of the library keeps the contract of units, at many widths, lengths and choices."""

import random

import pytest
import torch
from seed_support import (
    DEFAULTS,
    UNIT_NAMES,
    draw,
    extra_z,
    largest_difference,
    make,
    randomise,
    unit_class,
)

WIDTHS = (16, 32, 48, 80, 112, 208)
LENGTHS = (1, 2, 7, 16, 33, 67)


def samples(name, count=5):
    """Return (d_model, hyper-parameters) pairs: the smallest width, then random ones."""
    choices = unit_class(name).choices if hasattr(unit_class(name), "choices") else {}
    rng = random.Random(name)
    yield 16, {}
    for _ in range(count):
        yield rng.choice(WIDTHS), {key: rng.choice(values) for key, values in choices.items()}


def run(unit, x, **z):
    z = extra_z(unit, *x.shape[:2], dtype=x.dtype) | z
    return unit(x, **z)[0]


def test_the_library_has_units_for_every_kind_of_slot():
    offered = {unit_class(name).interface for name in UNIT_NAMES}
    assert offered == {"block", *DEFAULTS}
    for name in UNIT_NAMES:
        asked = {interface for interface, _ in unit_class(name).slots.values()}
        assert asked <= offered, name


@pytest.mark.parametrize("name", UNIT_NAMES)
def test_default_is_among_the_choices(name):
    cls = unit_class(name)
    defaults = cls.__init__.__kwdefaults__
    for key, values in getattr(cls, "choices", {}).items():
        assert defaults[key] in values


@pytest.mark.parametrize("name", UNIT_NAMES)
def test_any_width_choice_and_length_keeps_shape_and_dtype(name):
    for d_model, hyper in samples(name):
        for dtype in (torch.float32, torch.float64):
            unit = make(name, d_model, hyper=hyper, dtype=dtype)
            assert {p.dtype for p in unit.parameters()} <= {dtype}
            for length in (1, 5, 19):
                x = draw(2, length, d_model, dtype=dtype)
                y = run(unit, x)
                assert (y.shape, y.dtype) == (x.shape, dtype), (d_model, hyper, length)
                assert bool(torch.isfinite(y).all())


@pytest.mark.parametrize("name", UNIT_NAMES)
def test_no_output_depends_on_the_future(name):
    """Random replacement of the suffix in X and in what is handed over in Z."""
    for number, (d_model, hyper) in enumerate(samples(name, count=3)):
        unit = randomise(make(name, d_model, hyper=hyper), seed=number)
        for length in LENGTHS[1:]:
            cut = random.Random(length).randrange(1, length)
            x, z = draw(2, length, d_model), extra_z(unit, 2, length)
            suffix = draw(2, length, d_model, seed=9)
            other = torch.cat((x[:, :cut], suffix[:, cut:]), 1)
            other_z = {
                key: torch.cat((value[:, :cut], 2 * value[:, cut:]), 1) for key, value in z.items()
            }
            before, after = unit(x, **z)[0], unit(other, **other_z)[0]
            assert largest_difference(before[:, :cut], after[:, :cut]) < 1e-9, (hyper, length)
            if length - cut > 1:  # a shift shows the last position to nobody
                assert largest_difference(before[:, cut:], after[:, cut:]) > 1e-6


@pytest.mark.parametrize("name", UNIT_NAMES)
def test_rows_of_a_batch_do_not_meet_and_runs_repeat(name):
    unit = randomise(make(name, 48))
    x, z = draw(3, 21, 48), extra_z(unit_class(name), 3, 21)
    together, _ = unit(x, **z)
    assert torch.equal(together, unit(x, **z)[0])
    alone, _ = unit(x[1:2], **{key: value[1:2] for key, value in z.items()})
    assert largest_difference(together[1:2], alone) < 1e-9


@pytest.mark.parametrize("name", UNIT_NAMES)
def test_gradient_reaches_every_parameter_from_the_starting_values(name):
    unit = make(name, 48, loc=(1, 2))
    x = draw(2, 21, 48).requires_grad_()
    run(unit, x).square().sum().backward()
    for label, parameter in [("input", x), *unit.named_parameters()]:
        assert parameter.grad is not None, label
        assert bool(torch.isfinite(parameter.grad).all()), label
        assert bool((parameter.grad != 0).any()), label


@pytest.mark.parametrize("name", UNIT_NAMES)
def test_works_on_the_meta_device(name):
    """Sizes are counted without memory: nothing in a constructor may need values."""
    unit = make(name, 48, dtype=torch.float32)
    with torch.device("meta"):
        counted = make(name, 48, dtype=torch.float32)
    assert [p.shape for p in counted.parameters()] == [p.shape for p in unit.parameters()]
    assert all(p.is_meta for p in counted.parameters())


@pytest.mark.parametrize("name", UNIT_NAMES)
def test_values_of_z_pass_through(name):
    unit, mark = make(name, 32), object()
    _, z = unit(x := draw(1, 4, 32), **extra_z(unit, *x.shape[:2]), stranger=mark)
    assert z["stranger"] is mark
    assert set(unit.outputs) <= set(z)
