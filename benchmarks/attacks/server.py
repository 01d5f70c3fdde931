"""Attack the web page's server, on this machine, and count what it refuses and what it leaks.

    python benchmarks/attacks/server.py

Starts `persona-affect serve` with the bundled model on 127.0.0.1, sends every attack, and asks
after each whether a photo is still answered. Prints a row an attack: how many were tried, how many
were refused, how many got what they should not, the seconds, those of the server's processor, and
its memory before and after. Ends with 1 if anything leaked or the server no longer answered.
"""

from __future__ import annotations

import argparse
import atexit
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from persona_affect.datasets import make_affect_faces
from persona_affect.media import VideoWriter

UPLOAD_MIB = 5
API = "/gradio_api"
Counts = tuple[int, int, int]  # tried, refused, leaked
#: Routes whose body is a picture.
FILE_ROUTES = ("/persona_affect/photo", "/persona_affect/camera?camera=a")


class Server:
    """The server under attack, as people start it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.secret = home / "secret.txt"
        self.secret.write_text("the secret of this machine")
        self.log = (home / "log").open("ab")
        code = "from persona_affect.app.cli import main; main()"
        command = [sys.executable, "-c", code, "serve", "--max-upload", str(UPLOAD_MIB)]
        self.process = subprocess.Popen(
            [*command, "--max-seconds", "5"],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | {"TMPDIR": str(home)},
        )
        assert self.process.stdout is not None
        # The server ends with this script, however that ends.
        atexit.register(self.process.kill)
        line = self.process.stdout.readline()
        if not line.startswith("Serving on "):
            raise SystemExit(f"The server did not start: {(home / 'log').read_text()}")
        self.url = line.split()[2].rstrip("/")
        self.port = int(self.url.rpartition(":")[2])
        self.client = httpx.Client(base_url=self.url, timeout=120)
        config = self.client.get("/config").json()
        self.numbers = {fn["api_name"]: fn["id"] for fn in config["dependencies"]}
        self.functions = config["dependencies"]

    def memory(self) -> float:
        """Return the memory of the server, in MiB (Linux alone; else 0)."""
        status = Path(f"/proc/{self.process.pid}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        return next((int(x.split()[1]) / 1024 for x in lines if x.startswith("VmRSS")), 0.0)

    def processor_seconds(self) -> float:
        """Return the seconds that the server has computed (Linux alone; else 0)."""
        status = Path(f"/proc/{self.process.pid}/stat")
        if not status.exists():
            return 0.0
        fields = status.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def files(self) -> list[Path]:
        """List what lies in the server's folder, but for its lock."""
        found = self.home.glob("persona-affect-*/**/*")
        return [path for path in found if path.is_file() and path.name != "lock"]

    def upload(self, content: bytes) -> str:
        """Upload a file, and return its path."""
        return self.client.post(f"{API}/upload", files={"files": content}).json()[0]

    def ask(self, number: int, data: list[object], *, listen: bool = True) -> str:
        """Call a function as browsers do, and return all that the server says."""
        message = {"session_hash": uuid.uuid4().hex, "fn_index": number, "data": data}
        joined = self.client.post(f"{API}/queue/join", json=message)
        if joined.status_code != 200 or not listen:
            return joined.text
        session = {"session_hash": message["session_hash"]}
        return self.client.get(f"{API}/queue/data", params=session, timeout=300).text

    def predict(self, content: bytes, name: str = "photo") -> str:
        """Upload a file and ask about it."""
        return self.ask(self.numbers[name], [reference(self.upload(content))])

    def stop(self, number: signal.Signals) -> None:
        """Send a signal, and wait."""
        self.process.send_signal(number)
        self.process.wait(60)


def reference(path: object) -> dict[str, object]:
    """Name a file as gradio does."""
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def succeeded(said: str) -> bool:
    """Say whether a call was answered with a result."""
    return '"success":true' in said


def photo(size: int = 240, kind: str = "PNG", *, noise: bool = False) -> bytes:
    """Make a photo of a rendered face, or of noise."""
    if noise:
        image = np.random.default_rng().integers(0, 256, (size, size, 3), dtype=np.uint8)
    else:
        image = make_affect_faces(1, image_size=size, random_state=0).data[0]
    return encode(image, kind)


