"""What every request passes: keys, limits, bodies, problem documents; nothing of jobs."""
