"""The processes of an ordinary device: a camera, a codec, a compositor and an app. Nothing grows."""

from collections import deque
from typing import ClassVar, Final

from heaptop_emulator.role import Holding, Role

KIB: Final = 1024
MIB: Final = 1024 * KIB
PAGE_BYTES: Final = 4 * KIB


class Camera(Role):
    """Fills a ring of preview frames, mapped and named, and sends each to the compositor and the codec."""

    comm = "cameraserver"

    def start(self) -> None:
        """Metadata, raw frames from the camera's own CMA area, a frame for the gallery, and the ring."""
        self.kept = [self.actor.allocate("system", 4 * KIB, "cam-meta").map(touch_bytes=PAGE_BYTES)]
        self.kept += [self.actor.allocate("camera", 4 * MIB, "cam-raw") for _ in range(3)]
        frame = self.actor.allocate("system", 2 * MIB, "shared-frame")
        for peer in (Compositor.comm, Gallery.comm):
            self.actor.share(frame, peer, "frame")
        self.kept.append(frame)
        self.ring = deque(self._preview() for _ in range(6))
        for preview in self.ring:
            self._send(preview)

    def turn(self) -> None:
        """Replace the oldest preview frame."""
        preview = self._preview()
        self._send(preview)
        self.ring.append(preview)
        self.ring.popleft().drop()

    def _preview(self) -> Holding:
        return self.actor.allocate("system", 3 * MIB // 2, "cam-preview").map(touch_bytes=PAGE_BYTES)

    def _send(self, preview: Holding) -> None:
        for peer in (Compositor.comm, Codec.comm):
            self.actor.share(preview, peer, "preview")


class Compositor(Role):
    """Holds the frame buffers and the scan-out in the CMA area `reserved`, and the last two frames it was sent."""

    comm = "surfaceflinger"

    def start(self) -> None:
        """Two frame buffers and one scan-out buffer."""
        self.shown: deque[Holding] = deque()
        self.kept = [self.actor.allocate("reserved", 8 * MIB, name) for name in ("fb0", "fb1")]
        self.kept.append(self.actor.allocate("reserved", 16 * MIB, "scanout").map(touch_bytes=PAGE_BYTES))

    def receive(self, label: str, held: Holding) -> None:
        """Keep the shared frame for good, of previews the last two."""
        if label == "frame":
            self.kept.append(held)
            return
        self.shown.append(held)
        if len(self.shown) > 2:
            self.shown.popleft().drop()


class Codec(Role):
    """Decodes into a ring of buffers that it never names, and holds the newest preview frame."""

    comm = "mediaserver"

    def start(self) -> None:
        """The ring."""
        self.input: Holding | None = None
        self.ring = deque(self._output() for _ in range(8))

    def turn(self) -> None:
        """Replace the oldest buffer of the ring."""
        self.ring.append(self._output())
        self.ring.popleft().drop()

    def receive(self, _label: str, held: Holding) -> None:
        """Keep the newest preview."""
        if self.input is not None:
            self.input.drop()
        self.input = held

    def _output(self) -> Holding:
        return self.actor.allocate("system", 2 * MIB)


class Gallery(Role):
    """Draws with textures of several sizes, some of them mapped only, and shows the camera's shared frame."""

    comm = "app-gallery"
    period_s: ClassVar[float] = 4.0

    def start(self) -> None:
        """Textures by descriptor, thumbnails by mapping alone."""
        self.frame: Holding | None = None
        self.textures = deque(self._texture() for _ in range(6))
        self.kept = [
            self.actor.allocate("system", 256 * KIB, f"thumbnails {number}").map(touch_bytes=PAGE_BYTES).close_fd()
            for number in (1, 2)
        ]

    def turn(self) -> None:
        """Replace the oldest texture."""
        self.textures.append(self._texture())
        self.textures.popleft().drop()

    def receive(self, _label: str, held: Holding) -> None:
        """Map the shared frame read-only and keep its descriptor."""
        if self.frame is not None:
            self.frame.drop()
        self.frame = held.map(writable=False)

    def _texture(self) -> Holding:
        side = self.actor.random.choice((256, 512, 1024))
        return self.actor.allocate("system", side * side * 4, f"texture {side}x{side}")
