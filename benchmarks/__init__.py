"""Measurements that a promise of the README or of docs/design.md rests on. `make bench` prints them all."""
