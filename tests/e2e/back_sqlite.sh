#!/bin/bash
# As sqlite, with delayed writes.
WRITE_MODE=back exec bash "$(dirname "$0")/sqlite.sh"
