"""A local authority and a certificate for this machine: https in a network without a domain."""
