"""What the installation says that it can do."""


def test_capabilities_are_an_object_that_everybody_may_read(cloud):
    cloud.account("ann")
    told = cloud.ask("listCapabilities", user="ann")
    assert set(told) == {"capability"}
    found = told["capability"]
    assert found["cloudstackversion"].startswith("4.") and found["securitygroupsenabled"] is False
    assert (found["customdiskofferingminsize"], found["supportELB"]) == (1, "false")
    cloud.ask(
        "createZone", name="b", networktype="Basic", dns1="192.0.2.53", internaldns1="192.0.2.54",
        allocationstate="Enabled",
    )  # fmt: skip
    assert cloud.ask("listCapabilities", user="ann")["capability"]["securitygroupsenabled"] is True


def test_what_a_setting_says_is_told(cloud):
    cloud.ask("updateConfiguration", name="allow.public.user.templates", value="false")
    assert cloud.ask("listCapabilities")["capability"]["userpublictemplateenabled"] is False
