"""The processes that make trouble, in place of the ordinary ones or beside them: see scenarios.py for what of."""

from collections import deque
from typing import ClassVar, Final

from heaptop_emulator.role import Holding, Role
from heaptop_emulator.roles import KIB, MIB, PAGE_BYTES, Camera, Codec, Gallery

HELPERS_MAX: Final = 180
"""How many helpers a camera forks at most: a process each, so a leak that is forgotten ends by itself."""


class LeakyCodec(Codec):
    """The codec, which forgets one small buffer in each turn."""

    period_s: ClassVar[float] = 0.5

    def start(self) -> None:
        """The ring, and nothing forgotten yet."""
        super().start()
        self.forgotten: list[Holding] = []

    def turn(self) -> None:
        """Forget one; replace the oldest of the ring in every other turn."""
        self.forgotten.append(self.actor.allocate("system", 16 * KIB, "codec-out"))
        if len(self.forgotten) % 2 == 0:
            super().turn()


class LeakyGallery(Gallery):
    """The gallery, which closes a thumbnail's descriptor in each turn and forgets to unmap it."""

    period_s: ClassVar[float] = 0.5

    def start(self) -> None:
        """As ever, and nothing forgotten yet."""
        super().start()
        self.turns = 0

    def turn(self) -> None:
        """Forget a mapping; replace the oldest texture in every eighth turn."""
        self.actor.allocate("system", 64 * KIB, "thumbnail").map(touch_bytes=PAGE_BYTES).close_fd()
        self.turns += 1
        if self.turns % 8 == 0:
            super().turn()


class ForkingCamera(Camera):
    """The camera, which forks a helper in each turn and lets go of the picture that it had at that moment; the helper
    never does.
    """

    def start(self) -> None:
        """As ever, and no helper yet."""
        super().start()
        self.helpers = 0

    def turn(self) -> None:
        """Fork one more helper, which has the picture by its parent's table of descriptors."""
        super().turn()
        if self.helpers < HELPERS_MAX:
            still = self.actor.allocate("system", 256 * KIB, "still")
            self.actor.fork("camera-helper", still)
            still.drop()
            self.helpers += 1


class Streamer(Role):
    """Sends each frame to a socket that is never read, and lets go of it: it lives on in flight alone."""

    comm = "streamd"
    period_s: ClassVar[float] = 0.5

    def turn(self) -> None:
        """Send one more."""
        frame = self.actor.allocate("system", 128 * KIB, "net-frame")
        self.actor.send_unread(frame)
        frame.drop()


class Fragmenter(Role):
    """Took the whole area `reserved` in small buffers, gave every second one back, and now wants a large one."""

    comm = "isp-tuner"

    def start(self) -> None:
        """Leave holes of 512 KiB, and no larger one."""
        taken = [self.actor.allocate("reserved", 512 * KIB, f"tile {number}") for number in range(128)]
        self.tiles = taken[::2]
        for tile in taken[1::2]:
            tile.drop()

    def turn(self) -> None:
        """Ask for what does not fit: OSError (ENOMEM)."""
        self.actor.allocate("reserved", 4 * MIB, "frame").drop()


class Burst(Role):
    """Wants a large frame of the area `camera` in each turn, where pages are pinned."""

    comm = "burst-camera"

    def turn(self) -> None:
        """Ask for what would fit, were it not for pages that cannot be moved away: OSError (ENOMEM)."""
        self.actor.allocate("camera", 8 * MIB, "burst").drop()


class Storm(Role):
    """Replaces 50 buffers of several sizes in each of its 50 turns a second."""

    comm = "stormd"
    period_s: ClassVar[float] = 0.02

    def start(self) -> None:
        """The ring."""
        self.ring = deque(self._scratch() for _ in range(64))

    def turn(self) -> None:
        """Replace the oldest 50."""
        for _ in range(50):
            self.ring.popleft().drop()
            self.ring.append(self._scratch())

    def _scratch(self) -> Holding:
        return self.actor.allocate("system", self.actor.random.choice((4, 16, 64, 256)) * KIB, "scratch")


class Impostor(Role):
    """Has a name, and names its buffers, so as to break whatever shows them."""

    comm = "\x1b[31mred\n\udcff[b]"
    names: ClassVar[tuple[str, ...]] = (
        "line\nline\ttab\rback\x08",
        "\x1b[2J\x1b]0;title\x07\x1b[8m",
        "[bold red]markup[/] [link=x]",
        "\udcff\udcfe\udc80 not UTF-8 \udcc3",
        "\n00004096\t00000002\t00080007\t000",
        "\n\nTotal 0 objects, 0 bytes\n",
        "x\nino:\t1\nsize:\t1\nexp_name:\tno",
        "\u202e\u2066gnp.\u200b\u0430dmin",
        "(deleted)",
        "=cmd|' /C calc'!A0",
        " ",
    )

    def start(self) -> None:
        """One buffer a name, held by descriptor and by mapping."""
        self.kept = [self.actor.allocate("system", 16 * KIB, name).map(touch_bytes=PAGE_BYTES) for name in self.names]


class ImpostorsTwin(Impostor):
    """The same under a name that looks like a row of another file."""

    comm = "1) S 0 0 (init"
