"""Call sites as a speedscope profile: one by bytes, one by count. Its format is at `_SCHEMA`."""

from collections.abc import Sequence
from typing import Final

from heaptop.analysis.sites import By, Sample, where
from heaptop.report.json import Json

_SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"
_UNITS: Final = {By.BYTES: "bytes", By.COUNT: "none"}


def document(samples: Sequence[Sample], name: str, by: By = By.BYTES) -> Json:
    """The profile; `by` says which of the two is shown first."""
    frames: dict[Json | object, int] = {}
    table: list[Json] = []
    stacks: list[list[int]] = []
    for sample in samples:
        stack = []
        for place in sample.places:
            if place not in frames:
                frames[place] = len(table)
                frame: Json = {"name": place.function or where(place)}
                if place.file is not None:
                    frame["file"] = place.file
                elif place.module:
                    frame["file"] = place.module
                if place.line is not None:
                    frame["line"] = place.line
                table.append(frame)
            stack.append(frames[place])
        stacks.append(stack)
    order = (by, *(other for other in By if other is not by))
    return {
        "$schema": _SCHEMA,
        "exporter": "heaptop",
        "name": name,
        "activeProfileIndex": 0,
        "shared": {"frames": table},
        "profiles": [_profile(samples, stacks, name, each) for each in order],
    }


def _profile(samples: Sequence[Sample], stacks: list[list[int]], name: str, by: By) -> Json:
    weights = [sample.weight(by) for sample in samples]
    return {
        "type": "sampled",
        "name": f"{name}, by {by.value}",
        "unit": _UNITS[by],
        "startValue": 0,
        "endValue": sum(weights),
        "samples": stacks,
        "weights": weights,
    }
