"""What changes zones and what is in them, hosts and their controllers: each such command at least once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import update

from mgmt_server.agent.certificate import make_csr
from mgmt_server.db import now, write
from mgmt_server.drivers.hypervisor import dispatch
from mgmt_server.model.agent import Agent
from mgmt_server.model.host import Host
from mgmt_server.protocol.identity import CertificateRequest
from tests.api.infrastructure import POD
from tests.api.test_managementserver import silent
from tests.certificates import authority
from tests.contract.walk import Walk

BMC = {"driver": "simulator", "address": "192.0.2.7", "port": 623, "username": "root", "password": "of-the-bmc"}


def ranges(walk: Walk) -> None:
    ids = walk.ids
    pod, network = {"podid": ids["pod"]}, ids["createPhysicalNetwork1"]
    first = {"startip": "172.16.15.220", "endip": "172.16.15.221"}
    masked = {"gateway": "172.16.15.1", "netmask": "255.255.255.0"}
    walk("createManagementNetworkIpRange", vlan=7, **pod, **first, **masked)
    ends = {"currentstartip": first["startip"], "currentendip": first["endip"], "newendip": "172.16.15.223"}
    walk("updatePodManagementNetworkIpRange", **pod, **ends)
    walk("deleteManagementNetworkIpRange", vlan=7, **pod, **first | {"endip": "172.16.15.223"})
    storage = walk("addTrafficType", physicalnetworkid=network, traffictype="Storage")["id"]
    walk("updateTrafficType", id=storage, kvmnetworklabel="cloudbr1")
    apart = {"gateway": "10.9.0.1", "netmask": "255.255.255.0", "startip": "10.9.0.5", "endip": "10.9.0.9"}
    held = walk("createStorageNetworkIpRange", **pod, **apart)["id"]
    walk("updateStorageNetworkIpRange", id=held, endip="10.9.0.12")
    walk("deleteStorageNetworkIpRange", id=held)
    walk("deleteTrafficType", id=storage)
    public = {"gateway": "192.168.61.1", "netmask": "255.255.255.0", "startip": "192.168.61.2", "endip": "192.168.61.4"}
    public = walk("createVlanIpRange", zoneid=ids["zone"], vlan=61, forvirtualnetwork=True, **public)["id"]
    walk("updateVlanIpRange", id=public, endip="192.168.61.5")
    walk("dedicatePublicIpRange", id=public, domainid=ids["root"], account="admin")
    walk("releasePublicIpRange", id=public)
    walk("deleteVlanIpRange", id=public)
    vlans = {"physicalnetworkid": network, "vlanrange": "190-199"}
    vlans = walk("dedicateGuestVlanRange", account="admin", domainid=ids["root"], **vlans)["id"]
    walk("releaseDedicatedGuestVlanRange", id=vlans)


def pools(walk: Walk) -> None:
    ids = walk.ids
    sent = {"zoneid": ids["zone"], "podid": ids["pod"], "clusterid": ids["cluster"], "url": "nfs://192.0.2.9/spare"}
    pool = walk("createStoragePool", name="spare", **sent)["id"]
    walk("syncStoragePool", id=pool)
    walk("updateStoragePool", id=pool, enabled=False)
    walk("changeStoragePoolScope", id=pool, scope="ZONE")
    walk("updateStoragePool", id=pool, enabled=True)
    walk("enableStorageMaintenance", id=pool)
    walk("deleteStoragePool", id=pool)


def hosts(walk: Walk) -> None:
    ids = walk.ids
    where = {"Host": ids["host"], "Cluster": ids["cluster"], "Zone": ids["zone"]}
    host = {"hostid": ids["host"]}
    walk("configureOutOfBandManagement", **host, **BMC)
    walk("configureHAForHost", provider="SimulatorHAProvider", **host)
    for kind, one in where.items():
        there = {f"{kind.lower()}id": one}
        for what in ("HA", "OutOfBandManagement"):
            for verb in ("disable", "enable") if kind != "Host" else ("enable",):
                walk(f"{verb}{what}For{kind}", **there)
    walk("issueOutOfBandManagementPowerAction", action="STATUS", **host)
    walk("changeOutOfBandManagementPassword", password="an0ther-one", **host)
    walk("disableHAForHost", **host)
    walk("disableOutOfBandManagementForHost", **host)
    walk("updateHypervisorCapabilities", hypervisor="Simulator", maxguestslimit=50)
    walk("releaseHostReservation", id=ids["host"])
    trusted = {"certificate": authority()[0], "name": "images", "hypervisor": "Simulator", "zoneid": ids["zone"]}
    certificate = walk("uploadTemplateDirectDownloadCertificate", **trusted)["id"]
    walk("provisionTemplateDirectDownloadCertificate", id=certificate, **host)
    walk("revokeTemplateDirectDownloadCertificate", id=certificate, zoneid=ids["zone"])
    walk("startRollingMaintenance", hostids=ids["addHost3"])
    fault = walk("configureSimulator", zoneid=ids["zone"], name="stop", value="wait:1", count=1)
    walk("cleanupSimulatorMock", id=fault["id"])
    _lost(walk)
    _with_an_agent(walk)
    walk("removeManagementServer", id=silent("other").uuid)


def _lost(walk: Walk) -> None:
    """A host that answers no more is declared lost, and taken back."""
    host = walk.ids["addHost3"]
    walk("configureSimulator", name="*", value="lost:true", hostid=host)
    gone = {"disconnected": now() - timedelta(minutes=2)}
    write(lambda tx: tx.execute(update(Host).where(Host.uuid == host).values(**gone)) and None)
    walk("declareHostAsDegraded", id=host)
    walk("cleanupSimulatorMock")
    walk("cancelHostAsDegraded", id=host)


def _with_an_agent(walk: Walk) -> None:
    """A host whose agent sends a request for a certificate, and takes it; the one that it had is revoked."""
    host, key = walk.ids["addHost4"], ec.generate_private_key(ec.SECP256R1())
    driver = mock.Mock()
    driver.certificate_request.return_value = CertificateRequest(make_csr(key, "x"), "5")

    def join(tx: Any) -> None:
        agent = Agent(name="kvm1.example.org", kind="host", address="192.0.2.11", serial="5", next_serial="6")
        tx.add(agent)
        tx.flush()
        tx.execute(update(Host).where(Host.uuid == host).values(agent=agent.uuid, hypervisor="KVM"))

    write(join)
    with mock.patch.dict(dispatch._drivers, {"KVM": driver}):
        walk("provisionCertificate", hostid=host)
    walk("issueCertificate", domain="mirror.example.org")
    walk("revokeCertificate", serial="5")
    write(lambda tx: tx.execute(update(Host).where(Host.uuid == host).values(agent=None, hypervisor="Simulator")))


def system_vms(walk: Walk) -> None:
    for machine in walk.cloud.ask("listSystemVms")["systemvm"]:
        walk("migrateSystemVm", virtualmachineid=machine["id"], autoselect=True)
        walk("destroySystemVm", id=machine["id"])


def dedications(walk: Walk) -> None:
    ids = walk.ids
    for kind, one in (("Zone", ids["zone"]), ("Pod", ids["pod"]), ("Cluster", ids["cluster"]), ("Host", ids["host"])):
        there = {f"{kind.lower()}id": one}
        walk(f"dedicate{kind}", domainid=ids["root"], **there)
        walk(f"releaseDedicated{kind}", **there)


def a_place_that_goes(walk: Walk) -> None:
    """A zone with all that is in one, and none of it afterwards."""
    zone = {
        "zoneid": walk(
            "createZone", name="north", networktype="Advanced", dns1="192.0.2.53", internaldns1="192.0.2.53"
        )["id"]
    }
    network = walk("createPhysicalNetwork", name="n", **zone)["id"]
    found = walk.cloud.ask("listNetworkServiceProviders", physicalnetworkid=network)["networkserviceprovider"]
    providers = {p["name"]: p["id"] for p in found}
    walk("createVirtualRouterElement", nspid=providers["VirtualRouter"])
    walk("createInternalLoadBalancerElement", nspid=providers["InternalLbVm"])
    walk("deleteNetworkServiceProvider", id=providers["VirtualRouter"])
    walk("addNetworkServiceProvider", name="VirtualRouter", physicalnetworkid=network)
    pod = walk("createPod", **zone, **POD)["id"]
    cluster = {"clustername": "c1", "clustertype": "CloudManaged", "hypervisor": "Simulator"}
    cluster = walk("addCluster", podid=pod, **zone, **cluster)["id"]
    added = {"url": "http://sim/n/h1", "username": "root", "password": "x", "hypervisor": "Simulator"}
    host = walk("addHost", podid=pod, clusterid=cluster, **zone, **added)["id"]
    walk("deleteHost", id=host, forced=True)
    walk("deleteCluster", id=cluster)
    walk("deletePod", id=pod)
    walk("deletePhysicalNetwork", id=network)
    walk("deleteZone", id=zone["zoneid"])
