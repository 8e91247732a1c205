"""The versions of the peers and the clients, as they say themselves."""

import re
import subprocess

from install import find_program

ASKED = {"nginx": "-v", "rclone": "version", "bindfs": "--version", "mergerfs": "-V", "ganesha.nfsd": "-v", "fio": "--version",
         "wrk": "-v", "curl": "--version", "git": "--version", "make": "--version", "cc": "--version"}
NUMBER = re.compile(r"\d+\.\d[\w.+-]*")


def installed():
    """By program; None: it is not installed."""
    return {name: version_of(name, word) for name, word in ASKED.items()}


def version_of(name, word):
    program = find_program(name)
    if program is None:
        return None
    try:
        told = subprocess.run([program, word], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    found = NUMBER.search(told)
    return found.group() if found else "unknown"
