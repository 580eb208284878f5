"""AWS services of our own. None of them knows which engine carries it."""
