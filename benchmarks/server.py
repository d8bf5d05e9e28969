"""Measures the server: latency, overload, shutdown, hostile uploads and memory.

    python -m modelparity.benchmarks.server ARTIFACT [--markdown PATH]

`modelparity serve`, its clients and the runtime alone are three processes on the loopback interface. Times
are comparable with each other only, within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from modelparity.benchmarks.server_report import Row, markdown, table

MIB = 1 << 20
# Seconds or number of requests of each phase.
FULL = {"latency": 60, "overload_s": 20.0, "soak_s": 600.0, "hostile": 1000}
SHORT = {"latency": 40, "overload_s": 10.0, "soak_s": 120.0, "hostile": 1000}
QUICK = {"latency": 10, "overload_s": 2.0, "soak_s": 3.0, "hostile": 39}


class Served:
    """`modelparity serve` in a process of its own; its memory is sampled as long as it runs."""

    def __init__(self, artifact: Path, options: Sequence[str]) -> None:
        command = [sys.executable, "-m", "modelparity", "serve", str(artifact), "--port", "0", "--rate", "0"]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = 0
        for line in self.process.stdout:
            if "listening on" in line:
                self.port = int(line.rpartition(":")[2])
                break
        if not self.port:
            raise SystemExit(f"the server for {artifact} does not start")
        self._psutil = psutil.Process(self.process.pid)
        self.memory: list[tuple[float, int]] = []
        self._stop = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        start = time.monotonic()
        while not self._stop.wait(0.5):
            try:
                self.memory.append((time.monotonic() - start, self._psutil.memory_info().rss))
            except psutil.NoSuchProcess:
                return

    def rss(self) -> int:
        """Resident bytes now."""
        return int(self._psutil.memory_info().rss)

    def cpu(self) -> float:
        """CPU seconds used so far."""
        spent = self._psutil.cpu_times()
        return float(spent.user + spent.system)

    def clients(self, phase: str, **plan: Any) -> dict[str, Any]:
        """Runs one phase in the client process and returns what it measured."""
        done = subprocess.run(
            [sys.executable, "-m", "modelparity.benchmarks.server_client"],
            input=json.dumps({"phase": phase, "port": self.port, **plan}),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return dict(json.loads(done.stdout))

    def stop(self) -> tuple[int, str]:
        """Sends SIGTERM; returns the exit code and the remaining output."""
        self._stop.set()
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, out.strip()


@contextmanager
def served(artifact: Path, *options: str) -> Iterator[Served]:
    server = Served(artifact, options)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


BARE = """
import json, sys, time, numpy as np
from pathlib import Path
from modelparity.modelfiles.model_card import card_of
from modelparity.converters.formats import CONVERTERS
path = Path(sys.argv[1])
card = card_of(path)
image = np.random.default_rng(0).normal(size=(1, 3, *card.input_size)).astype(np.float32)
feed = {card.inputs[0].name: image}
with CONVERTERS[card.format].call("runner", path, int(sys.argv[2])) as runner:
    spent = []
    for _ in range(int(sys.argv[3]) + 5):
        start, cpu = time.perf_counter(), time.process_time()
        runner.run(feed)
        spent.append([time.perf_counter() - start, time.process_time() - cpu])
