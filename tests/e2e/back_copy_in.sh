#!/bin/bash
# As copy_in, with delayed writes: times, rights and attributes are those of who copied, whenever the bytes got there.
WRITE_MODE=back GATEWAY_OPTIONS='--dirty-expire 200ms' exec bash "$(dirname "$0")/copy_in.sh"
