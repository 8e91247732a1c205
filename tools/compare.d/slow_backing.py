"""A backing whose names and attributes are slow, as those of a network file system far away: each look at one takes its time.

It is tests/support/faulty_fs on the folder of the files, one call after the other; what is read and written is not delayed.
"""

import contextlib
import os
import shutil
import struct

from files import detach, mounted_paths
from processes import Server

PROGRAM = "faulty_fs"
CONTROL = struct.Struct("6Q")  # calls, which fails, its error, all later ones as well, the kinds that count, microseconds
LOOK, CHANGE = 1, 2


def find_program(plan):
    """Where the tests say, beside Sluice's binary, or where the tests are built. None: nowhere."""
    beside = os.path.join(os.path.dirname(plan.sluice), "tests", PROGRAM)
    built = os.path.join(os.path.dirname(os.path.dirname(plan.sluice)), "dev", "tests", PROGRAM)
    return next(filter(None, map(shutil.which, filter(None, [os.environ.get("FAULTY_FS"), beside, built]))), None)


def impossible(plan):
    """Why there can be none here; None: there can."""
    if os.geteuid() != 0:
        return "only root can show it to the servers"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse is missing"
    return None if find_program(plan) else f"{PROGRAM} is not built (cmake --preset dev && cmake --build --preset dev)"


@contextlib.contextmanager
def slow_names(plan, workspace, delay_ms):
    """The workspace once more, its files behind the delay."""
    mountpoint = workspace.folder("slow")
    control = workspace.root / "slow.control"
    log = workspace.root / "slow.log"
    server = Server([find_program(plan), str(workspace.files), str(mountpoint), str(control)], log)
    try:
        server.wait_until(lambda: str(mountpoint) in mounted_paths())
        with open(control, "r+b") as told:
            told.write(CONTROL.pack(0, 0, 0, 0, LOOK | CHANGE, 1000 * delay_ms))
        yield workspace.seen_at(mountpoint)
    finally:
        server.stop()
        if str(mountpoint) in mounted_paths():
            detach(str(mountpoint))
