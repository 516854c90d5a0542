"""Sources of units, one a file: read as text by the library, never imported."""
