"""The report of a run: ``report.json`` is the source, Markdown and pictures are made from it.

This file imports nothing: recipes and commands read the table of figures, which is light.
"""
