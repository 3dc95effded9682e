"""What lies around our processes: nobody is called, and the folder where one stands is neither run nor read.

Libraries report home unless told otherwise, and read settings from the current folder, which may be a repository that
somebody cloned a minute ago. What they are told is said here, once: `quiet` for this process, before they are imported;
`environment` for each process that we start in a working folder of our own. What is in the user's environment and home
is the user's, PYTHONPATH included, but for its empty pieces: Python takes those for the current folder.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, chdir
from pathlib import Path

ROOT = Path(__file__).parents[1]  # where our packages lie
APART = Path(__file__).parent  # a folder of ours, without anybody's settings, for processes to stand in
QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # `datasets` counts what it opens, on a host of its own
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "PYTHONSAFEPATH": "1",  # nor does a Python that those start look in the current folder first
}
STOOD = "SEEDBED_STOOD_IN"
# Paths that libraries read: the process that we start stands elsewhere.
_PATHS = (
    *("HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH", "PREFECT_HOME", "PREFECT_PROFILES_PATH"),
    *("REQUESTS_CA_BUNDLE", "SEEDBED_CACHE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
)


def quiet() -> None:
    """Tell this process, and all that it starts, to call nobody."""
    os.environ.update(QUIET)


def python(*arguments: str) -> list[str]:
    """Our Python with these arguments; it imports nothing from the folder that it stands in."""
    return [sys.executable, "-P", *arguments]


def environment(**more: str) -> dict[str, str]:
    """The environment of a process of ours that stands elsewhere: the user's, and `more`."""
    pieces = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    paths = {name: _whole(os.environ[name]) for name in _PATHS if os.environ.get(name)}
    path = os.pathsep.join([str(ROOT), *map(_whole, pieces)])
    return {**os.environ, **paths, **QUIET, "PYTHONPATH": path, **more}


def stand_apart() -> None:
    """Have this process stand in a folder of ours, before a library reads its settings where that stands."""
    os.environ.update(environment(**{STOOD: str(Path.cwd())}))
    os.chdir(APART)


def where_the_user_stood() -> AbstractContextManager[None]:
    """Stand there again for a while: a recipe may name folders from there. Its processes inherit where that was."""
    return chdir(os.environ.get(STOOD, "."))


def _whole(path: str) -> str:
    return str(Path(path).expanduser().absolute())
