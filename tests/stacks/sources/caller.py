"""Waits for a byte below functions of its own: a method, one that C code calls, one whose name is not ASCII."""

import os
import sys


class Camera:
    def __init__(self, fd: int) -> None:
        self.fd = fd

    def grab(self) -> bytes:
        return os.read(self.fd, 1)  # GRAB


def müller(fd: int) -> int:  # noqa: PLC2401
    camera = Camera(fd)
    return len(camera.grab())  # KEY


def main() -> None:
    sorted([int(sys.argv[1])], key=müller)  # MAIN


if __name__ == "__main__":
    main()
