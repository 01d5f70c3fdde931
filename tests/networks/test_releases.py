import gc
import hashlib
import importlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from persona_affect.exceptions import MissingDependencyError, WeightsError
from persona_affect.networks import _releases
from persona_affect.networks._releases import RELEASES, Release, fetch_backbone
from persona_affect.networks._sphereface import SphereFace, load_sphereface_weights

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        self.server.requests += 1


@pytest.fixture
def server(tmp_path):
    """A web server of a folder on this machine; `requests` counts what it was asked."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "weights.pth").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    server.folder, server.requests = folder, 0
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def release(server, monkeypatch):
    """Register a file of that server as a release."""

    def release(file_name="weights.pth", sha256=SHA256, url=None):
        entry = Release(url or f"{server.url}/{file_name}", file_name, sha256)
        monkeypatch.setitem(RELEASES, "test", entry)

    return release


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_downloads_once(server, release, cache):
    release()
    path = fetch_backbone("test", cache=cache)
    assert path == cache / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert fetch_backbone("test", cache=cache) == path
    assert server.requests == 1


@pytest.mark.parametrize("progress", [True, False])
def test_progress_is_shown_on_request(release, cache, capfd, progress):
    release()
    fetch_backbone("test", cache=cache, progress=progress)
    assert ("100%" in capfd.readouterr().err) is progress


def test_the_environment_names_the_cache(release, cache, monkeypatch):
    release()
    monkeypatch.setenv("PERSONA_AFFECT_CACHE", str(cache))
    assert fetch_backbone("test").parent == cache


def test_another_file_is_refused_and_not_kept(release, cache):
    release(sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"weights\.pth gave another file.*0000"):
        fetch_backbone("test", cache=cache)
    assert list(cache.iterdir()) == []


def test_a_damaged_cache_is_replaced(release, cache):
    release()
    cache.mkdir()
    (cache / "weights.pth").write_bytes(CONTENT[:-1])
    assert fetch_backbone("test", cache=cache).read_bytes() == CONTENT


# pooch leaves the answer "404" open, for the garbage collector to close.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("file_name", ["absent.pth", "nowhere.pth"])
def test_a_failed_download_says_how_to_do_it_by_hand(server, release, cache, file_name):
    # Port 9 of this machine refuses connections, as all do without a network.
    url = "http://127.0.0.1:9/nowhere.pth" if file_name == "nowhere.pth" else None
    release(file_name, url=url)
    with pytest.raises(WeightsError, match="could not be downloaded") as error:
        fetch_backbone("test", cache=cache)
    for part in (url or f"{server.url}/{file_name}", str(cache), f"as {file_name}"):
        assert part in str(error.value)
    del error
    gc.collect()
    # And that way works.
    (cache / file_name).write_bytes(CONTENT)
    assert fetch_backbone("test", cache=cache).read_bytes() == CONTENT


def test_without_a_known_hash_the_user_decides(server, release, cache):
    release(sha256=None)
    with pytest.raises(WeightsError, match=r"No verified SHA-256 .* unverified=True"):
        fetch_backbone("test", cache=cache)
    assert server.requests == 0
    with pytest.warns(UserWarning, match=SHA256):
        assert fetch_backbone("test", cache=cache, unverified=True).read_bytes() == CONTENT
    # With the hash it is silent, and a wrong one does not pass.
    fetch_backbone("test", cache=cache, sha256=SHA256)
    with pytest.raises(WeightsError, match="another file"):
        fetch_backbone("test", cache=cache, sha256="1" * 64)


def test_a_hash_of_the_users_takes_precedence(release, cache):
    release(sha256="0" * 64)
    assert fetch_backbone("test", cache=cache, sha256=SHA256).read_bytes() == CONTENT


def test_a_hash_known_here_is_checked_even_if_unverified_is_allowed(release, cache):
    release(sha256="0" * 64)
    with pytest.raises(WeightsError, match="another file"):
        fetch_backbone("test", cache=cache, unverified=True)


def test_unknown_names():
    with pytest.raises(ValueError, match="sphereface20"):
        fetch_backbone("sphereface21")


def test_the_releases_are_well_formed():
    for release in RELEASES.values():
        assert release.url.startswith("https://")
        assert release.url.endswith(release.file_name)
        assert release.sha256 is None or len(bytes.fromhex(release.sha256)) == 32


def test_no_hash_of_sphereface20_is_pretended(cache):
    with pytest.raises(WeightsError, match="No verified SHA-256"):
        fetch_backbone("sphereface20", cache=cache)


# --- archives ---------------------------------------------------------------------------------


@pytest.fixture
def pack(server):
    """Pack files as an archive on the server; returns its hash."""
    py7zr = pytest.importorskip("py7zr", reason="needs py7zr, of the extra pretrained")

    def pack(**files):
        path = server.folder / "weights.7z"
        path.unlink(missing_ok=True)
        with py7zr.SevenZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(content, name.replace("__", "/").replace("_", "."))
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return pack


def test_an_archive_is_unpacked_once(release, cache, pack):
    release("weights.7z", pack(model__weights_pth=CONTENT, readme_txt=b"hello"))
    path = fetch_backbone("test", cache=cache)
    assert path == cache / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert sorted(file.name for file in cache.iterdir()) == ["weights.7z", "weights.pth"]
    unpacked_at = path.stat().st_mtime_ns
    assert fetch_backbone("test", cache=cache).stat().st_mtime_ns == unpacked_at


def test_a_new_archive_is_unpacked_anew(release, cache, pack):
    release("weights.7z", pack(weights_pth=b"old"))
    fetch_backbone("test", cache=cache)
    release("weights.7z", pack(weights_pth=b"new"))
    assert fetch_backbone("test", cache=cache).read_bytes() == b"new"


def test_archives_that_are_none_or_hold_no_single_file(server, release, cache, pack):
    for files in ({"readme_txt": b""}, {"a_pth": b"a", "b_pth": b"b"}):
        release("weights.7z", pack(**files))
        with pytest.raises(WeightsError, match=r"not an archive with one \.pth file"):
            fetch_backbone("test", cache=cache)
    (server.folder / "weights.7z").write_bytes(CONTENT)
    release("weights.7z", SHA256)
    with pytest.raises(WeightsError, match=r"not an archive with one \.pth file"):
        fetch_backbone("test", cache=cache)


def test_an_archive_that_unpacks_to_too_much_is_refused(release, cache, pack, monkeypatch):
    release("weights.7z", pack(weights_pth=bytes(1000)))
    monkeypatch.setattr(_releases, "_MAX_UNPACKED_BYTES", 999)
    with pytest.raises(WeightsError, match="would unpack to 1000 bytes"):
        fetch_backbone("test", cache=cache)
    assert [file.name for file in cache.iterdir()] == ["weights.7z"]


def test_a_missing_unpacker_is_named_before_the_download(server, release, cache, monkeypatch):
    def import_module(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    release("weights.7z")
    with pytest.raises(MissingDependencyError, match=r'pip install "persona-affect\[pretrained\]"'):
        fetch_backbone("test", cache=cache)
    assert server.requests == 0


def test_from_the_web_into_a_network(server, release, cache):
    trained = SphereFace(4, n_features=2, input_size=(16, 16))
    torch.save(trained.state_dict(), server.folder / "weights.pth")
    release(sha256=hashlib.sha256((server.folder / "weights.pth").read_bytes()).hexdigest())
    network = SphereFace(4, n_features=2, input_size=(16, 16))
    load_sphereface_weights(network, fetch_backbone("test", cache=cache))
    torch.testing.assert_close(network.state_dict(), trained.state_dict(), rtol=0, atol=0)
