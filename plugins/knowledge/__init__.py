"""Knowledge sources and what they read."""
