#!/bin/bash
# As front_ends, with delayed writes: every front end sees them at once, the backing after an fsync.
WRITE_MODE=back exec bash "$(dirname "$0")/front_ends.sh"
