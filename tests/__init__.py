"""Behaviour through the public interface; README.md here says which room holds what."""
