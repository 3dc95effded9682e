"""Measurements that anyone can repeat, and the scripted server that they and the tests use."""
