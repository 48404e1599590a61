"""Networks: `bridge` (the default), `host` and `none`; addresses, published ports, resolvers.

What a container's start and end need of this room is three calls on `NetworkStore`:

    endpoint = networks.connect(container_id, name=…, hostname=…, ports=[PortMapping(…)])
    …  the bundle's network namespace is `endpoint.namespace`, its address `endpoint.address`;
    …  `networks.hosts_file(…)` and `networks.resolv_conf(…)` give the two files' bytes
    networks.disconnect(container_id)          # idempotent; on every exit and removal

`host` and `none` need no `connect`: the runtime shares, or makes, the namespace itself.
"""
