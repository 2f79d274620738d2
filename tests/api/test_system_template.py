"""The system VM image: what is found on a store is what routers' disks are made for."""

from sqlalchemy import select

from mgmt_server.db import reading, write
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template.flows import have_system_template
from tests.simulated import build

SIZE = 3 * 2**30


def test_its_size_is_that_of_the_image_on_the_store(cloud):
    build()
    for size in (SIZE, 0):  # a look that cannot tell the size forgets nothing
        write(
            lambda tx, size=size: have_system_template(
                tx, tx.scalar(select(Zone.id)), tx.scalar(select(ImageStore.id)), path="template/tmpl/1/3/x", size=size
            )
        )
    with reading() as session:
        template = session.scalar(select(Template).where(Template.hypervisor == "KVM", Template.type == "SYSTEM"))
        assert template.size == SIZE
        assert (
            session.scalar(select(TemplateOnStore.state).where(TemplateOnStore.template_id == template.id)) == "Ready"
        )
