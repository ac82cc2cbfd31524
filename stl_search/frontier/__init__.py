"""The best algorithm of every rank: choosing, keeping, listing, exporting."""
