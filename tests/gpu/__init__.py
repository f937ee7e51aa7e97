"""What needs a GPU. Everything here is skipped, loudly, where there is none."""
