"""The servers of the NFS suite. Both know who calls (root is root), and trust what they know of a file for as long."""

import os
import subprocess
from pathlib import Path

from install import find_program
from peers import TRUSTING, Peer, check_sha256, free_port
from processes import PATIENCE_SECONDS, Failed, prepare_child, read_text
from rows import SLUICE

GANESHA_TEMPLATE = Path(__file__).with_name("ganesha.conf")
GANESHA_START = Path(__file__).with_name("ganesha.sh")


class NfsPeer(Peer):
    def __init__(self, workspace, client):
        """`client`: a binary of sluice, whose `bench nfs` asks all peers."""
        super().__init__(workspace)
        self._client = client
        self.port = self.mount_port = 0
        if not self.out and find_program("nfs-cat") is None:
            self.out = "nfs-cat is not installed (--install)"

    def url(self, path):
        return f"nfs://127.0.0.1:{self.port}/{path}?mountport={self.mount_port}"

    def command(self):
        raise NotImplementedError

    def start(self):
        self.port = self.mount_port = free_port()
        self.launch(self.command(), self._answers)

    def _answers(self):
        """Also to MOUNT, which may be ready later."""
        command = [self._client, "bench", "--seconds", "0.001", "--filter", "listing", "nfs", self.url("")]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0

    def verify(self, file):
        """Also reads all of it."""
        # libnfs mounts what precedes the last slash.
        url = f"nfs://127.0.0.1//{file.name}?version=3&nfsport={self.port}&mountport={self.mount_port}"
        command = f"timeout {PATIENCE_SECONDS} nfs-cat '{url}' | sha256sum"
        told = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              preexec_fn=prepare_child, check=False)
        check_sha256(told.stdout[:64], file)


class SluiceNfs(NfsPeer):
    name = SLUICE
    on_page_cache = False

    def __init__(self, workspace, binary, cache_size):
        super().__init__(workspace, binary)
        self._binary = binary
        self._cache_size = cache_size

    def command(self):
        return [self._binary, "serve", "--log-level", "warning", "--cache-size", str(self._cache_size),
                "--nfs", f"127.0.0.1:{self.port}", "--nfs-squash", "none", *(TRUSTING if os.geteuid() == 0 else []),
                str(self.workspace.files)]


class Ganesha(NfsPeer):
    """From user space as Sluice, on the kernel's page cache. MOUNT has a port of its own."""

    name = "ganesha"
    program = "ganesha.nfsd"

    def __init__(self, workspace, client):
        super().__init__(workspace, client)
        if not self.out and os.geteuid() != 0:
            self.out = "only root can run it"

    def start(self):
        try:
            super().start()
        except Failed:
            self.stop()
            raise

    def command(self):
        self.mount_port = free_port()
        directory = self.workspace.folder(self.name)
        text = read_text(GANESHA_TEMPLATE)
        for word, value in {"PORT": self.port, "MOUNT_PORT": self.mount_port, "ROOT": self.workspace.files}.items():
            text = text.replace(f"@{word}@", str(value))
        configuration = directory / "ganesha.conf"
        configuration.write_text(text, encoding="utf-8")
        return ["unshare", "--mount", "--propagation", "private", "bash", str(GANESHA_START), str(configuration),
                str(directory / "ganesha.pid")]