print(json.dumps(spent[5:]))
"""


def bare(artifact: Path, threads: int, count: int) -> list[tuple[float, float]]:
    """Wall and CPU seconds of the runtime alone, on a random input, in a process of its own."""
    command = [sys.executable, "-c", BARE, str(artifact), str(threads), str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [(float(wall), float(cpu)) for wall, cpu in json.loads(done.stdout)]


def percentile(values: Sequence[float], q: float) -> float:
    """A percentile of seconds, in milliseconds; NaN for no values."""
    return float(np.percentile(values, q)) * 1000 if values else float("nan")


def photograph(folder: Path) -> Path:
    """Writes a JPEG of 512 x 512 pixels, about 100 kB."""
    from PIL import Image
    from skimage.data import astronaut

    path = folder / "photograph.jpg"
    Image.fromarray(astronaut()).save(path, quality=92)
    return path


def codes(seen: Mapping[str, Any]) -> str:
    return ", ".join(f"{count:,} x {code}" for code, count in sorted(seen["codes"].items()))


def latency(artifact: Path, body: Path, count: int, p50_ms: float) -> list[Row]:
    """One client, compared with the runtime alone, which is measured before and after it."""
    before = bare(artifact, 2, count // 2)
    with served(artifact) as server:
        server.clients("closed", body=str(body), clients=1, count=5, seconds=0)
        cpu = server.cpu()
        one = server.clients("closed", body=str(body), clients=1, count=count, seconds=0)
        cpu = 1000 * (server.cpu() - cpu) / count
    walls, cpus = zip(*(before + bare(artifact, 2, count // 2)), strict=True)
    alone, cpu_alone = percentile(walls, 50), 1000 * float(np.mean(cpus))
    p50 = percentile(one["seconds"], 50)
    least, least_alone = 1000 * min(one["seconds"]), 1000 * min(walls)
    inside = float(np.median(one["inference_ms"]))
    return [
        Row("runtime alone, p50", f"{alone:.0f} ms", ""),
        Row("one client, p50", f"{p50:.0f} ms", f"<= {p50_ms:.0f} ms", p50 <= p50_ms),
        Row("one client, p99", f"{percentile(one['seconds'], 99):.0f} ms", ""),
        Row(
            "the server compared with the runtime alone",
            f"{p50 / alone - 1:+.1%}",
            "<= 10 %",
            p50 <= 1.1 * alone,
        ),
        Row("the server compared with its own inference", f"{p50 / inside - 1:+.1%}", ""),
        Row("fastest: one client, runtime alone", f"{least:.0f} ms, {least_alone:.0f} ms", ""),
        Row("CPU time per image: server, runtime alone", f"{cpu:.0f} ms, {cpu_alone:.0f} ms", ""),
    ]


PLANS = {"one copy, 2 threads": (), "two copies, 1 thread each": ("--copies", "2", "--threads", "1")}


def three_clients(artifact: Path, body: Path, count: int, p99_ms: float) -> list[Row]:
    """Three clients, for each of the two ways to use two cores."""
    rows = []
    for name, options in PLANS.items():
        with served(artifact, *options) as server:
            server.clients("closed", body=str(body), clients=3, count=6, seconds=0)
            seen = server.clients("closed", body=str(body), clients=3, count=2 * count, seconds=0)
            p50, p99 = (percentile(seen["seconds"], q) for q in (50, 99))
            rate = len(seen["seconds"]) / seen["wall"]
            text = f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, {rate:.1f} per second, {server.rss() / MIB:.0f} MiB"
        bound, holds = (f"p99 <= {p99_ms:.0f} ms", p99 <= p99_ms) if not options else ("", None)
        rows.append(Row(f"three clients, {name}", text, bound, holds))
    return rows


def overload(server: Served, body: Path, seconds: float) -> list[Row]:
    """Requests at ten times the rate that three clients reach, whether they are answered or not."""
    calm = server.clients("closed", body=str(body), clients=3, count=60, seconds=0)
    rate = len(calm["seconds"]) / calm["wall"]
    seen = server.clients("open", body=str(body), rate=10 * rate, seconds=seconds)
    p99, usual = percentile(seen["seconds"], 99), percentile(calm["seconds"], 99)
    only = set(seen["codes"]) <= {"200", "429"} and not seen["wrong"]
    live = percentile(seen["live_seconds"], 99)
    sent = sum(seen["codes"].values()) / seen["wall"]
    return [
        Row(f"overload, {sent:.0f} requests per second: answers", codes(seen), "only 200 and 429", only),
        Row("overload, accepted p99", f"{p99:.0f} ms, calm {usual:.0f} ms", "<= 1.5 x", p99 <= 1.5 * usual),
        Row("overload, liveness p99", f"{live:.0f} ms", "<= 100 ms", live <= 100),
        Row("overload, refusals p99", f"{percentile(seen['other_seconds'], 99):.0f} ms", ""),
    ]


def soak(server: Served, body: Path, seconds: float) -> list[Row]:
    """Three clients for some time; the slope of memory is a least-squares fit over the second half."""
    del server.memory[:]
    seen = server.clients("closed", body=str(body), clients=3, count=0, seconds=seconds)
    when, rss = np.array(server.memory, np.float64).T
    late = when > when[0] + (when[-1] - when[0]) / 2
    slope = float(np.polyfit(when[late] / 60, rss[late] / 1e6, 1)[0])
    most = float(rss.max()) / 1e6
    good = set(seen["codes"]) == {"200"}
    return [
        Row(f"soak, {seconds / 60:.3g} minutes: answers", codes(seen), "no 5xx", good),
        Row("soak, p99", f"{percentile(seen['seconds'], 99):.0f} ms", ""),
        Row("soak, most resident memory", f"{most:.0f} MB", "< 700 MB", most < 700),
        Row("soak, slope of memory", f"{slope:+.2f} MB per minute", "< 1 MB per minute", slope < 1),
    ]


def hostile(server: Served, body: Path, count: int) -> list[Row]:
    server.clients("closed", body=str(body), clients=3, count=6, seconds=0)  # allocates all buffers
    before = server.rss()
    seen = server.clients("hostile", seed=1, count=count)
    server.clients("closed", body=str(body), clients=1, count=3, seconds=0)
    grown = (server.rss() - before) / 1e6
    slowest = max(seen["seconds"] + seen["other_seconds"])
    return [
        Row(
            f"{count:,} hostile uploads: answers",
            codes(seen),
            "4xx (200 for flipped bits)",
            not seen["wrong"],
        ),
        Row("hostile, slowest", f"{slowest * 1000:.0f} ms", "<= 1 s", slowest <= 1),
        Row("hostile, memory kept", f"{grown:+.0f} MB", "<= 20 MB", grown <= 20),
        *(Row("hostile, wrong", text, "none", False) for text in seen["wrong"][:5]),
    ]


def sigterm(artifact: Path, body: Path) -> list[Row]:
    """Six clients, and SIGTERM while they send requests."""
    with served(artifact) as server:
        return _sigterm(server, body)


def _sigterm(server: Served, body: Path) -> list[Row]:
    seen: dict[str, Any] = {}

    def load() -> None:
        seen.update(server.clients("closed", body=str(body), clients=6, count=0, seconds=20))

    thread = threading.Thread(target=load)
    thread.start()
    time.sleep(2.5)
    code, words = server.stop()
    thread.join()
    accepted, done = (int(word) for word in words.split() if word.isdigit())
    whole = accepted == done and seen["codes"].get("200", 0) == done and code == 0
    text = f"{words}; clients saw {codes(seen)}"
    return [Row("SIGTERM under load", text, "every accepted request answered", whole)]


def measure(artifact: Path, effort: Mapping[str, Any], p50_ms: float, phases: Sequence[str]) -> list[Row]:
    """Runs the named phases and returns a row per number."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="modelparity-") as folder:
        body = photograph(Path(folder))
        if "latency" in phases:
            rows += latency(artifact, body, effort["latency"], p50_ms)
        if "clients" in phases:
            rows += three_clients(artifact, body, effort["latency"], 500)
        if "sigterm" in phases:
            rows += sigterm(artifact, body)
        if not {"overload", "hostile", "soak"} & set(phases):
            return rows
        with served(artifact) as server:
            if "overload" in phases:
                rows += overload(server, body, effort["overload_s"])
            if "hostile" in phases:
                rows += hostile(server, body, effort["hostile"])
            if "soak" in phases:
                rows += soak(server, body, effort["soak_s"])
    return rows


ALL = ("latency", "clients", "overload", "sigterm", "hostile", "soak")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m modelparity.benchmarks.server",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("artifact", type=Path, help="an ONNX or TFLite file of this project")
    parser.add_argument("--effort", choices=("quick", "short", "full"), default="short")
    parser.add_argument(
        "--p50", type=float, default=130, metavar="MS", help="bound for the p50 of one client"
    )
    parser.add_argument(
        "--only", default=",".join(ALL), metavar="A,B", help=f"phases, out of {', '.join(ALL)}"
    )
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="also write the table to a file")
    args = parser.parse_args()
    effort = {"quick": QUICK, "short": SHORT, "full": FULL}[args.effort]
    os.environ["NO_PROXY"] = "127.0.0.1"
    load = os.getloadavg()[0]
    rows = measure(args.artifact, effort, args.p50, args.only.split(","))
    print(table(rows))
    if args.markdown:
        args.markdown.write_text(markdown(args.artifact, args.effort, rows, load), encoding="utf-8")


if __name__ == "__main__":
    main()
