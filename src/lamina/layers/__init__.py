"""Layers: the layer store and the journals of exact tars."""
