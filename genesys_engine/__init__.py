"""genesys-engine: a plugin-based evolutionary engine that discovers language-model architectures.

`gab` holds the genome, `plugins` the hooks and the built-in components, `operators` the
variation, `engine` the loop and the command line.  Nothing heavy is imported here.
"""

__version__ = "0.1.0"
