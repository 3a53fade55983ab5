"""Recommenders: ratings or choices of users, learned by collaborative filtering."""
