"""Kubernetes: which cluster answers, its Secrets, and a small platform of its own for tests."""
