"""The stages of a run: each a key that says what it depends on, and a function.

The function takes values to a small frozen result. A key is made of hashes and settings alone, so a
whole run's keys are known before anything heavy is loaded. Only what stands behind the
student (`exporting`, `checking`, `gates`, and `compress.reporting`) knows the package `exporters`.
"""
