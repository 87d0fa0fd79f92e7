"""What is shown, as pure functions from objects (as the API server gives them) to text, tables and trees.

Fields that an older operator does not write are shown as nothing; nothing here fails for want of one.
"""
