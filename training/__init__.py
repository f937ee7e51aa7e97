"""From logged behaviour to trained models: data, models, algorithms, evaluation."""
