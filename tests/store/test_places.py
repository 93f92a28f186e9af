"""Every place of a store obeys the same laws: a folder, an S3 bucket, a file system of pyarrow."""

import threading

import pytest

from rum_ray.errors import StoreError
from rum_ray.store import Store
from rum_ray.store.bucket import Bucket
from rum_ray.store.places import Folder, Place, Remote, place_of, read_many


@pytest.fixture(params=["folder", "bucket", "remote"])
def place(request, tmp_path) -> Place:
    if request.param == "folder":
        return place_of(str(tmp_path / "store"))
    if request.param == "bucket":
        return place_of(request.getfixturevalue("server").bucket())
    remote = place_of("mock://bucket/a")
    assert isinstance(remote, Remote)
    for folder in ("kind", "other", "quarantine"):
        remote.files.create_dir(f"{remote.base}/{folder}")
    return remote


def test_a_file_is_created_once_and_read_whole_or_in_part(place):
    assert place.read("kind/x") is None
    assert not place.exists("kind/x")
    assert place.create("kind/x", b"0123456789")
    assert not place.create("kind/x", b"other")
    assert place.exists("kind/x")
    assert not place.exists("kind")
    assert place.read("kind/x") == b"0123456789"
    assert [place.read("kind/x", *part) for part in [(0, 3), (3, 5), (8, 20), (4, None)]] == [
        b"012",
        b"34",
        b"89",
        b"456789",
    ]
    assert place.read("kind/x", 10, 20) == b""
    place.replace("kind/x", b"new")
    place.replace("kind/y", b"")
    assert (place.read("kind/x"), place.read("kind/y")) == (b"new", b"")


def test_a_folder_is_listed_without_those_below_it(place):
    assert place.sizes("kind") == {}
    for name, size in (("a", 1), ("ab", 2), ("b", 3)):
        place.create(f"kind/{name}", b"x" * size)
    place.create("other/a", b"")
    assert place.sizes("kind") == {"a": 1, "ab": 2, "b": 3}
    assert place.sizes("kind", "a") == {"a": 1, "ab": 2}
    place.remove(["kind/a", "kind/none", "kind/b"])
    assert place.sizes("kind") == {"ab": 2}
    place.remove([])


def test_a_file_moves_unless_it_is_gone(place):
    place.create("kind/x", b"1")
    place.move("kind/x", "quarantine/x")
    place.move("kind/x", "quarantine/y")
    assert place.sizes("kind") == {}
    assert place.sizes("quarantine") == {"x": 1}


def test_many_files_are_read_in_order(place):
    for number in range(0, 150, 3):
        place.create(f"kind/{number}", b"%d" % number)
    parts = [(f"kind/{number}", 0, None) for number in range(150)]
    expected = [None if number % 3 else b"%d" % number for number in range(150)]
    assert list(read_many(place, parts)) == expected
    assert list(read_many(place, [("kind/120", 1, 2), ("kind/0", 0, 1)])) == [b"2", b"0"]


def test_one_of_several_writers_creates_a_file(server, tmp_path):
    for place in (Folder(str(tmp_path)), place_of(server.bucket())):
        created, start = [], threading.Barrier(4)

        def create(content: bytes, place=place, created=created, start=start) -> None:
            start.wait()
            if place.create("kind/x", content):
                created.append(content)

        threads = [threading.Thread(target=create, args=(b"%d" % n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert created == [place.read("kind/x")]


def test_a_writer_between_check_and_write_is_noticed(monkeypatch):
    place = place_of("mock://bucket/a")
    place.files.create_dir("a/kind")
    write = Remote.replace

    def replace_and_lose(self: Remote, path: str, content: bytes) -> None:
        write(self, path, content)
        write(self, path, b"other")

    monkeypatch.setattr(Remote, "replace", replace_and_lose)
    assert not place.create("kind/x", b"mine")


def test_an_operation_of_a_bucket_is_one_request(server):
    place = place_of(server.bucket())

    def requests(act) -> list[str]:
        before = len(server.requests())
        act()
        return [line.partition(" ")[0] for line in server.requests()[before:]]

    assert requests(lambda: place.read("kind/x")) == ["GET"]
    assert requests(lambda: place.create("kind/x", b"1")) == ["PUT"]
    assert requests(lambda: place.create("kind/x", b"2")) == ["PUT"]
    assert requests(lambda: place.read("kind/x")) == ["GET"]
    assert requests(lambda: place.exists("kind/x")) == ["HEAD"]
    for number in range(5):
        place.create(f"kind/{number}", b"")
    assert requests(lambda: place.sizes("kind")) == ["GET"]
    assert requests(lambda: place.remove([f"kind/{n}" for n in range(5)])) == ["POST"]
    assert place.sizes("kind") == {"x": 1}


def test_many_objects_are_listed_and_removed_in_pages(server, monkeypatch):
    monkeypatch.setattr("rum_ray.store.bucket.BATCH", 10)
    place, names = place_of(server.bucket()), [f"{number:02}" for number in range(25)]
    for name in names:
        place.create(f"kind/{name}", name.encode())
    before = len(server.requests())
    assert place.sizes("kind") == dict.fromkeys(names, 2)
    assert len(server.requests()) - before == 3
    place.remove([f"kind/{name}" for name in names])
    assert place.sizes("kind") == {}
    assert len(server.requests()) - before == 7


def test_errors_of_a_bucket_are_os_errors(server):
    place = place_of(server.bucket().replace("/a/store", "-none/a"))
    for act in (
        lambda: place.create("kind/x", b""),
        lambda: place.replace("kind/x", b""),
        lambda: place.sizes("kind"),
        lambda: place.remove(["kind/x"]),
    ):
        with pytest.raises(OSError, match="NoSuchBucket"):
            act()


def test_a_conflict_is_tried_again(server, monkeypatch):
    place = place_of(server.bucket())
    put, answers = Bucket._put, [409, 409, None, 409]
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def conflicting(self: Bucket, path: str, content: bytes, **condition: str) -> None:
        if answers and (status := answers.pop(0)):
            response = {
                "ResponseMetadata": {"HTTPStatusCode": status},
                "Error": {"Code": "Conflict"},
            }
            raise self._client.exceptions.ClientError(response, "PutObject")
        put(self, path, content, **condition)

    monkeypatch.setattr(Bucket, "_put", conflicting)
    assert place.create("kind/x", b"1")
    assert answers == [409]
    assert not place.create("kind/x", b"2")
    answers += [409] * 10
    with pytest.raises(OSError, match="Conflict"):
        place.create("kind/x", b"3")
    assert place.read("kind/x") == b"1"


def test_credentials_and_endpoint_of_a_uri():
    uri = "s3://key:se%2Fcret@bucket?endpoint_override=localhost%3A9000&region=eu-west-3"
    place = Bucket(uri)
    assert (place.bucket, place.prefix, place.base) == ("bucket", "", "bucket")
    assert place._name("kind/x") == "kind/x"
    meta, credentials = place._client.meta, place._client._get_credentials()
    assert (meta.endpoint_url, meta.region_name) == ("https://localhost:9000", "eu-west-3")
    assert (credentials.access_key, credentials.secret_key) == ("key", "se/cret")
    with pytest.raises(StoreError, match=r"^store 's3:///x' .* names no bucket"):
        place_of("s3:///x")
    assert Store(uri).shown == uri.replace("key:se%2Fcret@", "")


def test_a_bucket_without_boto3_is_an_error(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(StoreError, match=r"'s3://bucket/x' needs the package boto3"):
        place_of("s3://bucket/x?region=eu-west-3")
