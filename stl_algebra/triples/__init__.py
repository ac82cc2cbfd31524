"""The triple product property: which groups realise which formats (Cohn & Umans, 2003).

Theory of groups; candidates made from triples are the family `families.fourier`.
"""
