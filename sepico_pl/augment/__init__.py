"""How images are changed on the device: crop, appearance, class mix."""
