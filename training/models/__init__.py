"""The networks that recipes train, each with its losses; pure torch, one package per recipe."""
