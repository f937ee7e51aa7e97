#!/bin/sh
# What is served, from an object store: the folders `releases` and `model_repository`.
set -eu
rclone --config /secret/config copy "store:$BUCKET/releases" /store/releases
rclone --config /secret/config copy "store:$BUCKET/model_repository" /store/model_repository
