"""How a run tells others that it ended; no jax here, for those who start runs need none."""

# A run that was asked to stop, and has saved: launch.sweep, and schedulers, take it for "start me again".
EXIT_CODE = 42
# A run that has everything leaves this file; its text is the number of steps.
DONE_FILE = "DONE"
