"""Access to clusters: folders and tokens that are private, and clusters that ask for no token."""

import os
import stat
import tempfile
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from rum_ray.cluster import access
from rum_ray.errors import StalledError, StoreError, UnsafeError

OWN = f"rum-ray-{os.getuid()}"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def short(tmp_path, monkeypatch):
    """A temporary folder with a short path, which is that of this process."""
    with tempfile.TemporaryDirectory(prefix="a", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.fixture
def token(tmp_path, monkeypatch) -> Path:
    """A file of a token that does not exist yet."""
    for name in ("RAY_AUTH_TOKEN", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "home" / "token"))
    return tmp_path / "home" / "token"


@pytest.fixture
def head():
    """A function that starts a server which answers as the head of a cluster does."""
    servers = []

    def start(code: grpc.StatusCode | None) -> str:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            assert "authorization" not in dict(context.invocation_metadata())
            if code is not None:
                context.abort(code, "no")
            return b""

        service, _, method = access.PROBE[1:].partition("/")
        handlers = {method: grpc.unary_unary_rpc_method_handler(answer)}
        server = grpc.server(futures.ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None).wait()


class TestFolder:
    def test_it_is_made_for_this_user_alone_whatever_the_umask(self, short):
        before = os.umask(0)
        try:
            folder = access.private_folder()
        finally:
            os.umask(before)
        assert folder == short / OWN
        assert mode(folder) == 0o700

    def test_one_that_others_could_change_is_closed(self, short):
        (short / OWN).mkdir()
        (short / OWN).chmod(0o777)
        assert mode(access.private_folder()) == 0o700

    @pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
    def test_anything_but_an_own_folder_is_refused(self, short, tmp_path, kind):
        tmp_path.chmod(0o755)
        path = short / OWN
        if "link" in kind:
            path.symlink_to(tmp_path / "none" if "dangling" in kind else tmp_path)
        else:
            path.write_text("")
        with pytest.raises(UnsafeError, match="TMPDIR"):
            access.private_folder()
        assert mode(tmp_path) == 0o755

    def test_one_of_another_user_is_refused(self, short, monkeypatch):
        (short / OWN).mkdir()
        monkeypatch.setattr(access.os, "getuid", lambda: 12345)
        (short / "rum-ray-12345").mkdir()
        with pytest.raises(UnsafeError, match=r"rum-ray-12345 .*others"):
            access.private_folder()

    def test_a_path_that_is_too_long_is_replaced_by_one_in_tmp(self, short, monkeypatch):
        long = short / ("scratch" * 20)
        long.mkdir(parents=True)
        monkeypatch.setattr(tempfile, "tempdir", str(long))
        made, said = [], []
        monkeypatch.setattr(access, "make_private", made.append)
        folder = access.private_folder(said.append)
        assert folder == Path("/tmp") / OWN
        assert made == [folder]
        assert len(said) == 1
        assert "TMPDIR" in said[0]

    @pytest.mark.parametrize("length", range(14, 26))
    def test_a_socket_of_ray_always_fits(self, short, monkeypatch, length):
        monkeypatch.setattr(access, "make_private", lambda folder: None)
        monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * length)
        folder = access.new_ray_folder(access.private_folder())
        assert len(os.fsencode(folder / access.SOCKET)) <= 107

    def test_each_start_of_ray_has_a_new_one(self, short):
        folders = {access.new_ray_folder(short) for _ in range(9)}
        assert len(folders) == 9
        assert {len(folder.name) for folder in folders} == {access.RAY_LETTERS}
        assert not any(folder.exists() for folder in folders)

    def test_a_folder_that_cannot_be_made_is_an_error(self, short, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
        with pytest.raises(StoreError, match=r"/proc/none/.*TMPDIR"):
            access.private_folder()


class TestToken:
    def test_one_of_a_local_cluster_is_made_for_this_user_alone(self, token):
        before = os.umask(0)
        try:
            access.check_token(local=True)
        finally:
            os.umask(before)
        assert (mode(token), mode(token.parent)) == (0o600, 0o700)
        assert len(bytes.fromhex(token.read_text())) == 32
        made = token.read_text()
        access.check_token(local=True)
        assert token.read_text() == made

    def test_none_is_made_for_other_clusters_or_modes(self, token, monkeypatch):
        access.check_token(local=False)
        monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
        access.check_token(local=True)
        monkeypatch.delenv("RAY_AUTH_TOKEN")
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        access.check_token(local=True)
        assert not token.parent.exists()

    @pytest.mark.parametrize("local", [True, False])
    @pytest.mark.parametrize("bits", [0o644, 0o640, 0o620, 0o602, 0o666])
    def test_one_that_others_can_read_or_change_is_refused(self, token, bits, local):
        token.parent.mkdir()
        token.write_text("a" * 64)
        token.chmod(bits)
        with pytest.raises(UnsafeError, match=f"mode {bits:o}, .*chmod 600"):
            access.check_token(local)
        token.chmod(0o600)
        access.check_token(local)

    def test_one_of_another_user_is_refused_and_one_of_root_is_not(self, token, monkeypatch):
        token.parent.mkdir()
        token.write_text("a" * 64)
        token.chmod(0o440)
        owner = token.stat().st_uid
        monkeypatch.setattr(access.os, "getuid", lambda: 12345)
        if owner == 0:
            # Kubernetes mounts a secret so.
            access.check_token(local=False)
        else:
            with pytest.raises(UnsafeError, match="another user"):
                access.check_token(local=False)

    @pytest.mark.parametrize("home", ["/dev/null", "/proc/none"])
    def test_a_home_that_cannot_hold_it_is_an_error(self, token, monkeypatch, home):
        monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
        monkeypatch.setenv("HOME", home)
        with pytest.raises(StoreError, match=r"HOME .*RAY_AUTH_TOKEN_PATH") as raised:
            access.check_token(local=True)
        assert home in str(raised.value)

    def test_no_home_at_all_is_an_error(self, token, monkeypatch):
        def home():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
        monkeypatch.setattr(Path, "home", home)
        with pytest.raises(StoreError, match=r"HOME .*RAY_AUTH_TOKEN_PATH"):
            access.check_token(local=True)


class TestOpenClusters:
    @pytest.mark.parametrize(
        ("code", "asks"),
        [
            (None, False),
            (grpc.StatusCode.UNAUTHENTICATED, True),
            (grpc.StatusCode.UNAVAILABLE, None),
        ],
    )
    def test_a_head_is_asked_without_a_token(self, head, token, code, asks):
        assert access.asks_for_token(head(code)) is asks

    def test_one_that_asks_for_no_token_is_refused_unless_wanted(self, head):
        address = head(None)
        with pytest.raises(UnsafeError, match=rf"{address} .*--insecure"):
            access.check_open(address, insecure=False)
        access.check_open(address, insecure=True)
        access.check_open(head(grpc.StatusCode.UNAUTHENTICATED), insecure=False)

    def test_a_local_one_without_authentication_is_refused_unless_wanted(self, monkeypatch):
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        with pytest.raises(UnsafeError, match="RAY_AUTH_MODE"):
            access.check_open("local", insecure=False)
        access.check_open("local", insecure=True)
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        access.check_open("local", insecure=False)

    def test_ray_is_not_joined_and_gets_no_token(self, head, token, monkeypatch):
        from rum_ray.cluster import connect

        def unexpected(**options):
            pytest.fail("Ray was joined")

        monkeypatch.setattr(connect.ray, "init", unexpected)
        monkeypatch.setattr(connect.ray, "is_initialized", lambda: False)
        with pytest.raises(UnsafeError, match="--insecure"):
            connect.connect(head(None)).__enter__()
        monkeypatch.setenv("RAY_ADDRESS", head(None))
        with pytest.raises(UnsafeError, match="--insecure"):
            connect.connect("auto").__enter__()
        with pytest.raises(StalledError, match=r"no Ray cluster at 127\.0\.0\.1:9:"):
            connect.connect("127.0.0.1:9").__enter__()

    def test_a_file_of_another_user_does_not_say_where_auto_is(self, tmp_path, monkeypatch):
        path = tmp_path / "ray_current_cluster"
        access.check_announcement(path)
        path.write_text("192.0.2.1:6379")
        access.check_announcement(path)
        if path.stat().st_uid == 0:
            os.chown(path, 12345, -1)
        else:
            monkeypatch.setattr(access.os, "getuid", lambda: 12345)
        with pytest.raises(UnsafeError, match="HOST:PORT"):
            access.check_announcement(path)
