"""Tests of networks that their owners bring."""
