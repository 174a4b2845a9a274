"""What a run says about itself while it trains: metrics, pictures, progress, use of the device."""