def encode(image: NDArray[np.uint8], kind: str) -> bytes:
    """Make a file of a photo."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def film(frame: NDArray[np.uint8], n_frames: int) -> bytes:
    """Make a clip of one frame, 60 of which last a second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        with VideoWriter(path, rate=60, size=frame.shape[1::-1]) as video:
            for _ in range(n_frames):
                video.write(frame)
        return path.read_bytes()


@contextmanager
def canary() -> Iterator[tuple[str, list[str]]]:
    """Listen on this machine, and note each request: the server should not fetch its address."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listener.server_address[1]}", seen
        listener.shutdown()


def count(results: Iterable[bool | None]) -> Counts:
    """Count results: True is a leak, False a refusal, None neither."""
    every = list(results)
    return len(every), every.count(False), every.count(True)


def forged_references(server: Server) -> Counts:
    """Name the folder of uploads, and files of others, as uploads."""
    folder = next(server.home.glob("persona-affect-*"))
    other = server.upload(photo())
    paths = [folder, folder / "uploads", folder / "results", server.secret, "/etc/passwd", "/", "."]
    paths += [
        f"{other}/..",
        f"{other}/../..",
        f"{folder}/uploads/../../secret.txt",
        "\0",
        "x" * 9999,
    ]
    paths += [folder / "uploads" / ("0" * 32), "../" * 20 + "etc/passwd", "/proc/self/environ"]
    calls = [
        server.ask(number, [reference(path)])
        for path in paths
        for number in (server.numbers["photo"], server.numbers["video"])
    ]
    return count("secret" in said or "root:" in said or succeeded(said) for said in calls)


def path_traversals(server: Server) -> Counts:
    """Ask for files outside of what is served, written in many ways."""
    targets = ["etc/passwd", str(server.secret).lstrip("/"), "proc/self/environ"]
    steps = [
        "../",
        "..%2f",
        "%2e%2e/",
        "%2e%2e%2f",
        "..\\",
        "..%5c",
        "....//",
        "..;/",
        "%252e%252e/",
    ]
    prefixes = [f"{API}/file=", f"{API}/file=/", "/assets/", "/static/"]
    leaked = []
    for prefix in prefixes:
        for step in steps:
            for depth in (1, 5, 12):
                for target in targets:
                    answer = raw(server, f"GET {prefix}{step * depth}{target} HTTP/1.1")
                    leaked.append(b"secret of this" in answer or b"root:" in answer)
    return count(leaked)


def raw(server: Server, line: str, headers: str = "", body: bytes = b"") -> bytes:
    """Send a request as it is written, and return the first part of the answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        head = f"{line}\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n{headers}\r\n"
        # The server may have answered and closed already.
        with suppress(OSError):
            client.sendall(head.encode() + body)
        try:
            return client.recv(2**16)
        except OSError:
            return b""


def unused_routes(server: Server) -> Counts:
    """Ask for the routes that gradio brings and the page does not use."""
    gets = [
        "runs",
        "run-history/buckets",
        "run-history/records",
        "token",
        "user",
        "app_id",
        "info/",
    ]
    gets += ["deep_link?session_hash=a", "dev/reload", "queue/status", "openapi.json", "vibe-code"]
    gets += [
        "proxy=https://x.hf.space/",
        "file/x",
        "custom_component/a/client/b/c",
        "startup-events",
    ]
    posts = ["run-history/connect", "process_recording", "component_server", "run/photo", "reset"]
    posts += ["api/photo", "call/photo", "call/v2/photo", "vibe-edit", "vibe-starter-queries"]
    answers = [server.client.get(f"{API}/{path}") for path in gets]
    answers += [server.client.post(f"{API}/{path}", json={}) for path in posts]
    answers += [
        server.client.get(path) for path in ("/monitoring", "/docs", "/svelte/a", "/logout")
    ]
    return count(answer.status_code not in (403, 404) for answer in answers)


def addresses(server: Server) -> Counts:
    """Hand every function and route an address to fetch."""
    with canary() as (url, seen):
        results = []
        for path in (f"{url}/a.png", f"{url}/a.png".replace("127.0.0.1", "localhost")):
            for function in server.functions:
                file = reference(path) | {"url": path}
                server.ask(function["id"], [file] * max(1, len(function["inputs"])))
            for route in ("file=", "file/", "proxy="):
                server.client.get(f"{API}/{route}{path}")
                results.append(bool(seen))
            results += [bool(seen)] * len(server.functions)
        return count(results)


