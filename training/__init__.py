"""From logged behaviour to trained models: data, models, algorithms, evaluation."""

import os

# Before torch is loaded: its threads then sleep while they wait for each other. Spinning, they take
# seven times as long where something else wants the cores too (measured on two cores, load 5).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
