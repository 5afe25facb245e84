"""Speaker encoders: speech -> a vector that says who speaks. One module each, found through the plug-in door."""
