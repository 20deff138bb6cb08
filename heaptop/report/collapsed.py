"""Call sites as collapsed stacks, as flamegraph.pl and its kin read them: `outermost;…;innermost WEIGHT` a line."""

from collections.abc import Iterable

from heaptop.analysis.sites import By, Sample, shown
from heaptop.units import printable


def text(samples: Iterable[Sample], by: By = By.BYTES) -> str:
    """The lines, by rising stack, each stack once."""
    weights: dict[str, int] = {}
    for sample in samples:
        line = ";".join(printable(shown(place)).replace(";", ",") for place in sample.places)
        weights[line] = weights.get(line, 0) + sample.weight(by)
    return "".join(f"{line} {weight}\n" for line, weight in sorted(weights.items()))
