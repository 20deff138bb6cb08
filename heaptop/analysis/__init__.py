"""What can be told from snapshots alone: pure functions over the model."""
