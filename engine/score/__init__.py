"""The *fitness* of a design: gains over the reference, noise, finals, and the verdict of a run.

Facts and numbers; `views` puts them into words.  May import `common` and `store`.
"""
