"""The vendor's API on loopback, written from its page and from nothing of ours."""
