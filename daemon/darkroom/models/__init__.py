"""What a model is and can do, known without torch."""
