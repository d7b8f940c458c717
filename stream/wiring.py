"""Where settings become what the shell is told: one function a package of the shell."""
