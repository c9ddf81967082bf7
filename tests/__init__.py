"""Behaviour through the public interface; README.md lists the directories."""
