"""The folder of one tier: model files and all that is needed to trust and use them without us.

``folder`` seals and checks it, ``golden`` are its windows, ``sums`` its SHA256SUMS and ``card`` its
README.md, in which each target has a template of its own.
"""
