"""GETs of files on a backing whose names take 20 ms each: once with nothing known, and of one file again and again on one
connection, as all looks wait for each other.

Each server relies for ten minutes on what it knows of a file: Sluice by --open-cache, because nobody can watch such a backing,
nginx by its open_file_cache, rclone by its --dir-cache-time.
"""

import clients
import slow_backing
from groups import Group, measure_group
from http_peers import Nginx, RcloneServe, SluiceServe
from rows import Row
from suite_http import need_clients, wrk_seconds
from suite_slow_mount import RELYING, delay_ms_of

FOLDER = "slow-gets"


def files_of(plan):
    return 4 if plan.quick else 20


def disk_bytes(plan):
    return files_of(plan) * 4096


def run(plan, workspace, paper):
    count = files_of(plan)
    paper.open_section("http", f"GETs from a backing that takes {delay_ms_of(plan)} ms for each look at a name: {count} files")
    small = workspace.small_files(FOLDER, count, count)
    rows = rows_of(plan, small)
    impossible = slow_backing.impossible(plan)
    if impossible or not any(plan.wants(row) for row in rows):
        measure_group("http", Group(peers_of(plan, workspace), rows, impossible=impossible), plan, paper)
        return
    with slow_backing.slow_names(plan, workspace, delay_ms_of(plan)) as slow:
        measure_group("http", Group(peers_of(plan, slow), rows, (small,)), plan, paper)


def peers_of(plan, workspace):
    return need_clients([SluiceServe(workspace, plan.sluice, plan.warm_cache_size, *RELYING["sluice"]), Nginx(workspace),
                         RcloneServe(workspace)])


def rows_of(plan, small):
    def each(peer):
        names = [path.relative_to(small.path) for path in small.files()]
        return clients.curl_each([f"{peer.url(small)}/{name}" for name in names])

    def one_again(peer):
        return clients.wrk(f"{peer.url(small)}/0/0", small.files()[0].stat().st_size, 1, wrk_seconds(plan))

    return [Row("slow-names-get-first", "GET of each file, first", "ms", None, each, lambda peer: peer.make_cold(small), (small,)),
            Row("slow-names-get-again", "GET of each file, again", "ms", None, each, lambda peer: None, (small,)),
            Row("slow-names-get-hot", "GET of one file, hot", "1000/s", None, one_again, lambda peer: None, (small,))]
