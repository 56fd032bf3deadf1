"""What people get: answers and results."""
