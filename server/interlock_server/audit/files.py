"""What the writer and sealing do to files: the seam at which tests see the order of things and let them fail."""

import os
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """Everything that changes a folder. Every method may raise OSError."""

    def open(self, path: Path, fresh: bool = False) -> int:
        """Opens for appending, and makes the file if there is none; `fresh` empties it."""

    def write(self, file: int, content: bytes) -> None:
        """Appends all of it."""

    def sync(self, file: int) -> None:
        """Returns once what was written is on disk."""

    def truncate(self, file: int, size: int) -> None:
        """Cuts off what is behind."""

    def close(self, file: int) -> None:
        """Gives the handle back."""

    def rename(self, path: Path, to: Path) -> None:
        """Puts a file in the place of another, at once or not at all."""

    def remove(self, path: Path) -> None:
        """Removes a file, if it is there."""

    def sync_folder(self, folder: Path) -> None:
        """Returns once the names of the files are on disk."""


class RealFiles:
    """Those of the operating system; readable by their owner only."""

    def open(self, path: Path, fresh: bool = False) -> int:
        """Opens for appending."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(path, flags | (os.O_TRUNC if fresh else 0), 0o600)

    def write(self, file: int, content: bytes) -> None:
        """Appends all of it."""
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(file, rest) :]

    def sync(self, file: int) -> None:
        """Waits for the disk."""
        _sync(file)

    def truncate(self, file: int, size: int) -> None:
        """Cuts off what is behind."""
        os.ftruncate(file, size)

    def close(self, file: int) -> None:
        """Gives the handle back."""
        os.close(file)

    def rename(self, path: Path, to: Path) -> None:
        """Puts a file in the place of another."""
        path.replace(to)

    def remove(self, path: Path) -> None:
        """Removes a file, if it is there."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Waits for the disk."""
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
REAL_FILES = RealFiles()
