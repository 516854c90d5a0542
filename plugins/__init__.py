"""Plugins: the replaceable parts, and the one way to replace them.

`hookspecs` holds every hook on one screen.  A plugin is a module, a class or an object with
functions marked `hookimpl`; it is found through an entry point in the group `genesys_engine`.
In its *registration* hooks it describes components (a trainer, a selector, an operator ...) by
name and by a "module:Class" string, so that listing them imports nothing.  In its *decision*
hooks it may answer a question of the loop; in its *event* hook it only watches.

`host` finds plugins and calls them, each one on its own, so that a broken one hurts nobody who
does not use it.  `registry` keeps the descriptions; `targets` turns one into an instance, here
and in the worker processes, which know nothing of plugins but such a string and options as
JSON.  `builtin` registers what the project brings along, through the same hooks.

`sandbox` runs jobs in isolated processes, `auditor` judges blocks in them.

Authors of plugins import from `genesys_engine.plugins.api` only.  The folder may import `gab`.
"""
