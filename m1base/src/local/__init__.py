"""The local runner: the plan as processes on this machine."""