def too_large(server: Server) -> Counts:
    """Send 60 MiB to each route, with a length, without one, and with a false one."""
    size, part = 60 * 2**20, b"0" * 2**20
    results = []
    own = [f"{API}/{path}" for path in ("upload", "queue/join", "cancel", "run/photo", "reset")]
    for path in (*own, *FILE_ROUTES):
        kind = "multipart/form-data; boundary=x" if "upload" in path else "application/json"
        for framing in ("length", "chunked", "false"):
            body = {"length": b"", "chunked": b"", "false": part * 60}[framing]
            if framing == "chunked":
                body = b"".join(b"100000\r\n" + part + b"\r\n" for _ in range(60)) + b"0\r\n\r\n"
                headers = f"Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n"
                headers += "Content-Length: 5\r\n"
            elif framing == "length":
                body, headers = part * 60, f"Content-Type: {kind}\r\nContent-Length: {size}\r\n"
            else:
                headers = f"Content-Type: {kind}\r\nContent-Length: 5\r\n"
            status = raw(server, f"POST {path} HTTP/1.1", headers, body)[9:12]
            results.append(status == b"200")
    return count(results)


def slow_requests(server: Server) -> Counts:
    """Open a hundred requests that never end, and count those that the server keeps open."""
    starts = [
        b"GET / HT",
        f"POST {API}/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode(),
    ]
    clients = []
    for i in range(100):
        clients.append(socket.create_connection(("127.0.0.1", server.port)))
        clients[-1].sendall(starts[i % 2])
    results: list[bool] = []
    until = time.monotonic() + 60
    for client in clients:
        client.settimeout(max(0.1, until - time.monotonic()))
        try:
            while client.recv(2**16):
                pass
            results.append(False)
        except TimeoutError:
            results.append(True)
        except OSError:
            results.append(False)
        client.close()
    return count(results)


def broken_off_uploads(server: Server) -> Counts:
    """Break off fifty uploads half way, and count the files that stay."""
    before = set(server.files())
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = f"POST {API}/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n"
            head += "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            part = 'Content-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
            client.sendall((head + part).encode() + b"0" * 2_000_000)
    time.sleep(3)
    left = [path for path in set(server.files()) - before if path.exists()]
    return 50, 50 - len(left), len(left)


def many_sessions(server: Server) -> Counts:
    """Ask with 100 photos of noise, each as another visitor, and do not come back."""
    said = [server.predict(photo(1000, "JPEG", noise=True)) for _ in range(100)]
    return len(said), 0, 0


def answers_not_taken(server: Server) -> Counts:
    """Ask 50 times with photos of noise, and never take the answer."""
    number = server.numbers["photo"]
    for _ in range(50):
        path = server.upload(photo(1000, "JPEG", noise=True))
        server.ask(number, [reference(path)], listen=False)
    return 50, 0, 0


def visitors_who_leave(server: Server) -> Counts:
    """Ask for a clip and leave at once, five times; then see how long the next one waits."""
    clip = film(make_affect_faces(1, image_size=720, random_state=0).data[0], n_frames=290)
    for _ in range(5):
        server.ask(server.numbers["video"], [reference(server.upload(clip))], listen=False)
    begin = time.monotonic()
    said = server.predict(clip[:1000], "video")
    waited = time.monotonic() - begin
    return 5, 5 if not succeeded(said) and waited < 60 else 0, int(waited >= 60)


