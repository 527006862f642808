"""The same model and the same decode under other servers, each set up as its own documentation advises for throughput.

Each module runs in the virtual environment of its own server, with the repository on its path. `launch` says by the
environment which file, port, workers and body are wanted; `frame_model` is what all but the naive endpoint serve.
Choices that a maintainer of one of them would ask about are told in the docstring of its module.
"""
