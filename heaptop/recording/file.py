"""Writing a file of the user's choice, so that nothing is lost: none that exists, and no half of a new one left."""

import contextlib
import os

from heaptop.errors import HeaptopError, UsageError, errno_text


def write_file(path: str, data: bytes, *, force: bool = False) -> None:
    """Write a new file, for its owner alone; with `force` in place of one that exists.

    Raises:
        UsageError: it exists.
        HeaptopError: it cannot be written.
    """
    made = f"{path}.{os.getpid()}.unfinished" if force else path
    try:
        with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            try:
                file.write(data)
                file.flush()
                if force:
                    os.replace(made, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(made)
                raise
    except FileExistsError as error:
        raise UsageError(f"cannot write {path}", "it exists", "name a new path, or force it") from error
    except (OSError, ValueError) as error:
        why = errno_text(error.errno or 0) if isinstance(error, OSError) else str(error)
        raise HeaptopError(f"cannot write {path}", why) from error
