"""Jobshelf: a shelf of vetted single-file UV scripts, and the tools that vet, run and publish them."""
