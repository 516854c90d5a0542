#!/bin/sh
# Start the head of a Ray cluster in this container, or join one, and stay until it ends.
set -eu
case "$#:${1:-}" in
  1:head) exec ray start --head --port=6379 --block ;;
  2:worker) exec ray start --address="$2" --block ;;
  *) echo "usage: head | worker HEAD:PORT" >&2; exit 2 ;;
esac
