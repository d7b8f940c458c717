"""The commands, one module each: read arguments and settings, call the shell, say how it went."""
