"""Where documents come from: each source is a component that the plugin hook registers.

library           the reference cards that ship with the project
folder            your own files: Markdown, text, PDF, BibTeX, JSON lines
arxiv             arXiv's public interface
semantic_scholar  the graph interface of Semantic Scholar
web               any search endpoint in the style of OpenAI's
"""
