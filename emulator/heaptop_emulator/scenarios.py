"""The scenarios: which processes there are, and what an observer must find."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from heaptop_emulator.layout import Layout
from heaptop_emulator.layout_text import parse_layout
from heaptop_emulator.role import Role
from heaptop_emulator.roles import KIB, Camera, Codec, Compositor, Gallery
from heaptop_emulator.troubles import (
    Burst,
    ForkingCamera,
    Fragmenter,
    Impostor,
    ImpostorsTwin,
    LeakyCodec,
    LeakyGallery,
    Storm,
    Streamer,
)


@dataclass(frozen=True, slots=True)
class Suspect:
    """The class of buffers that grows. `holder` is the comm of the process that holds them, None where none does."""

    exporter: str
    size_bytes: int
    name: str
    holder: str | None
    rate_per_minute: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario's processes, in the order they start, and the answer an observer must find: in words, and the one
    suspect of a hunt for leaks (`expected`; None: there is none). `layout` describes its machine where that matters.
    """

    name: str
    finding: str
    roles: tuple[type[Role], ...]
    expected: Suspect | None = None
    layout: str = ""


_ALL: Final = (
    Scenario("idle", "No process and no buffer: all memory is free.", ()),
    Scenario(
        "steady",
        "About two buffers a second are replaced and nothing grows: there is no suspect.",
        (Compositor, Codec, Gallery, Camera),
    ),
    Scenario(
        "leak-fd",
        "mediaserver gains about two 16 KiB system buffers named codec-out a second, each held by one fd.",
        (Compositor, LeakyCodec, Gallery, Camera),
        Suspect("system", 16 * KIB, "codec-out", "mediaserver", 120),
    ),
    Scenario(
        "leak-map",
        "app-gallery gains about two 64 KiB system buffers named thumbnail a second, each held by a mapping alone.",
        (Compositor, Codec, LeakyGallery, Camera),
        Suspect("system", 64 * KIB, "thumbnail", "app-gallery", 120),
    ),
    Scenario(
        "leak-fork",
        "Each second one more camera-helper keeps a 256 KiB system buffer named still, an fd that cameraserver closed.",
        (Compositor, Codec, Gallery, ForkingCamera),
        Suspect("system", 256 * KIB, "still", "camera-helper", 60),
    ),
    Scenario(
        "in-flight",
        "About two 128 KiB system buffers named net-frame a second stay in flight from streamd, held by nobody.",
        (Compositor, Codec, Gallery, Camera, Streamer),
        Suspect("system", 128 * KIB, "net-frame", None, 120),
    ),
    Scenario(
        "fragmentation",
        "Half of the CMA area reserved is free, but in holes of 512 KiB: a request of 4 MiB fails each second.",
        (Fragmenter, Codec, Gallery),
    ),
    Scenario(
        "pinned",
        "The CMA area camera is empty, yet a request of 8 MiB fails each second: four pinned pages are in the way.",
        (Burst, Compositor, Codec),
        layout="laptop,area=reserved:64M,area=camera:32M:pinned=1100+3100+5100+7100",
    ),
    Scenario(
        "storm",
        "stormd replaces 2500 buffers a second, of which at most 64 live at once: nothing grows, there is no suspect.",
        (Compositor, Codec, Gallery, Camera, Storm),
    ),
    Scenario(
        "hostile-names",
        "Two processes and their 22 buffers have names that imitate rows, markup and escapes: each is there, once.",
        (Impostor, ImpostorsTwin, Codec),
    ),
)
SCENARIOS: Final = MappingProxyType({scenario.name: scenario for scenario in _ALL})


def layout_of(scenario: str) -> Layout | None:
    """The machine that a scenario is played on; None: any."""
    layout = SCENARIOS[scenario].layout
    return parse_layout(layout) if layout else None
