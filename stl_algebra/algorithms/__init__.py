"""The bilinear algorithm as a value: its format, its factors, its tensor, its proof, its scores, its file.

Import from the modules. What does not belong here: making algorithms (`families`, `exact`), fitting them to
matrices (`stl_search`).
"""
