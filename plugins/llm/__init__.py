"""Language models: the built-in back ends, and reading their replies.

litellm     any provider and any server that speaks OpenAI's protocol
llama_cpp   a GGUF file, in this process
replay      a recorded ledger, played again
scripted    replies from a list, for tests
replies     JSON and code out of what a model says
failures    what may go wrong, and whether asking again may help
"""
