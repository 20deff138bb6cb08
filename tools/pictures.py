"""Makes the pictures of the README: the real app over the emulator, as SVG.

Usage: python tools/pictures.py [FOLDER]   (default docs/pictures)
"""

import asyncio
import sys
from pathlib import Path

from heaptop.backend.base import Backend
from heaptop.backend.emulated import EmulatedBackend
from heaptop.backend.reach import OwnEmulator
from heaptop.tui.app import HeaptopApp

ROOT = Path(__file__).parent.parent
SIZE = (132, 34)
LOOK_S = 24.0
"""How long the app looks at the emulator, so that trends have something to show."""


async def picture(backend: Backend, folder: Path, shots: dict[str, list[str]], look_s: float) -> None:
    """Run the app, press each shot's keys, and write `NAME.svg`."""
    app = HeaptopApp(backend, note="", interval_s=0.5, readonly=False, filter_text=None, theme=None)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(look_s)
        for name, keys in shots.items():
            await pilot.press(*keys)
            await pilot.pause(1.5)
            (folder / f"{name}.svg").write_text(app.export_screenshot(title=f"heaptop: {name}"))
    backend.close()


async def main(folder: Path) -> None:
    """All pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    live = {
        "heaps": ["1"],
        "buffers": ["2", "s", "enter", *["down"] * 13],
        "processes": ["3", "right"],
        "leaks": ["5", "enter"],
        "lab": ["6", "a", "enter", "escape"],
    }
    await picture(EmulatedBackend(OwnEmulator("leak-fd")), folder, live, LOOK_S)
    await picture(
        EmulatedBackend(OwnEmulator("fragmentation")), folder, {"cma": ["4", *["down"] * 4, *["right"] * 9]}, 6
    )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures"))
