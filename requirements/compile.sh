#!/bin/sh
# Renews the locked versions with their hashes; run after pyproject.toml changed.
set -eu
cd "$(dirname "$0")/.."
lock() { uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q "$@"; }
lock -o requirements/app.txt
lock --extra postgres --group dev -o requirements/dev.txt
printf 'uv>=0.9\nhatchling>=1.27\neditables>=0.5\n' | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements/bootstrap.txt
