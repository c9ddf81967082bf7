"""Measurements through the public interface; the Rust crates hold their own criterion benches."""
