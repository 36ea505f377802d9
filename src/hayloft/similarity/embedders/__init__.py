"""What says how alike photos look: vectors of unit length, near for photos that are alike.

``builtin`` needs nothing; ``onnx`` runs any trained image encoder that comes as an ONNX file.
"""
