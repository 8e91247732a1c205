"""The clients: fio and mount_client.py for mounts, wrk and curl for HTTP, Sluice's own for NFS. Each run returns a Result."""

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from install import find_program
from processes import PATIENCE_SECONDS, Failed, LongClient, Usage, run_client

WRK_REPORT = Path(__file__).with_name("wrk.lua")
WRITE_CLIENT = Path(__file__).with_name("write_client.py")
MOUNT_CLIENT = Path(__file__).with_name("mount_client.py")
HTTP_CLIENT = Path(__file__).with_name("http_client.py")


@dataclass(frozen=True)
class Result:
    seconds: float
    operations: int
    bytes: int
    client: Usage
    latency_us: dict = field(default_factory=dict)
    hits: int | None = None  # of the operations; None: not counted
    memory_bytes: int | None = None  # of the server, taken for all operations together; None: not counted

    def hit_percent(self):
        return 100 * self.hits / self.operations


@dataclass(frozen=True)
class FioRun:
    path: Path
    pattern: str  # fio's rw
    block_size: int
    size: int  # of the file
    jobs: int = 1  # each has its part of the file
    depth: int = 1
    direct: bool = False
    seconds: float | None = None  # None: each block once


def fio(run, deep_engine):
    """Buffers start at a page, as those of cp and dd do. fio does that for O_DIRECT only; elsewhere its odd addresses make
    each copy several times as slow on some processors, and each 1 MiB read two FUSE requests."""
    engine = "psync" if run.depth == 1 else deep_engine
    part = run.size // run.jobs
    kind = "write" if "write" in run.pattern else "read"
    command = [
        "fio", "--name=compare", "--thread", "--allow_file_create=0", "--invalidate=0", "--group_reporting",
        "--output-format=json", f"--filename={fio_name(run.path)}", f"--rw={run.pattern}",
        f"--bs={run.block_size}", f"--ioengine={engine}", f"--iodepth={run.depth}", f"--direct={int(run.direct)}",
        f"--numjobs={run.jobs}", "--iomem_align=4096", f"--size={part}", f"--offset_increment={part}",
    ]
    if kind == "read":
        command += ["--readonly"]
    if run.seconds:
        command += ["--norandommap", "--time_based", f"--runtime={int(run.seconds * 1000)}ms"]
    output, used = run_client(command, PATIENCE_SECONDS + (run.seconds or 0))
    job = json.loads(output[output.index("{") :])["jobs"][0]
    done = job[kind]
    if job["error"] != 0 or done["io_bytes"] == 0:
        raise Failed(f"fio could not {kind} {run.path.name}: error {job['error']}")
    cpu = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] / 1000  # without fio's long start
    return Result(seconds=done["io_bytes"] / done["bw_bytes"], operations=done["total_ios"], bytes=done["io_bytes"],
                  client=replace(used, cpu_seconds=cpu))


def fio_name(path):
    return str(path).replace(":", "\\:")  # a colon separates files


def choose_deep_engine(path):
    """io_uring where it is allowed; containers often forbid it."""
    for engine in ("io_uring", "libaio"):
        try:
            fio(FioRun(path, "read", 4096, 4096, depth=2, direct=True), engine)
            return engine
        except Failed:
            continue
    return None


def by_name(operation, folder, count, seconds, *per_folder):
    """See mount_client.py."""
    return own_client(MOUNT_CLIENT, [operation, *map(str, [folder, count, seconds, *per_folder])], PATIENCE_SECONDS + seconds)


def write_and_sync(path, size, block_size, direct):
    """See write_client.py."""
    words = [str(path), str(size), str(block_size), "direct" if direct else "buffered"]
    return own_client(WRITE_CLIENT, words, PATIENCE_SECONDS)


def own_client(script, words, patience_seconds):
    output, _ = run_client([sys.executable, "-I", "-S", "-B", str(script), *words], patience_seconds)
    told = json.loads(output)
    return Result(seconds=told["seconds"], operations=told["operations"], bytes=told["bytes"],
                  client=Usage(told["cpu_seconds"], told["disk_bytes"]))


def wrk(url, body_size, connections, seconds):
    told, used = run_wrk(url, connections, seconds, [])
    return Result(seconds=told["microseconds"] / 1e6, operations=told["requests"], bytes=told["requests"] * body_size,
                  client=used, latency_us={"p50": told["p50_us"], "p99": told["p99_us"]})


def wrk_at_random(url, small, connections, seconds):
    """One of the small files after the other. The bytes are those of the heads as well."""
    told, used = run_wrk(url, connections, seconds, ["--", str(small.count), str(small.per_folder)])
    return Result(seconds=told["microseconds"] / 1e6, operations=told["requests"], bytes=told["bytes"], client=used,
                  latency_us={"p50": told["p50_us"], "p99": told["p99_us"]})


def run_wrk(url, connections, seconds, words):
    """wrk takes whole seconds only; interrupted, it says what it measured so far."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(WRK_REPORT), url,
               *words]
    if seconds < 1:
        command = ["timeout", "--preserve-status", "--signal=INT", str(seconds), *command]
    output, used = run_client(command, PATIENCE_SECONDS + seconds)
    told = json.loads(output.strip().splitlines()[-1])
    if told["errors"] or not told["requests"]:
        raise Failed(f"wrk counted {told['errors']} errors in {told['requests']} requests for {url}")
    return told, used


def curl(url, body_size, times):
    result, sizes = run_curl([url] * times)
    if sizes != [body_size] * times:
        raise Failed(f"curl got {sizes} bytes for {url}, not {body_size}")
    return result


def curl_each(urls):
    """One after the other, on one connection."""
    return run_curl(urls)[0]


def run_curl(urls):
    """Also returns how long each body was."""
    command = ["curl", "-q", "--silent", "--show-error", "--fail", "--noproxy", "*",
               "--write-out", "%{size_download} %{time_total}\n"]
    for url in urls:
        command += ["--output", "/dev/null", url]
    output, used = run_client(command, PATIENCE_SECONDS)
    sizes, seconds = zip(*((int(size), float(taken)) for size, taken in map(str.split, output.splitlines())))
    return Result(seconds=sum(seconds), operations=len(urls), bytes=sum(sizes), client=used), list(sizes)


def nfs(sluice, url, workload, seconds):
    command = [sluice, "bench", "--json", "--filter", f"^{workload}$", "--seconds", str(seconds), "nfs", url]
    output, used = run_client(command, PATIENCE_SECONDS + seconds)
    told = json.loads(output)[0]
    return Result(seconds=told["seconds"], operations=told["operations"], bytes=told["bytes"],
                  client=replace(used, cpu_seconds=told["client_cpu_seconds"]),
                  latency_us={"p50": told["p50_us"], "p99": told["p99_us"]})


def http_client(kind, port, *words):
    """See http_client.py. Not ready yet."""
    return LongClient(kind, [sys.executable, "-I", "-S", "-B", str(HTTP_CLIENT), kind, str(port), *map(str, words)])


def missing_client(names):
    missing = [name for name in names if find_program(name) is None]
    return f"{missing[0]} is not installed (--install)" if missing else None
