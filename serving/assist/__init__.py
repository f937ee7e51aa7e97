"""Assist: answers to shoppers' questions, from the products that a search finds."""
