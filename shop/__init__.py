"""What the shop means: values and decisions. numpy in, numpy out; no clock, disk or network."""
