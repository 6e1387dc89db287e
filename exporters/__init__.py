"""A torch module and its signature in, a verified model file out, and the report on what it lost.

This package stands alone: it knows nothing of teachers, recipes or training. One module a target
(``onnx``, ...) turns a module into a file and opens that file again; ``parity`` and ``benchmark``
work on any of them through ``runtime.Runtime``; ``report`` writes down what was measured.
"""
