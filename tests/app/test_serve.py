import socket
import subprocess
import sys

from typer.testing import CliRunner

from persona_affect.app.cli import app

run = CliRunner().invoke


def test_it_listens_on_this_machine_alone(served):
    assert served.url.startswith("http://127.0.0.1:")
    port = int(served.url.rstrip("/").rpartition(":")[2])
    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in own - {"127.0.0.1"}:
        with socket.socket() as door:
            assert door.connect_ex((address, port)) != 0, address


def test_its_help_says_what_is_exposed():
    result = run(app, ["serve", "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for said in ("127.0.0.1", "--max-seconds", "no passwords"):
        assert said in result.stdout
    assert "--share" not in result.stdout


def test_the_command_line_starts_without_gradio():
    code = "import sys, persona_affect.app.cli; sys.exit('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_missing_is_said_in_a_line(monkeypatch, tmp_path):
    result = CliRunner().invoke(app, ["serve", "--model", str(tmp_path / "none.safetensors")])
    assert (result.exit_code, result.exception.__class__) == (2, SystemExit)
    assert "none.safetensors" in result.stderr

    monkeypatch.setitem(sys.modules, "gradio", None)
    result = CliRunner().invoke(app, ["serve"])
    assert (result.exit_code, result.exception.__class__) == (2, SystemExit)
    assert "persona-affect[app]" in result.stderr
