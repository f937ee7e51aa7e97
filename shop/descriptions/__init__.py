"""Descriptions: what a product page may say, and how a text is held to the product's facts."""
