"""The knowledge engine: documents about architectures, and how to find them.

documents   what is held: documents, and the passages that they are searched by
base        the knowledge base: add, search, list; an embedded LanceDB table
table       that table on disk: its columns, format, lock and index
embeddings  from texts to vectors, by name
sources     where documents come from, each one a component of the plugin registry
remote      how the sources that ask a service do so: rate, cache, time-outs
engine      the base and the live sources together: what an operator asks
"""
