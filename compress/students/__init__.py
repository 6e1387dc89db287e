"""Students: one file an architecture.

Each defines ``build(settings, outputs, limits)`` and ``from_config(fields)``.
"""
