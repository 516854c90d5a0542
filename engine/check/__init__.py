"""The *check* of a design before it is trained, the full audit, and the *confirmation* of a leader.

All of them send jobs to isolated workers; what these do is in `plugins/auditor/`.  May import
`common`, `store` and `jobs`.
"""
