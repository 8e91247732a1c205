"""A tree of C sources that is made up: what is unpacked, cloned and built in the rows of trees."""

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from processes import PATIENCE_SECONDS, Failed, run_client

FILES_PER_FOLDER = 20
LINES_MOST = 150
MAKEFILE = """OBJECTS := $(patsubst %.c,%.o,$(wildcard */*.c))
program: $(OBJECTS)
\t$(CC) -o $@ $(OBJECTS)
%.o: %.c all.h
\t$(CC) -O0 -I. -c -o $@ $<
"""


@dataclass(frozen=True)
class SourceTree:
    """folder holds the sources, archive the same as tar, repository the same in git. The built program prints `answer`."""

    folder: Path
    archive: Path
    repository: Path
    answer: str
    files: int


def make(root, count):
    """`count` sources, below a new folder `root`."""
    folder = root / "sources"
    tree = SourceTree(folder, root / "sources.tar", root / "repository", str(sum(range(count))), count + 2)
    folder.mkdir(parents=True)
    write_sources(folder, count)
    run_client(["tar", "-C", str(folder), "-cf", str(tree.archive), "."], PATIENCE_SECONDS)
    shutil.copytree(folder, tree.repository)
    git(tree.repository, "init", "-q")
    git(tree.repository, "add", "-A")
    git(tree.repository, "-c", "user.name=compare", "-c", "user.email=compare@localhost", "commit", "-q", "-m", "sources")
    return tree


def write_sources(folder, count):
    lengths = random.Random(3)
    calls, declarations = [], []
    for number in range(count):
        path = folder / str(number // FILES_PER_FOLDER) / f"source_{number}.c"
        path.parent.mkdir(exist_ok=True)
        lines = "".join(f"/* {os.urandom(24).hex()} */\n" for _ in range(lengths.randrange(1, LINES_MOST)))
        path.write_text(f'#include "all.h"\n{lines}int value_{number}(void) {{ return {number}; }}\n', encoding="ascii")
        declarations.append(f"int value_{number}(void);\n")
        calls.append(f"  sum += value_{number}();\n")
    (folder / "all.h").write_text("".join(declarations), encoding="ascii")
    (folder / "Makefile").write_text(MAKEFILE, encoding="ascii")
    main = '#include <stdio.h>\n#include "all.h"\nint main(void) {\n  long sum = 0;\n' + "".join(calls)
    (folder / "0" / "main.c").write_text(main + '  printf("%ld\\n", sum);\n  return 0;\n}\n', encoding="ascii")


def git(folder, *words):
    """Whatever the user's own configuration says."""
    environment = ["env", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1"]
    return run_client([*environment, "git", "-C", str(folder), *words], PATIENCE_SECONDS)


def same(tree, folder):
    """Raises Failed where a copy of it is not the same."""
    try:
        run_client(["diff", "-r", "--exclude=.git", str(tree.folder), str(folder)], PATIENCE_SECONDS)
    except Failed as error:
        raise Failed(f"{folder.name}: the bytes are wrong: {error}") from None
