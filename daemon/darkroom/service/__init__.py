"""The long life: one thread that orders every request's way."""
