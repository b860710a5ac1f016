"""The registry: names, versions, variants and the bytes behind them."""
