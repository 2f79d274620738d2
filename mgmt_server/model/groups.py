"""The groups and subgroups under which settings are shown. The first rule that fits a setting's name decides."""

from __future__ import annotations

import re

OTHERS = ("Miscellaneous", "Others")
DESCRIPTIONS = {
    "Access": "Who may do what: accounts, domains, projects, log-in, directories",
    "Compute": "Machines and their high availability",
    "Storage": "Volumes, snapshots and images",
    "Network": "Networks, addresses, VPCs, load balancers and VPNs",
    "Hypervisor": "Hypervisors and what is special about each",
    "Management Server": "The servers themselves: jobs, events, alerts, agents, limits",
    "System VMs": "Routers, console proxies and secondary storage machines",
    "Infrastructure": "Zones, pods, clusters, hosts and storage",
    "Usage Server": "What is counted and charged",
    "Miscellaneous": "All others",
}
# A word is what stands between dots
_RULES = (
    (r"event\..*", "Management Server", "Events"),
    (r"alert\..*|.*notificationthreshold|capacity\.check\.period", "Management Server", "Alerts"),
    (r"ldap\..*", "Access", "LDAP"),
    (r"saml2\..*", "Access", "SAML"),
    (
        r"(api|session|password|login|user|incorrect|enable\.user|mandate\.user|proxy|role|enforce)\b.*",
        "Access",
        "Account",
    ),
    (r"vpc\..*|.*\bvpc\b.*", "Network", "VPC"),
    (r"(remote\.access|site2site)\..*", "Network", "VPN"),
    (r".*\b(loadbalancer|haproxy|lb)\b.*", "Network", "LoadBalancer"),
    (r".*\b(router|vr|virtual\.router)\b.*", "System VMs", "VirtualRouter"),
    (r".*(consoleproxy|\bconsole\b|novnc).*", "System VMs", "ConsoleProxyVM"),
    (r"(system|systemvm|ssh\.publickey|management\.network)\b.*", "System VMs", "SystemVM"),
    (r"(secstorage|secondary|nfs|image\.store)\b.*", "Infrastructure", "Secondary Storage"),
    (r".*\b(network|networkname|vlan|vlans|ipaddress|cidrs|ips|dns|macaddress|nic)\b.*", "Network", "Network"),
    (r".*\bproject\b.*|project\..*", "Access", "Project"),
    (r".*\b(account|accounts)\b.*", "Access", "Account"),
    (r".*\b(domain|domains)\b.*", "Access", "Domain"),
    (r"vmsnapshot\..*", "Storage", "VM Snapshot"),
    (r".*snapshot.*", "Storage", "Snapshot"),
    (r".*\b(diskoffering|volume)\b.*", "Storage", "Volume"),
    (r".*\b(template|templates|iso)\b.*", "Storage", "Images"),
    (r"cloud\.kubernetes\..*", "Compute", "Kubernetes"),
    (r"ha\..*|.*\bha\b.*", "Compute", "High Availability"),
    (r"(vm|instance)\..*|.*\b(vm|vms|processors)\b.*", "Compute", "Virtual Machine"),
    (r"kvm\..*", "Hypervisor", "KVM"),
    (r"(vmware|vsphere)\..*", "Hypervisor", "VMware"),
    (r"(xen|xenserver|xapi)\..*", "Hypervisor", "XenServer"),
    (r".*\b(hypervisor|kvm)\b.*", "Hypervisor", "Hypervisor"),
    (r"(storage|pool|primary|sp)\..*", "Infrastructure", "Primary Storage"),
    (r"(zone|pod|cluster|host|cpu|mem)\..*", "Infrastructure", "Zones and hosts"),
    (r"(usage|quota)\..*", "Usage Server", "Usage"),
    (r".*\bjob\b.*", "Management Server", "Jobs"),
    (r".*\bagent\b.*|ca\..*", "Management Server", "Agent"),
    (r"ping\.interval|workers|.*\b(expunge|purge)\.(delay|interval|workers)", "Management Server", "Limits"),
    (r"(resource\.|resourcecount).*", "Management Server", "Limits"),
)
RULES = tuple((re.compile(pattern), group, subgroup) for pattern, group, subgroup in _RULES)


def group_of(name: str) -> tuple[str, str]:
    """Group and subgroup of a setting.

    >>> group_of("network.throttling.rate")
    ('Network', 'Network')
    """
    for pattern, group, subgroup in RULES:
        if pattern.fullmatch(name):
            return group, subgroup
    return OTHERS
