"""Do what deploy/Dockerfile does, without a container engine: install, run as another user, ask, stop.

    python scripts/check_deploy.py

Run by ``make clean-install``. The lines are read from the Dockerfile, so that the two cannot drift apart: the
same extras from a copy of what is committed, in an environment of its own; the same command, by a user
without rights elsewhere (where this process may change users); the health check until it passes; then a file
is uploaded and asked about. What is not tried is the base image.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

from make_vllm import PROJECT, run

KEY = "a-key-for-this-check-alone"
USER = 10001
SAMPLE = "mmrag/samples/pack/documents/harbor-annual-report-2024.pdf"
QUESTION = "How many wave buoys did the storm take?"
SECONDS = 120


def main() -> int:
    text = (PROJECT / "deploy" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    (extras,) = re.findall(r"pip install --no-cache-dir '\.\[([\w,]+)\]'", text)
    command = [*json.loads(line_of(text, "ENTRYPOINT")), *json.loads(line_of(text, "CMD"))]
    health = shlex.split(line_of(text, "HEALTHCHECK").split(" CMD ")[1])
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        source, index = root / "source", root / "index"
        source.mkdir()
        archive = subprocess.run(["git", "-C", PROJECT, "archive", "HEAD"], check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", source], input=archive.stdout, check=True)
        venv.create(root / "venv", with_pip=True)
        python = root / "venv" / "bin" / "python"
        run([python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", f"{source}[{extras}]"])
        index.mkdir()
        check(root, command, health, index, source / SAMPLE)
    print(f"deploy/Dockerfile: installed [{extras}], healthy, and answered about an uploaded file.")
    return 0


def line_of(text: str, word: str) -> str:
    """The last instruction of a name, without the name."""
    return re.findall(rf"^{word} (.*(?:\n  .*)*)", text, re.MULTILINE)[-1].replace("\n", " ")


def check(root: Path, command: list[str], health: list[str], index: Path, sample: Path) -> None:
    """Run the server as the container would, and use it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options: dict[str, int] = {}
    if os.geteuid() == 0 and is_open_to_others(Path(sys.executable).resolve()):
        os.chown(index, USER, USER)
        options = {"user": USER, "group": USER}
    else:
        print("The server runs as the user of this script: another could not use this Python.")
    environment = {
        "PATH": f"{root / 'venv' / 'bin'}:/usr/bin:/bin",
        "HOME": str(index),
        "MMRAG_API_KEY": KEY,
        "OMP_NUM_THREADS": "1",
    }
    arguments = [str(index) if word == "/index" else word for word in command] + ["--port", port]
    server = subprocess.Popen(arguments, env=environment, cwd=index, **options)  # type: ignore[call-overload]
    try:
        wait_healthy([word.replace(":8321", f":{port}") for word in health], environment, server)
        base = f"http://127.0.0.1:{port}/api/collections/documents"
        upload(f"{base}/documents", sample)
        answer = call(f"{base}/ask", json.dumps({"question": QUESTION}).encode(), "application/json")
        assert "eleven" in answer["answer"], answer["answer"]
    finally:
        server.terminate()
        server.wait(60)


def is_open_to_others(path: Path) -> bool:
    """Whether every user may reach a file and run it."""
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))


def wait_healthy(health: list[str], environment: dict[str, str], server: subprocess.Popen[bytes]) -> None:
    """Run the health check until it passes."""
    end = time.monotonic() + SECONDS
    while subprocess.run(health, env=environment, capture_output=True).returncode:
        if server.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the server is not healthy after {SECONDS} s, or ended: {server.poll()}")
        time.sleep(1)


def upload(url: str, path: Path) -> None:
    """Send a file as a form."""
    boundary = "a-boundary-of-this-check"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n'
        "Content-Type: application/pdf\r\n\r\n"
    )
    body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    report = call(url, body, f"multipart/form-data; boundary={boundary}")
    assert report["added"] == [path.name], report


def call(url: str, body: bytes, kind: str) -> dict:
    """Post something and return the JSON of the answer."""
    headers = {"Content-Type": kind, "Authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=SECONDS) as reply:
        return json.load(reply)


if __name__ == "__main__":
    sys.exit(main())
