"""--install: the peers and the clients, from the distribution."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from processes import Failed

PACKAGES = {"fio": "fio", "git": "git", "make": "make", "cc": "gcc", "tar": "tar", "diff": "diffutils",
            "wrk": "wrk", "curl": "curl", "bindfs": "bindfs", "mergerfs": "mergerfs", "rclone": "rclone",
            "nginx": "nginx-light", "ganesha.nfsd": "nfs-ganesha-vfs", "nfs-cat": "libnfs-utils"}
START_POLICY = Path("/usr/sbin/policy-rc.d")


def find_program(name):
    """Also where only root's $PATH leads."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def missing_programs(names):
    return [name for name in names if find_program(name) is None]


def install_missing():
    packages = [PACKAGES[name] for name in missing_programs(PACKAGES)]
    if not packages:
        return
    if find_program("apt-get") is None:
        raise Failed(f"--install: there is no apt-get; install {' '.join(packages)} by other means")
    if os.geteuid() != 0:
        raise Failed(f"--install: only root may; run 'sudo apt-get install {' '.join(packages)}'")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    with services_stay_off():
        # Old package lists name packages that are gone.
        if subprocess.run(command, env=environment, check=False).returncode == 0:
            return
        subprocess.run(["apt-get", "update"], env=environment, check=False)
        if subprocess.run(command, env=environment, check=False).returncode != 0:
            raise Failed(f"--install: apt-get could not install {' '.join(packages)}")


@contextlib.contextmanager
def services_stay_off():
    """The packages of nginx and nfs-ganesha would start them, open to the network."""
    if START_POLICY.exists():
        yield
        return
    START_POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    START_POLICY.chmod(0o755)
    try:
        yield
    finally:
        START_POLICY.unlink(missing_ok=True)
