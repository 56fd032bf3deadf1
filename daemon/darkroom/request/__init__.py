"""What is asked, and what it becomes."""
