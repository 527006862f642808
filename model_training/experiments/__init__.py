"""What each ingredient of training brings: one change at a time against the same base, paired by seed."""
