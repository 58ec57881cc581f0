from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_ACCOUNT = "postgres"  # which Debian's packages make; the server refuses to run as root


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server of our own, with the database `obs`, and who may log in."""

    port: int
    owner: str
    """Password of the role `owner`, who may do anything."""
    reader: str
    """Password of the role `reader`, who may read and write what is shared with all."""

    @property
    def url(self) -> str:
        return f"postgresql://reader@127.0.0.1:{self.port}/obs"


def _programs() -> Path | None:
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that listens on a free port of this machine and is gone afterwards."""
    import psycopg  # only tests that ask for a server need its driver

    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed; see .ci/system")
    root = os.getuid() == 0
    if root and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    # Not below pytest's own folder, which nobody else may enter; and the path of a socket has to be short.
    with tempfile.TemporaryDirectory(prefix="pg") as name, socket.create_server(("127.0.0.1", 0)) as free:
        folder, port = Path(name), free.getsockname()[1]
        free.close()
        server = Postgres(port, "owner-password", "reader-password")
        (folder / "password").write_text(server.owner)
        if root:
            shutil.chown(folder, _ACCOUNT)
            shutil.chown(folder / "password", _ACCOUNT)

        def run(program: str, *arguments: str) -> None:
            who = ["runuser", "-u", _ACCOUNT, "--"] if root else []
            command = [*who, str(programs / program), "-D", str(folder / "data"), *arguments]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=60)

        logins = ("--username=owner", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}")
        run("initdb", "--no-sync", "--locale=C", "--encoding=UTF8", *logins)
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='{folder}' -c fsync=off"
        run("pg_ctl", "start", "--wait", f"--options={options}", f"--log={folder / 'log'}")
        try:
            address = f"host=127.0.0.1 port={port} user=owner password={server.owner} dbname="
            with psycopg.connect(f"{address}postgres", autocommit=True) as connection:
                connection.execute("create database obs")
                connection.execute("create role reader login password 'reader-password'")
            yield server
        finally:
            run("pg_ctl", "stop", "--mode=immediate")
