"""What callgauge costs, measured against a bare loop and against Faust, in one run on one machine."""
