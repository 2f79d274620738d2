"""Providers of network services on a physical network, and the elements that they are made of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import InUse, InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.network import Network
from mgmt_server.model.offering import NetworkOfferingService
from mgmt_server.model.tenancy import ADMINS, ROOT
from mgmt_server.model.zone import PhysicalNetwork, Provider, RouterElement
from mgmt_server.resources.checks import alone, one_of
from mgmt_server.resources.networkprovider.services import (
    ALL_OR_NOTHING,
    BALANCERS,
    CAPABILITIES,
    PROVIDERS,
    ROUTERS,
    WITH_ELEMENT,
    providers_of,
)
from mgmt_server.resources.networkprovider.views import balancer_element_view, provider_view, router_element_view
from mgmt_server.resources.physicalnetwork.flows import done
from mgmt_server.resources.physicalnetwork.rows import remove_provider


@command("addNetworkServiceProvider", roles=ROOT, answers=provider_view, event="SERVICE.PROVIDER.CREATE")
def add(
    ctx: Context,
    name: str,
    physicalnetworkid: Use[PhysicalNetwork],
    servicelist: list[str] | None = None,
    destinationphysicalnetworkid: Use[PhysicalNetwork] | None = None,
) -> Accepted:
    """Add a provider of network services to a physical network; it starts disabled.

    name: VirtualRouter, VpcVirtualRouter, InternalLbVm, ConfigDrive or SecurityGroupProvider
    physicalnetworkid: the physical network
    servicelist: the services it gives; all that it can when left out
    destinationphysicalnetworkid: the physical network that it bridges to
    """
    alone(ctx, physicalnetworkid)
    found = one_of("name", name, tuple(PROVIDERS)) or ""
    there = select(Provider.id).where(Provider.physical_network_id == physicalnetworkid.id, Provider.name == found)
    if ctx.session.scalar(there) is not None:
        raise InvalidValue(
            f"provider {found} is on physical network {physicalnetworkid.name} already: enable it with "
            "updateNetworkServiceProvider"
        )
    provider = Provider(
        physical_network_id=physicalnetworkid.id,
        name=found,
        services=_services(found, servicelist),
        destination_physical_network_id=destinationphysicalnetworkid and destinationphysicalnetworkid.id,
    )
    ctx.session.add(provider)
    ctx.session.flush()
    if found in WITH_ELEMENT:
        ctx.session.add(RouterElement(provider_id=provider.id))
    ctx.describe(f"adding provider {found} to physical network {physicalnetworkid.name}")
    return ctx.start(done, provider)


@command("updateNetworkServiceProvider", roles=ROOT, answers=provider_view, event="SERVICE.PROVIDER.UPDATE")
def update(
    ctx: Context, id: Operate[Provider], state: str | None = None, servicelist: list[str] | None = None
) -> Accepted:
    """Enable or disable a provider, or change the services that it gives.

    id: the provider
    state: Enabled or Disabled
    servicelist: the services it gives from now on
    """
    alone(ctx, id)
    wanted = one_of("state", state, ("Enabled", "Disabled", "Shutdown"))
    if wanted == "Enabled" and id.name in WITH_ELEMENT:
        configured = select(RouterElement.id).where(RouterElement.provider_id == id.id, RouterElement.enabled)
        if ctx.session.scalar(configured.limit(1)) is None:
            kind = "InternalLoadBalancer" if id.name in BALANCERS else "VirtualRouter"
            raise InvalidValue(f"provider {id.name} has no enabled element: call configure{kind}Element first")
    if servicelist is not None:
        id.services = _services(id.name, servicelist)
    id.state = wanted or id.state
    ctx.describe(f"changing provider {id.name}")
    return ctx.start(done, id)


@command("deleteNetworkServiceProvider", roles=ROOT, event="SERVICE.PROVIDER.DELETE")
def delete(ctx: Context, id: Operate[Provider]) -> Accepted:
    """Delete a provider that no network uses.

    id: the provider
    """
    alone(ctx, id)
    used = (
        select(Network.name)
        .join(NetworkOfferingService, NetworkOfferingService.offering_id == Network.offering_id)
        .where(
            NetworkOfferingService.provider == id.name,
            Network.physical_network_id == id.physical_network_id,
            Network.removed.is_(None),
        )
    )
    name = ctx.session.scalar(used.limit(1))
    if name is not None:
        raise InUse(f"the network {name} uses provider {id.name}: delete it first")
    ctx.describe(f"deleting provider {id.name}")
    accepted = ctx.start(done, id)
    remove_provider(ctx.session, id.id)
    return accepted


@command("listNetworkServiceProviders", roles=ROOT, answers=provider_view)
def list_providers(
    ctx: Context,
    name: str | None = None,
    physicalnetworkid: Use[PhysicalNetwork] | None = None,
    state: str | None = None,
) -> Rows:
    """List providers of network services.

    name: those of this name
    physicalnetworkid: those of this physical network
    state: Enabled or Disabled
    """
    return Rows(provider_view).where(
        name=name, physical_network_id=physicalnetworkid, state=state and state.capitalize()
    )


@command("listSupportedNetworkServices", roles=ROOT, key="networkservice", reads=True)
def supported(ctx: Context, provider: str | None = None, service: str | None = None) -> list[dict[str, Any]]:
    """List network services, with who can give them and what of them an offering may choose.

    provider: those that this provider can give
    service: this one alone
    """
    return [
        {
            "name": name,
            "provider": [
                {"name": p, "canenableindividualservice": p not in ALL_OR_NOTHING} for p in providers_of(name)
            ],
            "capability": [{"name": c, "canchooseservicecapability": free} for c, free in capabilities.items()],
        }
        for name, capabilities in CAPABILITIES.items()
        if service in (None, name) and (provider is None or provider in providers_of(name))
    ]


@command(
    "createVirtualRouterElement",
    roles=ADMINS,
    answers=router_element_view,
    event="SERVICE.PROVIDER.CREATE",
    unsupported=("providertype",),
)
def create_router_element(ctx: Context, nspid: Operate[Provider]) -> Accepted:
    """Add the element of a virtual router provider; one that is there is answered again.

    nspid: the provider
    """
    return _element(ctx, nspid, ROUTERS)


@command("configureVirtualRouterElement", roles=ADMINS, answers=router_element_view, event="NETWORK.ELEMENT.CONFIGURE")
def configure_router_element(ctx: Context, id: Operate[RouterElement], enabled: bool) -> Accepted:
    """Enable or disable the element of a virtual router provider.

    id: the element
    enabled: whether routers may be made
    """
    return _configure(ctx, id, enabled, ROUTERS)


@command("listVirtualRouterElements", roles=ADMINS, answers=router_element_view)
def list_router_elements(
    ctx: Context,
    id: Use[RouterElement] | None = None,
    nspid: Use[Provider] | None = None,
    enabled: bool | None = None,
) -> Rows:
    """List the elements of virtual router providers.

    id: this one alone
    nspid: those of this provider
    enabled: those that are enabled, or are not
    """
    found = Rows(router_element_view).where(Provider.name.in_(ROUTERS))
    return found.where(id=id and id.id, provider_id=nspid, enabled=enabled)


@command(
    "createInternalLoadBalancerElement", roles=ADMINS, answers=balancer_element_view, event="SERVICE.PROVIDER.CREATE"
)
def create_balancer_element(ctx: Context, nspid: Operate[Provider]) -> Accepted:
    """Add the element of an internal load balancer provider; one that is there is answered again.

    nspid: the provider
    """
    return _element(ctx, nspid, BALANCERS)


@command(
    "configureInternalLoadBalancerElement",
    roles=ADMINS,
    answers=balancer_element_view,
    event="NETWORK.ELEMENT.CONFIGURE",
)
def configure_balancer_element(ctx: Context, id: Operate[RouterElement], enabled: bool) -> Accepted:
    """Enable or disable the element of an internal load balancer provider.

    id: the element
    enabled: whether it may be used
    """
    return _configure(ctx, id, enabled, BALANCERS)


@command("listInternalLoadBalancerElements", roles=ADMINS, answers=balancer_element_view)
def list_balancer_elements(
    ctx: Context,
    id: Use[RouterElement] | None = None,
    nspid: Use[Provider] | None = None,
    enabled: bool | None = None,
) -> Rows:
    """List the elements of internal load balancer providers.

    id: this one alone
    nspid: those of this provider
    enabled: those that are enabled, or are not
    """
    found = Rows(balancer_element_view).where(Provider.name.in_(BALANCERS))
    return found.where(id=id and id.id, provider_id=nspid, enabled=enabled)


def _services(name: str, wanted: list[str] | None) -> list[str]:
    if wanted is None:
        return list(PROVIDERS[name])
    chosen = [one_of("servicelist", service, PROVIDERS[name]) or "" for service in wanted]
    if name in ALL_OR_NOTHING and set(chosen) != set(PROVIDERS[name]):
        raise InvalidValue(f"services of {name} cannot be chosen one by one: leave servicelist out")
    return chosen


def _element(ctx: Context, provider: Provider, kinds: tuple[str, ...]) -> Accepted:
    if provider.name not in kinds:
        raise InvalidValue(f"nspid is provider {provider.name}: only {' and '.join(kinds)} have such an element")
    alone(ctx, provider)
    element = ctx.session.scalar(select(RouterElement).where(RouterElement.provider_id == provider.id))
    if element is None:
        element = RouterElement(provider_id=provider.id)
        ctx.session.add(element)
        ctx.session.flush()
    return ctx.start(done, element)


def _configure(ctx: Context, element: RouterElement, enabled: bool, kinds: tuple[str, ...]) -> Accepted:
    provider = ctx.session.get_one(Provider, element.provider_id)
    if provider.name not in kinds:
        raise InvalidValue(f"the element belongs to provider {provider.name}, not to {' or '.join(kinds)}")
    element.enabled = enabled
    ctx.describe(f"{'enabling' if enabled else 'disabling'} the element of provider {provider.name}")
    return ctx.start(done, element)
