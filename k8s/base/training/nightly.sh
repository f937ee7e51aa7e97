#!/bin/sh
# From the shop's newest data to the release that is served. What is finished is not done again
# when the job is tried anew; a release that does not pass the checks of its export is not promoted.
set -eu
day=$(date -u +%Y%m%d)
state=/var/lib/vitrine
snapshot="$state/snapshots/$day"
model="$state/models/$day"
test -e "$snapshot/manifest.json" ||
  python -m vitrine data import "$SOURCE" /data --out "$snapshot"
python -m vitrine train all --data "$snapshot" --out "$model"
release=$(python -m vitrine export "$day" --snapshot "$snapshot" --state-dir "$state" --json |
  python -c 'import json, sys; print(json.load(sys.stdin)["release"])')
python -m vitrine promote "$release" --state-dir "$state" --triton "$TRITON"
python -m vitrine releases --prune 5 --state-dir "$state"
