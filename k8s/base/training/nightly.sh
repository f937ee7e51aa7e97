#!/bin/sh
# From the shop's newest data to a release, and past the gate to the doors. What is finished is not
# done again when the job is tried anew. Exit code 3: the release is sound and worse than the active
# one; it stays on the shelf, and nobody tries again (podFailurePolicy).
set -eu
day=$(date -u +%Y%m%d)
state=/var/lib/vitrine
snapshot="$state/snapshots/$day"
model="$state/models/$day"
built="$model/release" # which release was made of it: a second try exports nothing twice
test -e "$snapshot/manifest.json" ||
  python -m vitrine data import "$SOURCE" /data --out "$snapshot"
python -m vitrine train all --data "$snapshot" --out "$model"
if ! test -s "$built"; then
  python -m vitrine export "$day" --snapshot "$snapshot" --state-dir "$state" --json |
    python -c 'import json, sys; print(json.load(sys.stdin)["release"])' > /tmp/release
  cp /tmp/release "$built"
fi
release=$(cat "$built")
# Whom descriptions are written of, and in which voice; their door reads both when it starts.
test -e "$state/descriptions/brand.npz" ||
  python -m training.brand_voice --products "$snapshot/products.parquet" --out "$state/descriptions"
ln -sfn "$day" "$state/snapshots/CURRENT"
# Two weeks of data and models; releases are pruned by number, below.
find "$state/snapshots" "$state/models" -mindepth 1 -maxdepth 1 -type d -mtime +14 -exec rm -rf {} +
python -m export.gate "$release" --state-dir "$state"
if test "$PROMOTE" = gated; then
  python -m vitrine promote "$release" --state-dir "$state" --triton "$TRITON"
  python -m vitrine releases --prune 5 --state-dir "$state"
else
  echo "$release waits for a person: cronjob vitrine-promote"
fi
