"""Guest operating systems and their categories as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.template import OsCategory, OsType

os_category_view = View(
    "oscategory",
    OsCategory,
    response="GuestOSCategoryResponse",
    keyword=(OsCategory.name,),
    order=(OsCategory.sort_key, OsCategory.name),
    id=OsCategory.uuid,
    name=OsCategory.name,
    isfeatured=OsCategory.featured,
)

os_type_view = View(
    "ostype",
    OsType,
    response="GuestOSResponse",
    keyword=(OsType.name,),
    order=(OsType.name, OsType.id),
    joins=((OsCategory, OsCategory.id == OsType.category_id),),
    id=OsType.uuid,
    oscategoryid=OsCategory.uuid,
    oscategoryname=OsCategory.name,
    name=OsType.name,
    description=OsType.name,
    isuserdefined=OsType.user_defined,
    fordisplay=OsType.display,
)
