"""What runs on the hosts of a lab, or between them, in processes of its own."""
