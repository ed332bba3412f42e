#!/bin/sh
# Renews the locked versions with their hashes (needs uv); run it after pyproject.toml changed.
set -eu
cd "$(dirname "$0")/.."
lock() {
  uv pip compile --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --no-annotate -q "$@"
}
printf 'hatchling>=1.27\neditables>=0.5\n' | lock - -o requirements/build.txt
lock pyproject.toml -o requirements/app.txt
lock pyproject.toml --extra postgres -o requirements/postgres.txt
lock pyproject.toml --extra postgres --group dev -o requirements/dev.txt
printf 'aiosqlite\ndbos>=3.4\nlanggraph>=1.2\nlanggraph-checkpoint-postgres>=3.2\nlanggraph-checkpoint-sqlite>=3.1\npsycopg[binary,pool]>=3.3\nuvloop>=0.23\n' | lock - -o requirements/bench.txt
