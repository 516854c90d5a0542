"""The operator and its options."""

from collections.abc import Sequence

from genesys_engine.plugins import api
from genesys_engine_frequency.unit import SOURCE


class FrequencyOptions(api.Options):
    """What an experiment may set beside `use`; unknown keys and wrong types are refused."""

    modes: tuple[int, ...] = api.Field(
        default=(4, 8, 16), min_length=1, description="numbers of oscillations to draw from"
    )


class Frequency:
    """Puts a mixer in the frequency domain in the place of a sequence mixer."""

    Options = FrequencyOptions
    arity = (1, 1)

    def __init__(self, options: FrequencyOptions) -> None:
        self.options = options
        self.unit = api.parse_unit(SOURCE, where="genesys-engine-frequency")

    def __call__(self, parents: Sequence[api.Parent], context: api.OperatorContext) -> api.Child:
        """Return the child and the sentence that says what was changed."""
        tree = parents[0].tree
        places = [
            place
            for place in tree.places()
            if place.node.ret == self.unit.interface and place.node.unit.digest != self.unit.digest
        ]
        if not places:
            raise api.OperatorNotApplicable("every sequence mixer is in the frequency domain")
        place = context.rng.choice(places)
        modes = context.rng.choice(self.options.modes)
        child = tree.replace(place.index, api.grow(self.unit, modes=modes))
        try:
            child.validate()  # what the old mixer wrote for others may be missing now
        except api.TreeError as error:
            raise api.OperatorNotApplicable(str(error)) from error
        return api.Child(
            child, f"Replaced {place.node.name} at {place.path} by {modes} damped oscillations."
        )
