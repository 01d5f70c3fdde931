"""Models on a hub, which here is a server on this machine: nothing is asked of a network."""

import hashlib
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image
from sklearn.pipeline import make_pipeline
from typer.testing import CliRunner

from persona_affect import (
    FaceAligner,
    JointAffectEstimator,
    RAMRegressor,
    load_model,
    save_model,
)
from persona_affect.app.cli import app
from persona_affect.datasets import make_affect_faces
from persona_affect.exceptions import MissingDependencyError, ModelFormatError, ModelReadError
from persona_affect.persistence import _hub, read_model_info

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")

EMOTION, TRAITS = np.eye(3, 2), np.array([[0.4], [0.6], [0.5]])
OLD, NEW = "a" * 40, "b" * 40
CARD = "# A card\n\nFor research.\n"


class Hub(BaseHTTPRequestHandler):
    """Serves files by repository, commit and name; `main` is NEW."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self):
        repository, _, rest = self.path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        commit = {"main": NEW, "v1": OLD}.get(revision, revision)
        self.asked.append(f"{self.command} {self.path}")
        content = self.files.get(f"{repository}/{commit}/{name}")
        error = None
        if repository == "owner/secret":
            error = 403, "GatedRepo"
        elif repository == "owner/broken":
            error = 400, "Other"
        elif not any(key.startswith(f"{repository}/") for key in self.files):
            error = 404, "RepoNotFound"
        elif not any(key.startswith(f"{repository}/{commit}/") for key in self.files):
            error = 404, "RevisionNotFound"
        elif content is None:
            error = 404, "EntryNotFound"
        self.send_response(200 if error is None else error[0])
        self.send_header("X-Repo-Commit", commit)
        if error is not None:
            self.send_header("X-Error-Code", error[1])
            content = b""
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        size = 2**40 if repository == "owner/huge" else len(content)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        return content

    def do_GET(self):
        self.wfile.write(self.do_HEAD())

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    model = RAMRegressor(max_epochs=2, random_state=0).fit(EMOTION, TRAITS)
    older = RAMRegressor(max_epochs=1, random_state=1).fit(EMOTION, TRAITS)
    files = {}
    for commit, saved in ((OLD, older), (NEW, model)):
        save_model(saved, tmp_path / "ram.safetensors")
        content = (tmp_path / "ram.safetensors").read_bytes()
        files[f"owner/ram/{commit}/model.safetensors"] = content
        files[f"owner/bare/{commit}/model.safetensors"] = content
    files[f"owner/ram/{NEW}/README.md"] = CARD.encode()
    files[f"owner/pickle/{NEW}/model.pkl"] = b"cos\nsystem\n(S'true'\ntR."
    files[f"owner/fake/{NEW}/model.safetensors"] = files[f"owner/pickle/{NEW}/model.pkl"]
    files[f"owner/huge/{NEW}/model.safetensors"] = b"\0"
    handler = type("Handler", (Hub,), {"files": files, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    url = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.chdir(tmp_path)
    handler.models = {OLD: older, NEW: model}
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def assert_predicts(loaded, model):
    np.testing.assert_array_equal(loaded.predict(EMOTION), model.predict(EMOTION))


def test_the_newest_model_and_its_card(hub):
    assert_predicts(load_model("owner/ram"), hub.models[NEW])
    info = read_model_info("owner/ram")
    assert info["hub"] == {"name": "owner/ram", "revision": NEW, "card": CARD}
    assert info["class"] == "RAMRegressor"
    assert "hub" not in read_model_info()


def test_a_commit_and_a_tag_give_one_model_for_ever(hub):
    for revision in (OLD, "v1"):
        assert_predicts(load_model("owner/ram", revision=revision), hub.models[OLD])
        info = read_model_info("owner/ram", revision=revision)
        # This commit has no card; that of a later one is not its card.
        assert info["hub"] == {"name": "owner/ram", "revision": OLD, "card": ""}


def test_a_model_is_downloaded_once(hub):
    for _ in range(2):
        load_model("owner/ram")
    assert [line for line in hub.asked if line.startswith("GET")] == [
        "GET /owner/ram/resolve/main/model.safetensors",
        f"GET /owner/ram/resolve/{NEW}/README.md",
    ]
    hub.asked.clear()
    load_model("owner/ram", revision=NEW)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["owner/ram", "owner/bare"])
def test_without_a_network_what_was_downloaded_is_used(hub, name, monkeypatch):
    load_model(name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert_predicts(load_model(name), hub.models[NEW])
    assert read_model_info(name)["hub"]["card"] == (CARD if name == "owner/ram" else "")
    assert hub.asked == []
    with pytest.raises(ModelReadError, match=r"the hub cannot be reached \(.*\), and owner/other"):
        load_model("owner/other")


def test_a_card_that_cannot_be_reached_is_none(hub, monkeypatch):
    huggingface_hub.hf_hub_download("owner/ram", "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert read_model_info("owner/ram")["hub"]["card"] is None


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("owner/missing", None, "no file 'owner/missing' here, and no such repository on the hub"),
        ("owner/secret", None, "owner decides who may download it"),
        ("owner/ram", "v9", "owner/ram on the hub has no revision 'v9'"),
        ("owner/pickle", None, "owner/pickle on the hub has no file model.safetensors.*pickles"),
        ("owner/huge", None, "has 1,099,511,627,776 bytes, more than"),
        ("owner/broken", None, "the hub cannot be reached .*Bad request.*, and owner/broken"),
        ("owner/a--b", None, "owner/a--b cannot be downloaded from the hub: "),
    ],
)
def test_what_is_wrong_is_said(hub, name, revision, message):
    with pytest.raises(ModelReadError, match=message):
        load_model(name, revision=revision)
    assert not any(line.startswith("GET") for line in hub.asked)


def test_a_pickle_by_the_name_of_a_model_is_not_opened(hub):
    with pytest.raises(ModelFormatError, match="damaged, or not a model"):
        load_model("owner/fake")


def test_files_here_come_first(hub, tmp_path):
    os.makedirs("owner")
    model = RAMRegressor(max_epochs=2, random_state=3).fit(EMOTION, TRAITS)
    save_model(model, "owner/ram")
    assert_predicts(load_model("owner/ram"), model)
    with pytest.raises(ValueError, match="revision='v1' is for models on a hub"):
        load_model("owner/ram", revision="v1")
    for missing in ("owner/lost.safetensors", "./owner/lost", "owner/models/lost", "lost"):
        assert not _hub.is_hub_name(missing)
        with pytest.raises(FileNotFoundError, match="There is no such file"):
            load_model(missing)
    assert hub.asked == []


def test_without_the_extra_it_is_named(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", None)
    with pytest.raises(MissingDependencyError, match=r"no file 'owner/ram' here.*affect\[hub\]"):
        load_model("owner/ram")


def test_commands_take_the_name_of_a_model_on_a_hub(hub, tmp_path):
    faces = make_affect_faces(4, random_state=0)
    joint = JointAffectEstimator(backbone="sphereface4", max_epochs=1, random_state=0)
    model = make_pipeline(FaceAligner(), joint).fit(faces.data, faces.target)
    save_model(model, tmp_path / "face.safetensors")
    content = (tmp_path / "face.safetensors").read_bytes()
    hub.files[f"owner/face/{NEW}/model.safetensors"] = content
    hub.files[f"owner/face/{NEW}/README.md"] = CARD.encode()
    Image.fromarray(faces.data[0]).save(tmp_path / "a.png")
    runner = CliRunner()
    call = ["predict", "a.png", "--model"]
    here, there = (runner.invoke(app, [*call, at]) for at in ("face.safetensors", "owner/face"))
    assert (here.exit_code, there.exit_code) == (0, 0), there.output
    assert there.stdout == here.stdout
    info = runner.invoke(app, ["info", "--model", "owner/face"])
    assert "owner/face" in info.stdout
    lost = runner.invoke(app, ["predict", "a.png", "--model", "owner/nothing"])
    assert lost.exit_code == 2
    assert "owner/nothing" in lost.stderr
    # A file of that name comes first.
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "face").write_bytes(b"no model")
    assert runner.invoke(app, [*call, "owner/face"]).exit_code == 2
