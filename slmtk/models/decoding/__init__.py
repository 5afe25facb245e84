"""Many prompts -> codes: positions run through the backbone one by one. Tokens -> codes."""
