"""What the shop means: values and decisions, pure. numpy in, numpy out; no clock, disk or network."""
