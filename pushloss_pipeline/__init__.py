"""Daily push-loss figures of Tencent Cloud Chat, kept for years."""
