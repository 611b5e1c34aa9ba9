"""moto's server, which also keeps what has the deletion policy RetainExceptOnCreate when a stack is deleted."""

from moto.cloudformation.parsing import ResourceMap
from moto.server import main

delete = ResourceMap.delete


def delete_except_retained(resources: ResourceMap) -> None:
    for resource in resources._resource_json_map.values():
        if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
            resource["DeletionPolicy"] = "Retain"
    delete(resources)


ResourceMap.delete = delete_except_retained
main()
