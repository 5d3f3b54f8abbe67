"""Peak memory of reading a PDF of 20 and of 2,000 pages.

Makes both PDFs (text and a vector drawing on each page, a picture on every tenth), reads each in a fresh
Python process with page pictures, and prints the peak resident memory of that process and of its
workers, and the ratios. Memory that does not grow with a document's length has ratios near 1.

    python benchmarks/ingest_memory.py [--pages 20 2000] [--workers 2]
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def make_pdf(path: Path, pages: int) -> None:
    """A report of so many pages."""
    import pymupdf
    from PIL import Image

    buffer = io.BytesIO()
    Image.effect_noise((600, 400), 60).convert("RGB").save(buffer, "JPEG")
    chance = random.Random(0)
    words = ["net", "sales", "margin", "region", "growth", "cost", "index", "quarter", "demand", "supply"]
    document = pymupdf.open()
    for number in range(pages):
        page = document.new_page()
        lines = [" ".join(chance.choices(words, k=12)) for _ in range(40)]
        page.insert_textbox(
            pymupdf.Rect(50, 60, 550, 700), f"Page {number}\n" + "\n".join(lines), fontsize=10
        )
        page.draw_circle((300, 750), 20)
        if number % 10 == 0:
            page.insert_image(pymupdf.Rect(400, 60, 560, 160), stream=buffer.getvalue())
    document.save(path, garbage=1)


def peak_mb(pid: int) -> float:
    """Peak resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def read(path: str, workers: int) -> None:
    """Read one file and print what it took; runs in its own process."""
    import os

    from mmrag.documents import DocumentReader, ReaderSettings, discover

    peaks: dict[int, float] = {}
    done = threading.Event()
    with DocumentReader(ReaderSettings(ocr="off", workers=workers, page_seconds=120)) as reader:

        def watch() -> None:
            while not done.is_set():
                for pid in reader._pool.pids():
                    try:
                        peaks[pid] = max(peaks.get(pid, 0.0), peak_mb(pid))
                    except OSError:
                        continue  # it has just ended
                done.wait(0.02)

        watcher = threading.Thread(target=watch)
        watcher.start()
        start = time.perf_counter()
        pages = 0
        for found in discover(path):
            for _ in reader.pages(found, image_pixels=500_000):
                pages += 1
        seconds = time.perf_counter() - start
        done.set()
        watcher.join()
    print(
        json.dumps(
            {
                "pages": pages,
                "parent_mb": round(peak_mb(os.getpid()), 1),
                "largest_worker_mb": round(max(peaks.values()), 1),
                "workers_started": len(peaks),
                "pages_per_second": round(pages / seconds, 1),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, nargs=2, default=[20, 2000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures as JSON")
    parser.add_argument("--small", action="store_true", help="2 and 12 pages, for correctness alone")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read(arguments.read, arguments.workers)
        return
    if arguments.small:
        arguments.pages = [2, 12]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for pages in arguments.pages:
            path = Path(folder) / f"{pages}.pdf"
            make_pdf(path, pages)
            command = [sys.executable, __file__, "--read", str(path), "--workers", str(arguments.workers)]
            results.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
            print(json.dumps(results[-1]))
    ratios = {part: results[1][part] / results[0][part] for part in ("parent_mb", "largest_worker_mb")}
    for part, ratio in ratios.items():
        print(f"{part}: {ratio:.2f} times as much at {arguments.pages[1]} pages")
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": results, "ratios": ratios}, indent=1) + "\n")


if __name__ == "__main__":
    main()
