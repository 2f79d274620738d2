"""Guest operating systems and templates."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ColumnElement, String, UniqueConstraint, select, true
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Bytes, Long, refers, remembers
from mgmt_server.model.account import Domain
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import Caller, Internal, Offered, Owned, ancestors

SHARED = Setting(
    "share.public.templates.with.other.domains",
    "Whether a domain's public templates and ISOs are for everybody; otherwise for it and the domains below it alone",
)


class OsCategory(Offered, Base):
    __tablename__ = "os_category"

    name: Mapped[str]
    featured: Mapped[bool] = mapped_column(default=False)
    sort_key: Mapped[int] = mapped_column(default=0)


class OsType(Offered, Base):
    __tablename__ = "os_type"

    name: Mapped[str]
    category_id: Mapped[int] = refers("os_category")
    display: Mapped[bool] = mapped_column(default=True)
    user_defined: Mapped[bool] = mapped_column(default=False)
    platform: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)  # hypervisor -> its name for this OS
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class Template(Owned, Base):
    """A template or an ISO (`format` ISO)."""

    __tablename__ = "template"

    name: Mapped[str]
    display_text: Mapped[str | None] = mapped_column(String(4096))
    unique_name: Mapped[str]
    type: Mapped[str] = mapped_column(default="USER")  # SYSTEM, BUILTIN, VNF, DATADISK
    parent_id: Mapped[int | None] = refers("template")  # of a DATADISK: the template whose OVA it came with
    format: Mapped[str]  # QCOW2, VHD, RAW, OVA, ISO
    hypervisor: Mapped[str]
    arch: Mapped[str] = mapped_column(default="x86_64")
    url: Mapped[str | None] = mapped_column(String(2048))
    checksum: Mapped[str | None]
    os_type_id: Mapped[int | None] = refers("os_type")
    public: Mapped[bool] = mapped_column(default=False)
    featured: Mapped[bool] = mapped_column(default=False)
    extractable: Mapped[bool] = mapped_column(default=False)
    cross_zones: Mapped[bool] = mapped_column(default=False)
    bootable: Mapped[bool] = mapped_column(default=True)
    requires_hvm: Mapped[bool] = mapped_column(default=True)
    password_enabled: Mapped[bool] = mapped_column(default=False)
    ssh_key_enabled: Mapped[bool] = mapped_column(default=False)
    dynamically_scalable: Mapped[bool] = mapped_column(default=False)
    direct_download: Mapped[bool] = mapped_column(default=False)
    deploy_as_is: Mapped[bool] = mapped_column(default=False)
    user_data_id: Mapped[int | None] = refers("user_data")  # linked: machines from it read that too
    user_data_policy: Mapped[str | None] = mapped_column(String(20))  # ALLOWOVERRIDE, APPEND, DENYOVERRIDE
    source_volume_id: Mapped[int | None] = remembers()  # it was made from
    source_snapshot_id: Mapped[int | None] = remembers()
    tag: Mapped[str | None]
    size: Mapped[Bytes] = mapped_column(default=0)  # virtual
    state: Mapped[str] = mapped_column(default="Active")
    sort_key: Mapped[int] = mapped_column(default=0)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    appliance: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # what its OVA's description says: `nics`

    @property
    def family(self) -> int:
        """The template that it belongs to: itself, or the one whose OVA it came with."""
        return self.parent_id or self.id

    @classmethod
    def offered(cls, caller: Caller) -> ColumnElement[bool]:
        return ((cls.public | cls.featured) & (cls.type != "SYSTEM") & cls._open_to(caller)) | cls.shared_with(caller)

    @classmethod
    def _open_to(cls, caller: Caller) -> ColumnElement[bool]:
        """What is public in a domain that keeps it to itself is so for that domain and those below it alone."""
        own = {number: value.strip().lower() == "true" for number, value in SHARED.by_scope("Domain").items()}
        closed = [number for number, shares in own.items() if not shares]
        if SHARED.flag() and not closed:
            return true()
        above = select(Domain.id).where(Domain.path.in_(ancestors(caller.domain_path)))
        if SHARED.flag():
            return cls.domain_id.not_in(closed) | cls.domain_id.in_(above)
        return cls.domain_id.in_([number for number, shares in own.items() if shares]) | cls.domain_id.in_(above)

    @classmethod
    def shared_with(cls, caller: Caller) -> ColumnElement[bool]:
        mine = LaunchPermission.account_id.in_((caller.account_id, *caller.projects))
        return cls.id.in_(select(LaunchPermission.template_id).where(mine))


class TemplateInZone(Owned, Base):
    """That a template is for a zone: what listTemplates has an entry for. The image is a row of template_on_store."""

    __tablename__ = "template_in_zone"
    __table_args__ = (UniqueConstraint("template_id", "zone_id"), Base.__table_args__)

    template_id: Mapped[int] = refers("template")
    zone_id: Mapped[int] = refers("zone")


class LaunchPermission(Internal, Base):
    """An account that may use a template that is not public."""

    __tablename__ = "launch_permission"
    __table_args__ = (UniqueConstraint("template_id", "account_id"), Base.__table_args__)

    template_id: Mapped[int] = refers("template")
    account_id: Mapped[int] = refers("account")


class DownloadCertificate(Internal, Base):
    """A certificate that hosts of a zone trust where they fetch templates from their URLs."""

    __tablename__ = "download_certificate"

    name: Mapped[str]
    certificate: Mapped[Long]  # PEM
    hypervisor: Mapped[str]
    zone_id: Mapped[int] = refers("zone")
    only: Mapped[list[str]] = mapped_column(JSON, default=list)  # hosts (uuid) that use it; empty: all, also later ones
    revoked: Mapped[list[str]] = mapped_column(JSON, default=list)  # hosts that do not
