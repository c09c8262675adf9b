"""Training: state, schedules, checkpoints, metrics, the loop and scoring."""
