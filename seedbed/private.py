"""Folders and files for their owner alone, whatever the umask: a home holds prompts, answers and documents."""

from __future__ import annotations

import io
import os
from pathlib import Path


def folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing; one that is there stays as it is. Raises OSError."""
    if not path.is_dir():
        if path.parent != path:
            folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def opened(path: Path, mode: str) -> io.BufferedWriter:
    """Open a file to write in (`ab`, `wb` or `xb`); one that is there keeps its rights. Raises OSError."""
    return io.BufferedWriter(io.FileIO(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600)))


def shut(path: Path) -> None:
    """Take a file, or a folder with all that is in it, from everybody but its owner. Raises OSError."""
    for found in (path, *path.rglob("*")):
        if not found.is_symlink():
            found.chmod(found.stat().st_mode & 0o700)
