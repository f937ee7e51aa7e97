"""Design decisions, kept by tests."""
