"""What people drop: listed, judged, taken."""
