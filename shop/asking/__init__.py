"""Asking: a shopper's question, answered by sentences that the facts of shown products grant."""
