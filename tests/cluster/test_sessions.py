"""Sessions of dead commands are told from those of live ones by their sockets."""

import os
import socket
import tempfile
from pathlib import Path

from rum_ray.cluster.sessions import START_SECONDS, is_dead


def test_a_session_is_dead_if_nobody_listens_or_if_it_never_started():
    with tempfile.TemporaryDirectory(prefix="rs") as folder:
        session = Path(folder) / "session_2"
        (session / "sockets").mkdir(parents=True)
        assert not is_dead(session)
        raylet = socket.socket(socket.AF_UNIX)
        raylet.bind(str(session / "sockets" / "raylet"))
        raylet.listen()
        assert not is_dead(session)
        raylet.close()
        assert is_dead(session)
        (session / "sockets" / "raylet").unlink()
        old = session.stat().st_mtime - START_SECONDS - 1
        os.utime(session, (old, old))
        assert is_dead(session)
