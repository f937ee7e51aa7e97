"""The console: the web page where merchandisers review texts and operators see the stack."""
