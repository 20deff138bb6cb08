"""What goes wrong with the shared emulator: what happened, why, and what to do about it."""


class EmulatorError(Exception):
    """The shared emulator cannot be reached, started or ended."""

    def __init__(self, what: str, why: str = "", remedy: str = "") -> None:
        super().__init__(what, why, remedy)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        line = f"{self.what}: {self.why}" if self.why else self.what
        return f"{line}; {self.remedy}" if self.remedy else line


class NotRunningError(EmulatorError):
    """No shared emulator of this user runs."""

    def __init__(self) -> None:
        super().__init__("no shared emulator runs", "", "heaptop emulator start")


class LayoutError(EmulatorError):
    """No machine can be made like this: `what` is the part of the layout, `why` what is wrong with it."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"layout: {what}", why)
