"""Physics of frozen ground: the soil column, soil and snow properties, closed solutions."""
