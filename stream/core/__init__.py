"""The pure stages: no clock, no environment, no I/O, no logging."""
