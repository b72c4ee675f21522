"""A simulated building: physics, and devices that speak real BACnet/IP and Modbus TCP."""