def camera_floods(server: Server) -> Counts:
    """Send 40 pictures of one camera at once, and start 200 cameras: two are served at a time."""
    content = photo(480, "JPEG")

    def send(name: str) -> int:
        url = f"{server.url}/persona_affect/camera?camera={name}"
        return httpx.post(url, content=content, timeout=120).status_code

    with ThreadPoolExecutor(40) as clients:
        same = list(clients.map(send, ["one"] * 40))
        begin = time.monotonic()
        others = list(clients.map(send, [f"camera{i}" for i in range(200)]))
    served = same.count(200) + others.count(200)
    # A place is free again after five seconds without a picture.
    places = 2 * (2 + (time.monotonic() - begin) // 5)
    return len(same + others), len(same + others) - served, int(others.count(200) > places)


def mixed_requests(server: Server) -> Counts:
    """Send 120 requests of eight kinds from 100 clients at once: each gets its own answer."""
    face = make_affect_faces(1, image_size=240, random_state=0).data[0]
    crowds = [[face * 0 + 128], [face], [face, face]]
    photos = [encode(np.concatenate(crowd, axis=1), "JPEG") for crowd in crowds]
    clip = film(face, n_frames=10)

    def faces(rows: object) -> int:
        return len(rows) if isinstance(rows, list) else -1

    def ask_photo(i: int) -> bool:
        said = server.predict(photos[i % 3])
        return succeeded(said) and faces(answer_of(said)[0]) == i % 3

    def send_photo(i: int) -> bool:
        answer = httpx.post(f"{server.url}{FILE_ROUTES[0]}", content=photos[i % 3], timeout=300)
        return answer.status_code == 200 and faces(answer.json()["faces"]) == i % 3

    def send_picture(i: int) -> bool:
        url = f"{server.url}/persona_affect/camera?camera=mixed{i}"
        answer = httpx.post(url, content=photos[1], timeout=300)
        return answer.status_code == 503 or len(answer.json()["faces"]) == 1

    def ask_clip(i: int) -> bool:
        return succeeded(server.predict(clip, "video"))

    def open_page(i: int) -> bool:
        return httpx.get(server.url, timeout=300).status_code == 200

    def send_text(i: int) -> bool:
        return not succeeded(server.predict(b"text", ("photo", "video")[i % 2]))

    def forge(i: int) -> bool:
        return not succeeded(server.ask(server.numbers["photo"], [reference(server.secret)]))

    def send_too_much(i: int) -> bool:
        answer = httpx.post(f"{server.url}{FILE_ROUTES[1]}", content=b"0" * 6 * 2**20, timeout=300)
        return answer.status_code == 413

    kinds = (ask_photo, send_photo, send_picture, ask_clip, open_page, send_text, forge)
    requests = [(kind, i) for i in range(15) for kind in (*kinds, send_too_much)]
    random.Random(0).shuffle(requests)

    def right(request: tuple[Callable[[int], bool], int]) -> bool:
        kind, i = request
        try:
            return kind(i)
        except (httpx.HTTPError, ValueError, KeyError, IndexError):
            return False

    with ThreadPoolExecutor(100) as clients:
        results = list(clients.map(right, requests))
    return len(results), 0, results.count(False)


def answer_of(said: str) -> list[object]:
    """Return the data of a function's answer."""
    messages = [json.loads(line[6:]) for line in said.splitlines() if line.startswith("data: ")]
    (last,) = [message for message in messages if message["msg"] == "process_completed"]
    return list(last["output"]["data"])


def costly_pictures(server: Server) -> Counts:
    """Send a JPEG of 1,600 scans, a crowd of 2,500 faces, and 20,000 x 20,000 pixels."""
    jpeg = io.BytesIO()
    Image.fromarray(np.full((512, 512, 3), 128, np.uint8)).save(jpeg, "JPEG", progressive=True)
    whole = jpeg.getvalue()
    first = whole.index(b"\xff\xda")
    second = whole.index(b"\xff\xc4", first)
    scans = whole[:first] + whole[first:second] * 1600 + b"\xff\xd9"
    face = Image.open(io.BytesIO(photo(64)))
    crowd = Image.new("RGB", (60 * 50, 50 * 50))
    for i in range(2500):
        crowd.paste(face.resize((60, 50)), (i % 50 * 60, i // 50 * 50))
    pixels, file = io.BytesIO(), io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(pixels, "PNG")
    crowd.save(file, "JPEG")
    said = [server.predict(data) for data in (scans, file.getvalue(), pixels.getvalue())]
    return count(map(succeeded, said))


def foreign_formats(server: Server) -> Counts:
    """Send EPS, PDF, playlists and text as photos and clips, and look for paths in the answers."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(secret) print\nshowpage\n"
    listed = f"#EXTM3U\n#EXTINF:1,\nfile://{server.secret}\n".encode()
    joined = f"ffconcat version 1.0\nfile {server.secret}\n".encode()
    parts = [eps, listed, joined, b"%PDF-1.7\n", b"text", b"", photo()[:200], b"\0" * 1000]
    said = [server.predict(part, name) for part in parts for name in ("photo", "video")]
    for part in filter(None, parts):
        for route in FILE_ROUTES:
            answer = server.client.post(route, content=part)
            said.append('"success":true' if answer.status_code == 200 else answer.text)
    return count(succeeded(text) or str(server.home) in text for text in said)


def foreign_origins(server: Server) -> Counts:
    """Ask as the pages of other sites do."""
    own = f"127.0.0.1:{server.port}"
    pairs = [(own, "https://evil.example"), (own, "null"), (own, "http://127.0.0.1:1")]
    pairs += [("evil.example", "https://evil.example"), ("evil.example", f"http://{own}")]
    pairs += [("evil.example", "http://localhost"), ("x.example:7860", "https://y.example")]
    results = []
    for host, origin in pairs:
        headers = {"Host": host, "Origin": origin, "Cookie": "a=b"}
        for method, path in (("GET", "/config"), ("POST", f"{API}/upload"), ("OPTIONS", "/")):
            preflight = {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
            answer = server.client.request(method, path, headers=headers | preflight)
            allowed = "access-control-allow-origin" in answer.headers
            results.append(allowed or answer.status_code != 403)
    return count(results)


def malformed(server: Server) -> Counts:
    """Send forms and messages that are none; 500 counts as a leak."""
    forms = [b"", b"--x", b"--x--", b"--x\r\n\r\n\r\n--x--", b"\xff" * 100, b"--x\r\nContent-Dis"]
    kinds = [
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "text/plain",
        "multipart/\xff",
    ]
    answers = []
    for form in forms:
        for kind in kinds:
            headers = {"Content-Type": kind.encode("latin-1")}
            answers.append(server.client.post(f"{API}/upload", content=form, headers=headers))
    good = {"session_hash": "a", "fn_index": 0, "data": []}
    bodies = [b"", b"{", b"[]", b"null", b"\xff", b"[" * 10_000, b'{"data":' * 5000]
    bodies += [
        json.dumps(good | change).encode()
        for change in (
            {"fn_index": 999},
            {"fn_index": "x"},
            {"fn_index": [1]},
            {"data": 5},
            {"session_hash": ["a"]},
            {"session_hash": "../../x"},
            {"session_hash": "x" * 10_000},
        )
    ]
    headers = {"Content-Type": "application/json"}
    names = ["", "?camera=", "?camera=../x", "?camera=" + "x" * 10_000, "?camera=%00", "?x[]=1"]
    for path in (*(f"/persona_affect/camera{name}" for name in names), "/persona_affect/photo"):
        for body in (*forms, *bodies):
            answers.append(server.client.post(path, content=body))
    for path in ("queue/join", "cancel", "stream/a"):
        for body in bodies:
            answers.append(server.client.post(f"{API}/{path}", content=body, headers=headers))
    return count(
        answer.status_code >= 500 if answer.status_code != 200 else None for answer in answers
    )


ATTACKS: list[Callable[[Server], Counts]] = [
    forged_references,
    path_traversals,
    unused_routes,
    addresses,
    too_large,
    slow_requests,
    broken_off_uploads,
    many_sessions,
    answers_not_taken,
    visitors_who_leave,
    camera_floods,
    mixed_requests,
    costly_pictures,
    foreign_formats,
    foreign_origins,
    malformed,
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [attack.__name__ for attack in ATTACKS]
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    options = parser.parse_args()

    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        for _ in range(5):
            assert succeeded(server.predict(photo()))
        heads = ["attack", "tried", "refused", "leaked", "s", "CPU s", "MiB before", "MiB after"]
        print(f"| {' | '.join(heads)} | still answers |")
        print("|---|---|---|---|---|---|---|---|---|")
        for attack in ATTACKS:
            if attack.__name__ not in options.only:
                continue
            before, computed = server.memory(), server.processor_seconds()
            begin = time.monotonic()
            tried, refused, leaked = attack(server)
            seconds = time.monotonic() - begin
            computed = server.processor_seconds() - computed
            answers = succeeded(server.predict(photo()))
            bad += leaked + (not answers)
            cells = [attack.__name__.replace("_", " "), tried, refused, leaked]
            cells += [f"{seconds:.1f}", f"{computed:.1f}", f"{before:.0f}"]
            cells += [f"{server.memory():.0f}", "yes" if answers else "NO"]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
        server.upload(photo())
        server.stop(signal.SIGKILL)
        left = len(server.files())
        again = Server(Path(folder))
        bad += len(again.files())
        print(f"\nAfter SIGKILL {left} files were left; after the next start {len(again.files())}.")
        again.upload(photo())
        again.stop(signal.SIGHUP if hasattr(signal, "SIGHUP") else signal.SIGTERM)
        bad += len(again.files())
        print(f"After SIGHUP {len(again.files())} files were left.")
    raise SystemExit(bad > 0)


if __name__ == "__main__":
    main()
