#!/bin/bash
# As random_ops, with delayed writes: the backing shows them after an fsync.
WRITE_MODE=back exec bash "$(dirname "$0")/random_ops.sh"
